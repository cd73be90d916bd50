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

# What each step costs, beside the cheapest thing that does it.
bench:
    cargo bench --workspace --bench lines --bench profile_export --bench kinesis

# The whole way under load.
load *ARGS:
    cargo run --release -- bench {{ARGS}}

# Validates every example.
examples:
    cargo build
    for file in examples/*.yaml; do target/debug/afluente validate --no-environment "$file"; done
