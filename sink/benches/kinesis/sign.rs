//! Sign: Signature Version 4 for a full request's body. The floor is the one hash of the body that it demands.

use std::hint::black_box;

use afluente_sink::kinesis::bench::{Steps, identity, sign};
use criterion::Criterion;
use sha2::{Digest, Sha256};

use super::input::{data, events, group};

pub(crate) fn benches(c: &mut Criterion) {
    let mut steps = Steps::new().unwrap();
    steps.take(events(&data()));
    let sealed = steps.seal().unwrap();
    let body = steps.body(&sealed);
    let identity = identity();
    let mut group = group(c, "sign", body.len());
    group.bench_function("floor/sha256", |b| b.iter(|| Sha256::digest(black_box(&body))));
    group.bench_function("full_request", |b| b.iter(|| sign(&identity, black_box(&body)).unwrap()));
    group.bench_function("head_alone", |b| b.iter(|| sign(&identity, black_box(b"")).unwrap()));
    group.finish();
}
