//! Codecs: from bytes to events and from events to bytes, in Vector's `decoding` and `encoding` options.
//! In: lines or bodies of a source; events of a sink. Out: events that keep their bytes; bytes.

pub mod compression;
pub mod decoding;
pub mod encoding;
