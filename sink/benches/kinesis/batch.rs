//! Batch: events become records in a sealed request. The floor adds up their sizes and lists them.

use std::cell::{Cell, RefCell};
use std::hint::black_box;

use afluente_pipeline::event::LogEvent;
use criterion::{BatchSize, Criterion};

use super::input::{DATA_BYTES, RECORDS, answer, data, events, group, warm_steps};

pub(crate) fn benches(c: &mut Criterion) {
    let data = data();
    let mut group = group(c, "batch", RECORDS * DATA_BYTES);
    let size = |log: &LogEvent| log.metadata().partition_key().map_or(0, |key| key.len());
    group.bench_function("floor/list", |b| {
        b.iter_batched(
            || events(&data),
            |array| {
                let logs = array.into_logs();
                let weight: usize = logs.iter().map(size).sum();
                let list: Vec<_> = (0..logs.len() as u32).collect();
                (logs, black_box(weight), list)
            },
            BatchSize::PerIteration,
        );
    });
    let stored = answer("", |_| false);
    let steps = RefCell::new(warm_steps(&data));
    let last = Cell::new(None);
    group.bench_function("full_request", |b| {
        b.iter_batched(
            || {
                if let Some(sealed) = last.take() {
                    steps.borrow_mut().settle(sealed, &stored);
                }
                events(&data)
            },
            |array| {
                let mut steps = steps.borrow_mut();
                steps.take(array);
                let sealed = steps.seal().unwrap();
                assert_eq!(sealed.records.len(), RECORDS);
                last.set(Some(sealed));
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}
