//! The hot path of `aws_kinesis_streams`, a file a step, 500 records of 970 bytes (one full request) at a time.
//! Case name = input shape; `floor/…` is the cheapest thing that can do the step to the same bytes: the ratio is what is left to gain.
//! What a step uses up is made anew for each call, not for many at once: in the sink it is warm, too.
//! `whole` is all steps but signing and sending: the sink's own work.
#![allow(missing_docs, clippy::unwrap_used)]

mod answer;
mod batch;
mod body;
mod gate;
mod input;
mod key;
mod settle;
mod sign;

use criterion::{criterion_group, criterion_main};

criterion_group!(
    all,
    key::benches,
    gate::benches,
    batch::benches,
    body::benches,
    sign::benches,
    answer::benches,
    settle::benches
);
criterion_main!(all);
