//! Notices: what a user should read, and what was counted.
//! In: from the core. Out: to `telemetry.rs` and the log. Never: holds data of a record beyond a rejected one that must be kept.

use std::fmt;

use super::super::record::Record;
use super::super::verdict::Trouble;

/// Why a record was rejected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It weighs more than the stream takes.
    TooLarge {
        /// Data and key, in bytes.
        weight: usize,
        /// What the stream takes.
        limit: usize,
    },
    /// It has no partition key although one was asked for.
    NoKey,
    /// Its partition key is empty.
    EmptyKey,
    /// Its partition key is longer than the service takes.
    KeyTooLong {
        /// Unicode characters.
        chars: usize,
    },
    /// Its partition key is not UTF-8.
    KeyNotUtf8,
    /// It could not be encoded.
    Encode(String),
    /// The service refused it alone.
    Refused {
        /// The service's code.
        code: String,
        /// The service's text, shortened.
        message: String,
    },
    /// It failed as often as the user allows.
    GaveUp {
        /// Attempts made.
        attempts: u32,
        /// The last code.
        code: String,
    },
}

impl Reason {
    /// A word for metrics and dead letters.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::TooLarge { .. } => "record_too_large",
            Self::NoKey => "no_partition_key",
            Self::EmptyKey => "empty_partition_key",
            Self::KeyTooLong { .. } => "partition_key_too_long",
            Self::KeyNotUtf8 => "partition_key_not_utf8",
            Self::Encode(_) => "encode_failed",
            Self::Refused { .. } => "refused",
            Self::GaveUp { .. } => "gave_up",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { weight, limit } => write!(
                f,
                "record weighs {weight} bytes (data and key); this stream takes {limit}: raise the stream's maximum record \
                 size and `record_max_bytes`, or trim the event in a transform"
            ),
            Self::NoKey => f.write_str(
                "the event has no field at `partition_key_field`: name a field that every event has, or leave the option out",
            ),
            Self::EmptyKey => f.write_str("the partition key is empty; the service takes 1 to 256 characters"),
            Self::KeyTooLong { chars } => write!(
                f,
                "the partition key has {chars} characters; the service takes 256: set `long_partition_key: digest` to use its digest"
            ),
            Self::KeyNotUtf8 => f.write_str("the partition key is not UTF-8"),
            Self::Encode(error) => write!(f, "the event cannot be encoded: {error}"),
            Self::Refused { code, message } => write!(f, "the service refused this record alone: {code}: {message}"),
            Self::GaveUp { attempts, code } => write!(
                f,
                "not stored after {attempts} attempts, the limit that `request.retry_attempts` sets; the last answer was {code}"
            ),
        }
    }
}

/// A record that was rejected, with its bytes, so that it can be kept.
#[derive(Debug)]
pub struct Rejection {
    /// The record.
    pub record: Record,
    /// Why.
    pub reason: Reason,
}

/// Something a user should read once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Everything waits, because of this.
    StormBegan {
        /// The class.
        trouble: Trouble,
        /// The service's code, or what happened.
        code: String,
        /// The service's text, shortened.
        message: String,
    },
    /// The service takes records again.
    StormEnded,
    /// The service stated its record limit.
    RecordLimit {
        /// In bytes.
        limit: usize,
    },
    /// The service found a request too large.
    RequestLimit {
        /// The new limit, in bytes.
        limit: usize,
    },
    /// The stream ignores keys.
    AutoDistribution,
    /// An answer could not be read; its records may be stored.
    BadAnswer {
        /// What was wrong with it.
        problem: String,
    },
}

/// Sums since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Records that entered, rejected ones too.
    pub received: u64,
    /// Records with a sequence number, and those that such a newer one of their key stood for (conflation).
    pub delivered: u64,
    /// Records with a sequence number.
    pub stored: u64,
    /// Their weight, in bytes.
    pub delivered_bytes: u64,
    /// Kinesis records with a sequence number that carried several user records.
    pub aggregates: u64,
    /// User records in them.
    pub aggregated: u64,
    /// Records that a newer one of their key stood for.
    pub conflated: u64,
    /// Requests sealed.
    pub requests: u64,
    /// Records in them, each of an aggregate's counted.
    pub attempts: u64,
    /// Attempts beyond a record's first.
    pub retried: u64,
    /// Attempts refused for rate.
    pub throttled: u64,
    /// Attempts that failed otherwise, one by one.
    pub failed: u64,
    /// Requests that failed as a whole.
    pub failed_requests: u64,
    /// Deliveries of records that an earlier attempt may have stored too.
    pub possible_duplicates: u64,
    /// Records that landed before an older one of their key.
    pub order_violations: u64,
}
