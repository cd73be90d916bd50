//! The sources of Afluente: where events come from.
//! In: standard input, files, HTTP requests, a seeded generator. Out: arrays of events that keep their bytes.
//! Never: looks into a record beyond what its codec asks for, cuts a record, puts one into a log.
//!
//! One file or folder a source. They share how lines are found (`lines`), how lines become arrays (`intake`) and
//! how what is no event is counted and told (`faults`).

#![forbid(unsafe_code)]

pub mod demo_profiles;
mod faults;
pub mod file;
pub mod http_server;
mod intake;
mod lines;
mod stdin;
#[cfg(test)]
mod testing;

pub use demo_profiles::{DemoProfiles, DemoProfilesConfig, DemoProfilesOptions};
pub use file::FileConfig;
pub use http_server::HttpServerConfig;
pub use stdin::StdinConfig;

/// The longest line by default: 1 MiB, the record limit of a stream that was not raised. Vector's 102,400 would
/// refuse profiles that Kinesis takes. It bounds what one line without an end can hold in memory.
pub const LINE_BYTES_MAX_DEFAULT: usize = 1024 * 1024;
