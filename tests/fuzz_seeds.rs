//! Fuzz seeds: what the fuzzers began with and what they found worth keeping, replayed as an ordinary test.
//! In: `fuzz/corpus/<target>/`. Out: nothing, or a panic with the file's name. See `fuzz/README.md` for the fuzzers themselves.
#![allow(clippy::unwrap_used)]

#[path = "../fuzz/src/lib.rs"]
mod fuzz;

use std::path::Path;

use self::fuzz::targets;

/// Replays every seed of one target.
fn replay(target: &str, body: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut seeds: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    seeds.sort();
    assert!(!seeds.is_empty() && seeds.len() < 100, "{} seeds in {}", seeds.len(), folder.display());
    for seed in seeds {
        let bytes = std::fs::read(&seed).unwrap();
        let passed = std::panic::catch_unwind(|| body(&bytes));
        assert!(passed.is_ok(), "{}: see above", seed.display());
    }
}

#[test]
fn answers_are_believed_only_as_far_as_they_say_it() {
    replay("answer", targets::answer);
}

#[test]
fn configurations_load_or_say_why_not() {
    replay("config", targets::config);
}

#[test]
fn nobody_is_rejected_on_words_alone() {
    replay("poison", targets::poison);
}

#[test]
fn profiles_are_mapped_as_the_slow_reference_says() {
    replay("profile", targets::profile);
}

#[test]
fn throttle_texts_name_a_shard_or_none() {
    replay("throttle", targets::throttle);
}
