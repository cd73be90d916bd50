//! Kinesis: the heart. Events become records, records become requests, answers become verdicts.
//! In: event arrays. Out: records in a Kinesis data stream, in order per key, each accounted for once.
//!
//! The way of a record: `intake` (encode, key) → `gate` (may its key go?) → `lanes` (`lane`, `meter`, `throttle`, `shard_map`, `shard_list`) → `core` seals a
//! request (`inflight`, `weather` say when; `aggregate` joins records of one key, if the user wants that) → `body` (in memory of `bodies`) → `put` → `answer` →
//! `verdict` → settled in `fate`, or back (`backoff`, `trial`).
//! `sink` is the loop around it; `config` what a user writes; `telemetry` what a user reads (with `drought`); `dead_letter` what is kept.

mod aggregate;
pub mod answer;
pub mod auth;
mod backoff;
#[doc(hidden)]
pub mod bench;
mod bodies;
mod body;
pub mod config;
pub mod core;
mod dead_letter;
mod drought;
mod fate;
mod gate;
pub mod health;
pub mod http;
mod inflight;
mod intake;
mod lane;
mod lanes;
pub mod limits;
mod meter;
mod pinned;
pub mod put;
pub mod record;
mod shard_list;
mod shard_map;
mod sink;
mod telemetry;
mod throttle;
mod trial;
pub mod verdict;
mod weather;

pub use config::KinesisSinkConfig;
pub use inflight::InFlight;
pub use sink::KinesisSink;
