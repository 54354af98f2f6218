#!/usr/bin/env bash
# Instructions, counted by callgrind with one thread: of one call of the default denoiser (emoji-64, batch 1, f32), as the difference
# between a program that makes three calls and one that makes one, so that opening the model does not count; and of a whole
# run of `noisefind tune` with 32 evaluations of emoji-64-turbo and a comparison of two samples. A busy machine does not
# change them, another instruction set or compiler does. callgrind knows no AVX-512, hence AVX2.
#
# Usage, at the root of the repository: bench/models/instructions.sh [FILE.json]
set -euo pipefail

file=${1:-bench/models/instructions.json}
export NOISEFIND_ISA=avx2 RAYON_NUM_THREADS=1
programs=${CARGO_TARGET_DIR:-target}/release
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

count() { # PROGRAM ARGUMENT...
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$programs/$1" "${@:2}" 2>&1 | awk '/Collected :/ { print $4 }'
}

cargo build --release --workspace --bins
one=$(count bench-models calls 1)
three=$(count bench-models calls 3)
per_call=$(((three - one) / 2))
run=$(count noisefind tune "a dog on the moon" --threads 1 --evaluations 32 --samples 2 --progress lines --out "$work/run")
printf '{\n  "case": "default-unet batch=1 f32",\n  "isa": "%s",\n  "compiler": "%s",\n  "model_sha256": "%s",\n  "instructions_per_call": %s,\n  "instructions_of_32_evaluations": %s\n}\n' \
    "$NOISEFIND_ISA" "$(rustc --version)" "$(sha256sum models/emoji-64/unet/*.safetensors | cut -d ' ' -f 1)" "$per_call" "$run" >"$file"
cat "$file"
