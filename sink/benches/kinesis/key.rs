//! Key: what has to be known of a partition key: who it is to the gate, and, while a shard is paced, where it goes.

use std::hash::BuildHasher;
use std::hint::black_box;

use afluente_sink::kinesis::bench::shard_number;
use criterion::Criterion;

use super::input::{RECORDS, group, key};

pub(crate) fn benches(c: &mut Criterion) {
    let keys: Vec<_> = (0..RECORDS).map(key).collect();
    let mut group = group(c, "key", keys.iter().map(|key| key.len()).sum());
    group.bench_function("floor/look", |b| {
        b.iter(|| keys.iter().filter(|key| black_box(key).is_ascii()).count());
    });
    let hasher = foldhash::fast::RandomState::default();
    group.bench_function("identity", |b| {
        b.iter(|| keys.iter().fold(0, |all, key| all ^ hasher.hash_one(&black_box(key)[..])));
    });
    group.bench_function("shard", |b| {
        b.iter(|| keys.iter().fold(0, |all, key| all ^ shard_number(black_box(key))));
    });
    group.finish();
}
