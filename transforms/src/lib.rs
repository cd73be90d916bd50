//! The transforms of Afluente, one file or folder each.
//! In: events from `afluente-pipeline`.  Out: events, and records that could not be used, each with its reason.
//! Never: does I/O, keeps an event longer than its call.

pub mod profile_export;
