//! Tests of the `profile_export` transform from outside: the shared vectors, configuration errors, and the agreement of the fast
//! one-pass code with a slow reference through a tree that was written from the specification alone.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

mod agreement;
mod bounds;
mod change;
mod config;
mod generate;
mod json;
mod lawyer;
mod reference;
mod vectors;

use afluente_transforms::profile_export::{Mapper, Outcome, ProfileExportConfig, Timestamp};

/// An outcome as text: the output, or the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    Export(String),
    Skipped(String),
    Dropped(String),
}

pub fn mapper(config: &str) -> Mapper {
    config_of(config).compile().unwrap()
}

pub fn config_of(config: &str) -> ProfileExportConfig {
    ProfileExportConfig::from_json(serde_json::from_str(config).unwrap()).unwrap()
}

/// Maps one record; gives what became of it, and its key.
pub fn run(mapper: &mut Mapper, record: &[u8], now: Timestamp) -> (Seen, Vec<u8>) {
    let (mut out, mut key) = (Vec::new(), Vec::new());
    let seen = match mapper.map(record, now, &mut out, &mut key) {
        Outcome::Export => Seen::Export(String::from_utf8(out.clone()).unwrap()),
        Outcome::Skipped(reason) => Seen::Skipped(reason.as_str().to_owned()),
        Outcome::Dropped(reason) => Seen::Dropped(reason.as_str().to_owned()),
    };
    if !matches!(seen, Seen::Export(_)) {
        assert!(out.is_empty() && key.is_empty(), "only an export writes");
    }
    (seen, key)
}

/// Maps one record with a fresh mapper.
pub fn once(config: &str, record: &str) -> Seen {
    run(&mut mapper(config), record.as_bytes(), Timestamp::default()).0
}

pub fn export(json: &str) -> Seen {
    Seen::Export(json.to_owned())
}

pub fn skipped(reason: &str) -> Seen {
    Seen::Skipped(reason.to_owned())
}

pub fn dropped(reason: &str) -> Seen {
    Seen::Dropped(reason.to_owned())
}
