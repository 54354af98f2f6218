#!/usr/bin/env bash
# Instructions, counted by callgrind, of one call of the default denoiser (batch 1, f32) and of a whole run of 32 evaluations with
# the default model, from the start of the program to the report; one thread. That of the call is the difference between a program
# that makes three calls and one that makes one, so that opening the model does not count. A busy machine does not change them,
# another instruction set or compiler does. callgrind knows no AVX-512, hence AVX2.
#
# Usage, at the root of the repository: bench/models/instructions.sh [FILE.json]
# The run takes hours: callgrind needs about three minutes for each image.
set -euo pipefail

file=${1:-bench/models/instructions.json}
export NOISEFIND_ISA=avx2 RAYON_NUM_THREADS=1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

count() {
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$@" 2>&1 | tee "$folder/log" | awk '/Collected :/ { print $4 }'
    grep -q 'Collected :' "$folder/log" || { cat "$folder/log" >&2; return 1; }
}

cargo build --release --workspace --bin bench-models --bin noisefind
one=$(count target/release/bench-models calls 1)
three=$(count target/release/bench-models calls 3)
run=$(count target/release/noisefind tune "a dog on the moon" --evaluations 32 --min-evaluations 32 --threads 1 \
    --dtype f32 --out "$folder/run")

sha256() { sha256sum "$1" | cut -d ' ' -f 1; }
cat >"$file" <<JSON
{
  "isa": "$NOISEFIND_ISA",
  "compiler": "$(rustc --version)",
  "call": {
    "case": "default-unet batch=1 f32",
    "model_sha256": "$(sha256 models/emoji-64/unet/*.safetensors)",
    "instructions": $(((three - one) / 2))
  },
  "run": {
    "case": "tune with 32 evaluations and its comparison, f32",
    "model_sha256": "$(sha256 models/emoji-64-turbo/unet/*.safetensors)",
    "instructions": $run
  }
}
JSON
cat "$file"
