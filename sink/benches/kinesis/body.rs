//! Body: the JSON of a request. The floors move the bytes, and write base64 of them into memory that is there.

use std::hint::black_box;

use afluente_sink::kinesis::bench::Steps;
use base64_simd::{Out, STANDARD};
use criterion::Criterion;

use super::input::{DATA_BYTES, RECORDS, data, events, group};

pub(crate) fn benches(c: &mut Criterion) {
    let data = data();
    let mut group = group(c, "body", RECORDS * DATA_BYTES);
    let encoded = STANDARD.encoded_length(DATA_BYTES);
    let mut out = vec![0; RECORDS * encoded];
    group.bench_function("floor/memcpy", |b| {
        b.iter(|| {
            for (from, to) in data.iter().zip(out.chunks_exact_mut(encoded)) {
                to[..DATA_BYTES].copy_from_slice(black_box(from));
            }
            black_box(&mut out).len()
        });
    });
    group.bench_function("floor/base64", |b| {
        b.iter(|| {
            for (from, to) in data.iter().zip(out.chunks_exact_mut(encoded)) {
                let _ = STANDARD.encode(black_box(from), Out::from_slice(to));
            }
            black_box(&mut out).len()
        });
    });
    let mut steps = Steps::new().unwrap();
    steps.take(events(&data));
    let sealed = steps.seal().unwrap();
    group.bench_function("full_request", |b| b.iter(|| steps.body(black_box(&sealed))));
    group.finish();
}
