//! Lines: from bytes that were read to events, 1,000 at a time, beside the floors: moving the bytes, looking at them.
//! Case name = what is made of the input.
#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;

use afluente_pipeline::codecs::decoding::DecodingConfig;
use afluente_pipeline::event::EventMetadata;
use afluente_sources::bench::Lines;
use afluente_sources::{DemoProfiles, DemoProfilesOptions};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const EVENTS: u64 = 1000;

fn input() -> Vec<u8> {
    let mut generator = DemoProfiles::new(DemoProfilesOptions::default());
    let mut input = Vec::new();
    for _ in 0..EVENTS {
        generator.write_event(&mut input);
        input.push(b'\n');
    }
    input
}

fn benches(c: &mut Criterion) {
    let input = input();
    let mut group = c.benchmark_group("lines");
    group.throughput(Throughput::ElementsAndBytes { elements: EVENTS, bytes: input.len() as u64 });
    let mut copy = vec![0; input.len()];
    group.bench_function("floor/memcpy", |b| {
        b.iter(|| black_box(&mut copy).copy_from_slice(black_box(&input)));
    });
    group.bench_function("floor/memchr", |b| {
        b.iter(|| memchr::memchr_iter(b'\n', black_box(&input)).count());
    });
    let mut lines = Lines::default();
    group.bench_function("found", |b| {
        b.iter(|| {
            let mut bytes = 0;
            lines.read(black_box(&input), &mut bytes, |bytes, line| *bytes += line.len(), |_| {});
            bytes
        });
    });
    for codec in ["bytes", "json"] {
        let config: DecodingConfig = serde_json::from_value(serde_json::json!({ "codec": codec })).unwrap();
        let (decoder, metadata) = (config.build(), EventMetadata::default());
        let mut events = Vec::with_capacity(EVENTS as usize);
        // The events of a read are let go before the next one, so that its memory is used again, as when they are sent.
        group.bench_function(format!("events/{codec}"), |b| {
            b.iter(|| {
                let each = |events: &mut Vec<_>, line| decoder.decode(line, &metadata, events).unwrap();
                lines.read(black_box(&input), &mut events, each, |events| black_box(events).clear());
            });
        });
    }
    group.finish();
}

criterion_group!(all, benches);
criterion_main!(all);
