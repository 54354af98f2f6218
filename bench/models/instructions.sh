#!/usr/bin/env bash
# Instructions of one call of the default denoiser (batch 1, f32, one thread), counted by callgrind: the difference between a
# program that makes three calls and one that makes one, so that opening the model does not count. A busy machine does
# not change it, another instruction set or compiler does. callgrind knows no AVX-512, hence AVX2.
#
# Usage, at the root of the repository: bench/models/instructions.sh [FILE.json]
set -euo pipefail

file=${1:-bench/models/instructions.json}
export NOISEFIND_ISA=avx2 RAYON_NUM_THREADS=1
program=target/release/bench-models

count() {
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$program" calls "$1" 2>&1 | awk '/Collected :/ { print $4 }'
}

cargo build --release --workspace --bin bench-models
one=$(count 1)
three=$(count 3)
per_call=$(((three - one) / 2))
printf '{\n  "case": "default-unet batch=1 f32",\n  "isa": "%s",\n  "compiler": "%s",\n  "model_sha256": "%s",\n  "instructions_per_call": %s\n}\n' \
    "$NOISEFIND_ISA" "$(rustc --version)" "$(sha256sum models/emoji-64/unet/*.safetensors | cut -d ' ' -f 1)" "$per_call" >"$file"
cat "$file"
