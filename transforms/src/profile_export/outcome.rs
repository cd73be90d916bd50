//! Outcome: what became of one record, in the words of the specification (section 8.4), and the counters of section 9.
//! In: verdicts of `mapper.rs`.  Out: plain values; the caller turns them into metrics once a batch.
//! Never: touches a metrics registry, holds profile content.

use std::fmt;

/// What became of one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The output was written.
    Export,
    /// The record is fine but does not call for an export.
    Skipped(SkipReason),
    /// The record could not be used.
    Dropped(DropReason),
}

/// Why a usable record was not exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SkipReason {
    /// Segments are configured and the event carries none of them.
    NoMappedSegment,
    /// Nothing that matters changed.
    NoRelevantChange,
    /// Something changed, but the profile is in no mapped segment.
    NotAMember,
    /// First sight of a profile that qualified earlier, and `backfill` is off.
    Historical,
}

/// Why a record could not be used. The order of the variants is the order of the checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DropReason {
    /// The bytes are not UTF-8.
    InvalidUtf8,
    /// The bytes are not exactly one JSON document (or the record is longer than 256 MiB).
    InvalidJson,
    /// Containers are nested deeper than `max_depth`.
    TooDeep,
    /// The document is not an object.
    NotAnObject,
    /// `input_root` leads nowhere or to something that is not an object.
    NoProfile,
    /// `segmentMembership` is neither an object nor null.
    BadSegmentMembership,
    /// `identityMap` is neither an object nor null.
    BadIdentityMap,
    /// No usable identity, and `on_missing_identity` is `drop`.
    NoIdentity,
}

impl SkipReason {
    /// Every reason, in the order in which [`Counters::skipped`] counts them.
    pub const ALL: [Self; 4] =
        [Self::NoMappedSegment, Self::NoRelevantChange, Self::NotAMember, Self::Historical];

    /// The word of the specification.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoMappedSegment => "no_mapped_segment",
            Self::NoRelevantChange => "no_relevant_change",
            Self::NotAMember => "not_a_member",
            Self::Historical => "historical",
        }
    }
}

impl DropReason {
    /// Every reason, in the order in which [`Counters::dropped`] counts them.
    pub const ALL: [Self; 8] = [
        Self::InvalidUtf8,
        Self::InvalidJson,
        Self::TooDeep,
        Self::NotAnObject,
        Self::NoProfile,
        Self::BadSegmentMembership,
        Self::BadIdentityMap,
        Self::NoIdentity,
    ];

    /// The word of the specification.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidUtf8 => "invalid_utf8",
            Self::InvalidJson => "invalid_json",
            Self::TooDeep => "too_deep",
            Self::NotAnObject => "not_an_object",
            Self::NoProfile => "no_profile",
            Self::BadSegmentMembership => "bad_segment_membership",
            Self::BadIdentityMap => "bad_identity_map",
            Self::NoIdentity => "no_identity",
        }
    }
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a membership was ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IgnoreReason {
    /// It, its namespace or its status has the wrong type.
    Malformed,
    /// A status word that the specification does not know, with `unknown_status: omit`.
    UnknownStatus,
    /// A member whose `validUntil` has passed, with `expired_memberships: omit`.
    Expired,
    /// An exit older than `exited_retention_days`.
    OldExit,
}

impl IgnoreReason {
    /// Every reason, in the order in which [`Counters::memberships_ignored`] counts them.
    pub const ALL: [Self; 4] = [Self::Malformed, Self::UnknownStatus, Self::Expired, Self::OldExit];

    /// The word of the specification.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::UnknownStatus => "unknown_status",
            Self::Expired => "expired",
            Self::OldExit => "old_exit",
        }
    }
}

/// Section 9's counters as plain numbers. `received = exported + skipped + dropped` always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Records in.
    pub received: u64,
    /// Records out.
    pub exported: u64,
    /// Records skipped, by reason, in the order of [`SkipReason::ALL`].
    pub skipped: [u64; 4],
    /// Records dropped, by reason, in the order of [`DropReason::ALL`].
    pub dropped: [u64; 8],
    /// Memberships ignored in records that were not dropped, by reason, in the order of [`IgnoreReason::ALL`]. A
    /// namespace of the wrong type counts as one malformed membership.
    pub memberships_ignored: [u64; 4],
    /// Identity items and namespaces that could not be used.
    pub identities_ignored: u64,
}

impl Counters {
    pub(crate) fn count(&mut self, outcome: Outcome) {
        self.received += 1;
        match outcome {
            Outcome::Export => self.exported += 1,
            Outcome::Skipped(reason) => self.skipped[reason as usize] += 1,
            Outcome::Dropped(reason) => self.dropped[reason as usize] += 1,
        }
    }

    /// How many records were skipped for this reason.
    pub fn skipped_for(&self, reason: SkipReason) -> u64 {
        self.skipped[reason as usize]
    }

    /// How many records were dropped for this reason.
    pub fn dropped_for(&self, reason: DropReason) -> u64 {
        self.dropped[reason as usize]
    }

    /// How many memberships were ignored for this reason.
    pub fn ignored_for(&self, reason: IgnoreReason) -> u64 {
        self.memberships_ignored[reason as usize]
    }
}
