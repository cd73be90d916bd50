//! Answer: reading what became of 500 records. The floor counts the quotes in it.

use std::hint::black_box;

use afluente_sink::kinesis::answer::parse_put_records;
use criterion::Criterion;

use super::input::{RECORDS, answer, group};

pub(crate) fn benches(c: &mut Criterion) {
    let stored = answer("", |_| false);
    let mut group = group(c, "answer", stored.len());
    group.bench_function("floor/memchr", |b| {
        b.iter(|| memchr::memchr_iter(b'"', black_box(&stored)).count());
    });
    let cases = [
        ("all_stored", stored.clone()),
        ("one_in_ten_throttled", answer("", |n| n % 10 == 0)),
        ("with_spaces", answer(" ", |_| false)),
    ];
    for (name, body) in cases {
        group.bench_function(name, |b| b.iter(|| parse_put_records(black_box(&body), RECORDS).unwrap()));
    }
    group.finish();
}
