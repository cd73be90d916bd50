//! Settle: an answer is read and acted on; and, as `whole`, all of the sink's own work but signing.
//! The floor takes 500 records out of the memory that holds them.

use std::cell::RefCell;
use std::time::Duration;

use afluente_sink::kinesis::bench::Steps;
use afluente_sink::kinesis::record::{Record, Records};
use bytes::Bytes;
use criterion::{BatchSize, Criterion};

use super::input::{DATA_BYTES, RECORDS, answer, data, events, group, key, warm_steps};

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
            BatchSize::PerIteration,
        );
    });
    let stored = answer("", |_| false);
    let steps = RefCell::new(warm_steps(&data));
    let sealed = |steps: &mut Steps| {
        steps.take(events(&data));
        steps.seal().unwrap()
    };
    group.bench_function("all_stored", |b| {
        b.iter_batched(
            || sealed(&mut steps.borrow_mut()),
            |sealed| assert_eq!(steps.borrow_mut().settle(sealed, &stored), 0),
            BatchSize::PerIteration,
        );
    });
    let throttled = answer("", |n| n % 10 == 0);
    // Time stands still here, so what is refused would stay: each call has a sink of its own, at its start.
    group.bench_function("one_in_ten_throttled", |b| {
        b.iter_batched(
            || {
                let mut steps = Steps::new().unwrap();
                let sealed = sealed(&mut steps);
                (steps, sealed)
            },
            |(mut steps, sealed)| {
                assert_eq!(steps.settle(sealed, &throttled), RECORDS / 10);
                steps
            },
            BatchSize::PerIteration,
        );
    });
    group.bench_function("whole", |b| {
        b.iter_batched(
            || events(&data),
            |array| {
                let mut steps = steps.borrow_mut();
                steps.take(array);
                let sealed = steps.seal().unwrap();
                let body = steps.body(&sealed);
                assert_eq!(steps.settle(sealed, &stored), 0);
                body
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}
