//! Settle: an answer is read and acted on; and, as `whole`, all of the sink's own work but signing.
//! The floor takes 500 records out of the memory that holds them.

use afluente_sink::kinesis::bench::Steps;
use afluente_sink::kinesis::record::{Record, Records};
use bytes::Bytes;
use criterion::{BatchSize, Criterion};
use std::time::Duration;

use super::input::{DATA_BYTES, RECORDS, answer, data, events, group, key};

pub(crate) fn benches(c: &mut Criterion) {
    let data = data();
    let mut group = group(c, "settle", RECORDS * DATA_BYTES);
    let record = |(n, data): (usize, &Bytes)| Record::new(data.clone(), key(n), None, 0, Duration::ZERO);
    group.bench_function("floor/let_go", |b| {
        b.iter_batched(
            || {
                let mut records = Records::new();
                data.iter().enumerate().map(record).for_each(|record| {
                    records.insert(record);
                });
                records
            },
            |mut records| {
                (0..RECORDS).for_each(|id| drop(records.remove(id)));
                records
            },
            BatchSize::LargeInput,
        );
    });
    let cases = [
        ("all_stored", answer("", |_| false), 0),
        ("one_in_ten_throttled", answer("", |n| n % 10 == 0), RECORDS / 10),
    ];
    for (name, answer, left) in &cases {
        group.bench_function(*name, |b| {
            b.iter_batched(
                || {
                    let mut steps = Steps::new().unwrap();
                    steps.take(events(&data));
                    let sealed = steps.seal().unwrap();
                    (steps, sealed)
                },
                |(mut steps, sealed)| {
                    assert_eq!(steps.settle(sealed, answer), *left);
                    steps
                },
                BatchSize::LargeInput,
            );
        });
    }
    let (mut steps, (_, stored, _)) = (Steps::new().unwrap(), &cases[0]);
    group.bench_function("whole", |b| {
        b.iter_batched(
            || events(&data),
            |array| {
                steps.take(array);
                let sealed = steps.seal().unwrap();
                let body = steps.body(&sealed);
                assert_eq!(steps.settle(sealed, stored), 0);
                body
            },
            BatchSize::LargeInput,
        );
    });
    group.finish();
}
