# The same lines that CI runs; see .ci/run.

# Formatting, lints, docs.
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

# All tests.
test:
    cargo test --workspace

# The main job on the embedded Kinesis.
demo:
    cargo run --release -- demo

# Micro benchmarks of the hot paths.
bench:
    cargo bench --workspace

# Validates every example.
examples:
    cargo build
    for file in examples/*.yaml; do target/debug/afluente validate --no-environment "$file"; done
