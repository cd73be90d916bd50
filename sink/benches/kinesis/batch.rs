//! Batch: events become records in a sealed request. The floor adds up their sizes and lists them.

use std::hint::black_box;

use afluente_pipeline::event::LogEvent;
use afluente_sink::kinesis::bench::Steps;
use criterion::{BatchSize, Criterion};

use super::input::{DATA_BYTES, RECORDS, data, events, group};

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
            BatchSize::LargeInput,
        );
    });
    group.bench_function("full_request", |b| {
        b.iter_batched(
            || (Steps::new().unwrap(), events(&data)),
            |(mut steps, array)| {
                steps.take(array);
                let sealed = steps.seal();
                assert_eq!(sealed.as_ref().map(|sealed| sealed.records.len()), Some(RECORDS));
                (steps, sealed)
            },
            BatchSize::LargeInput,
        );
    });
    group.finish();
}
