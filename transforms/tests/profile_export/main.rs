//! Tests of the `profile_export` transform from outside: the shared vectors, configuration errors, and the agreement of the fast
//! one-pass code with a slow reference through a tree that was written from the specification alone.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

mod agree;
mod agreement;
mod bounds;
mod change;
mod config;
mod generate;
mod json;
mod lawyer;
mod reference;
mod seen;
mod vectors;

use afluente_transforms::profile_export::{Mapper, ProfileExportConfig, Timestamp};

use self::seen::{Seen, dropped, export, run, skipped};

pub fn mapper(config: &str) -> Mapper {
    config_of(config).compile().unwrap()
}

pub fn config_of(config: &str) -> ProfileExportConfig {
    ProfileExportConfig::from_json(serde_json::from_str(config).unwrap()).unwrap()
}

/// Maps one record with a fresh mapper.
pub fn once(config: &str, record: &str) -> Seen {
    run(&mut mapper(config), record.as_bytes(), Timestamp::default()).0
}
