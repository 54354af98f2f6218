# The gate: what must hold before a change lands.
ci: fmt clippy test doc

# Formatting as in rustfmt.toml.
fmt:
    cargo fmt --all --check

# Lints as in [workspace.lints], each with its reason there.
clippy:
    cargo clippy --release --workspace --all-targets -- -D warnings

# The README's test command. Release, because the models compute.
test:
    cargo test --release --workspace

# The tests that need Python with the packages of golden/requirements.txt.
test-python:
    cargo test --release --workspace -- --ignored

# The public documentation builds without a broken link.
doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --release --workspace --no-deps

# The Python package: its wheel in fresh environments, tested (needs Python 3.11 or newer).
python:
    .ci/python

# Instructions of one call of the default denoiser, to be compared with those that are recorded (needs valgrind).
instructions:
    bench/models/instructions.sh

# The kernels on 64-bit Arm, emulated where this is another machine (needs rustup's target aarch64-unknown-linux-gnu, and
# qemu-user and gcc-aarch64-linux-gnu from Debian). Emulated children cannot be started as programs, so the tests of the
# guard pages are left to machines of that kind.
neon:
    CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
    CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64 -L /usr/aarch64-linux-gnu" \
    cargo test --release --target aarch64-unknown-linux-gnu -p noisefind-kernels -- --skip too_far_is_the_end

# Reference numbers from diffusers and transformers (needs the Python packages of golden/requirements.txt).
golden:
    python3 golden/make_all.py
