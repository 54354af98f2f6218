#!/usr/bin/env bash
# Instructions, counted by callgrind on one thread, of one call of the default denoiser (batch 1, f32) and of a whole run of 32
# evaluations of the default model. A busy machine does not change them, another instruction set or compiler does. callgrind knows
# no AVX-512, hence AVX2. A call is the difference between a program that makes three and one that makes one, so that opening the
# model does not count.
#
# Usage, at the root of the repository: bench/models/instructions.sh [FILE.json]
set -euo pipefail

file=${1:-bench/models/instructions.json}
export NOISEFIND_ISA=avx2 RAYON_NUM_THREADS=1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

count() {
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$@" 2>&1 | awk '/Collected :/ { print $4 }'
}

cargo build --release --workspace --bin bench-models --bin noisefind
one=$(count target/release/bench-models calls 1)
three=$(count target/release/bench-models calls 3)
run=$(count target/release/noisefind --threads 1 tune "a dog on the moon" --seed 0 --evaluations 32 --samples 2 --out "$folder/run")

weights() {
    sha256sum "models/$1"/unet/*.safetensors | cut -d ' ' -f 1
}
cat > "$file" <<END
{
  "isa": "$NOISEFIND_ISA",
  "compiler": "$(rustc --version)",
  "call": { "case": "default-unet batch=1 f32", "unet_sha256": "$(weights emoji-64)", "instructions": $(((three - one) / 2)) },
  "run": { "case": "tune 32 evaluations, 2 samples compared", "unet_sha256": "$(weights emoji-64-turbo)", "instructions": $run }
}
END
cat "$file"
