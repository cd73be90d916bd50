//! `profile_export`: customer-profile events in, the JSON of Adobe's streaming profile exports out.
//!
//! The specification is the project's profile-export specification; sections named in comments are its sections. The way of
//! a record, a noun a file: `shape` (is it built like one before?), else `reader` (the grammar; `strings` what is between quotes)
//! ▶ `profile` (what the plan asks for; `quick` for what looks as usual, `copy` for attribute values) ▶ `identities` ▶ `trigger`
//! (`fingerprint`, `memory`) ▶ `render` ▶ `write`. `mapper` is the door. `config` ▶ `plan` happens once.
//!
//! `component` puts all of it into a pipeline. Outside of it you will not find a clock, a pipeline type or a log line; nor,
//! anywhere, a tree of the document or an allocation per event.

mod component;
mod config;
mod copy;
mod error;
mod event;
mod fingerprint;
mod identities;
mod mapper;
mod memory;
mod names;
mod outcome;
mod plan;
mod profile;
mod quick;
mod reader;
mod render;
mod shape;
mod strings;
mod text;
mod time;
mod trigger;
mod write;

pub use component::DROPPED_PORT;
pub use config::{
    Arrays, AttributeChange, AttributeSelector, ExpiredMemberships, KeyStyle, NamespaceCase,
    OnMissingIdentity, Operator, ProfileExportConfig, Segment, SegmentScope, StatusVocabulary, Trigger,
    UnknownStatus,
};
pub use error::{ConfigError, ConfigErrorCode};
pub use mapper::Mapper;
pub use outcome::{Counters, DropReason, IgnoreReason, Outcome, SkipReason};
pub use time::Timestamp;
