//! The five promises, end to end: the real program against a Kinesis that fails on demand, over real sockets.
//! One module a promise; `pipeline` starts the program, `support` is the other side.
#![allow(clippy::unwrap_used, missing_docs, reason = "a broken test should stop loudly")]

mod accounting;
mod aggregation;
mod books;
mod bounded;
mod capacity;
mod classes;
mod credentials;
mod delivery;
mod pipeline;
mod poison;
mod restart;
mod shards;
mod shutdown;
mod soak;
#[path = "../support/mod.rs"]
mod support;
