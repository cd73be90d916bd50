//! Seen: what became of a record, as text.
//! In: a mapper and a record.  Out: its output or its reason, and its key.

use afluente_transforms::profile_export::{Mapper, Outcome, Timestamp};

/// An outcome as text: the output, or the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    Export(String),
    Skipped(String),
    Dropped(String),
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

pub fn export(json: &str) -> Seen {
    Seen::Export(json.to_owned())
}

pub fn skipped(reason: &str) -> Seen {
    Seen::Skipped(reason.to_owned())
}

pub fn dropped(reason: &str) -> Seen {
    Seen::Dropped(reason.to_owned())
}
