//! Options of the sink's own maps: `batch`, `aggregation`, `request`, `dead_letter`, and the words of `ordering` and `long_partition_key`.
//! In: Vector's keys and defaults where they are Vector's. Out: checked numbers. Never: a range that is only documentation.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::backoff::Backoff;
use super::super::inflight::InFlight;
use super::super::limits;

/// Whether records of one key keep their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Ordering {
    /// They do. A key's rate is then one record a round trip.
    #[default]
    PerKey,
    /// They do not.
    None,
}

/// What happens to a partition key longer than 256 characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LongPartitionKey {
    /// Its record is rejected.
    #[default]
    Reject,
    /// Its SHA-256, 64 characters of lower-case hex, is the key.
    Digest,
}

/// When a request is full.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct BatchOptions {
    /// Most records in a request: 1 to 500 (default 500).
    pub max_events: Option<usize>,
    /// Most bytes in a request, data and keys counted: up to 10 MiB (default 5 MiB, which every stream takes).
    pub max_bytes: Option<usize>,
    /// How long a record may wait for company. Unset: not at all; a request goes as soon as a slot is free.
    pub timeout_secs: Option<f64>,
}

impl BatchOptions {
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        match self.max_events {
            Some(0) => problems.push("batch: `max_events` must be greater than zero".to_owned()),
            Some(count) if count > limits::REQUEST_RECORDS_MAX => {
                problems.push("batch: provided `max_events` exceeds the maximum limit of 500".to_owned());
            }
            _ => {}
        }
        match self.max_bytes {
            Some(0) => problems.push("batch: `max_bytes` must be greater than zero".to_owned()),
            Some(size) if size > limits::REQUEST_BYTES_MAX => problems.push(format!(
                "batch: provided `max_bytes` exceeds the maximum limit of {} (10 MiB)",
                limits::REQUEST_BYTES_MAX
            )),
            _ => {}
        }
        if let Some(secs) = self.timeout_secs
            && !(secs > 0.0 && secs <= 3600.0)
        {
            problems.push("batch: `timeout_secs` must be greater than zero and at most 3600".to_owned());
        }
        problems
    }

    /// Most records in a request.
    #[must_use]
    pub fn records_max(&self) -> usize {
        self.max_events.unwrap_or(limits::REQUEST_RECORDS_MAX)
    }

    /// Most bytes in a request.
    #[must_use]
    pub fn bytes_max(&self) -> usize {
        self.max_bytes.unwrap_or(limits::REQUEST_BYTES_DEFAULT)
    }
}

/// Joining records of one key in one Kinesis record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AggregationOptions {
    /// Events that wait behind one key are sent together, in the format of Amazon's producer library (KPL). Consumers must take it
    /// apart, as the Kinesis client library (KCL) does by itself.
    pub enabled: bool,
}

/// How many requests may be in flight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "ConcurrencyForm", into = "ConcurrencyForm")]
#[schemars(with = "ConcurrencyForm")]
pub enum Concurrency {
    /// One.
    None,
    /// As many as the service takes without queueing.
    #[default]
    Adaptive,
    /// This many.
    Fixed(usize),
}

#[derive(Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum ConcurrencyWord {
    None,
    Adaptive,
}

#[derive(Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected `none`, `adaptive` or a number from 1")]
enum ConcurrencyForm {
    Word(ConcurrencyWord),
    Number(usize),
}

impl From<ConcurrencyForm> for Concurrency {
    fn from(form: ConcurrencyForm) -> Self {
        match form {
            ConcurrencyForm::Word(ConcurrencyWord::None) => Self::None,
            ConcurrencyForm::Word(ConcurrencyWord::Adaptive) => Self::Adaptive,
            ConcurrencyForm::Number(count) => Self::Fixed(count),
        }
    }
}

impl From<Concurrency> for ConcurrencyForm {
    fn from(concurrency: Concurrency) -> Self {
        match concurrency {
            Concurrency::None => Self::Word(ConcurrencyWord::None),
            Concurrency::Adaptive => Self::Word(ConcurrencyWord::Adaptive),
            Concurrency::Fixed(count) => Self::Number(count),
        }
    }
}

/// Whether waits are drawn at random below their length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum JitterMode {
    /// They are.
    #[default]
    Full,
    /// They are not.
    None,
}

/// Vector's knobs of its adaptive limit. The first and last are used; our rule needs no others.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AdaptiveConcurrency {
    /// Requests in flight at the start (default 8).
    pub initial_concurrency: Option<usize>,
    /// Accepted, not needed.
    pub decrease_ratio: Option<f64>,
    /// Accepted, not needed.
    pub ewma_alpha: Option<f64>,
    /// Accepted, not needed.
    pub rtt_deviation_scale: Option<f64>,
    /// Most requests in flight (default 200).
    pub max_concurrency_limit: Option<usize>,
}

/// Time limits, retries and requests in flight.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RequestOptions {
    /// Requests in flight: `adaptive` (default), `none` (one) or a number.
    pub concurrency: Concurrency,
    /// The longest one attempt may take, in seconds (default 10; Vector: 60).
    pub timeout_secs: Option<f64>,
    /// The span that `rate_limit_num` counts, in seconds (default 1).
    pub rate_limit_duration_secs: Option<u64>,
    /// Most requests in that span. Unset: no limit.
    pub rate_limit_num: Option<u64>,
    /// Most attempts of a record after its first (default: until it succeeds).
    pub retry_attempts: Option<u64>,
    /// The first wait of a retry, in seconds (default 0.05).
    pub retry_initial_backoff_secs: Option<f64>,
    /// The longest single wait of a retry, in seconds (default 3).
    pub retry_max_duration_secs: Option<f64>,
    /// Whether waits are drawn at random below their length.
    pub retry_jitter_mode: JitterMode,
    /// Bounds of `concurrency: adaptive`.
    pub adaptive_concurrency: AdaptiveConcurrency,
}

impl RequestOptions {
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.concurrency == Concurrency::Fixed(0) {
            problems.push("request: `concurrency` must be `none`, `adaptive` or a number from 1".to_owned());
        }
        let spans = [
            ("timeout_secs", self.timeout_secs),
            ("retry_initial_backoff_secs", self.retry_initial_backoff_secs),
            ("retry_max_duration_secs", self.retry_max_duration_secs),
        ];
        for (name, secs) in spans {
            if let Some(secs) = secs
                && !(secs > 0.0 && secs <= 86_400.0)
            {
                problems.push(format!(
                    "request: `{name}` must be greater than zero and at most 86400, not {secs}"
                ));
            }
        }
        for (name, number) in [
            ("rate_limit_num", self.rate_limit_num),
            ("rate_limit_duration_secs", self.rate_limit_duration_secs),
        ] {
            if number == Some(0) {
                problems.push(format!("request: `{name}` must be greater than zero"));
            }
        }
        let adaptive = &self.adaptive_concurrency;
        for (name, number) in [
            ("initial_concurrency", adaptive.initial_concurrency),
            ("max_concurrency_limit", adaptive.max_concurrency_limit),
        ] {
            if number == Some(0) {
                problems.push(format!("request: `adaptive_concurrency.{name}` must be greater than zero"));
            }
        }
        problems
    }

    /// The longest one attempt may take.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.timeout_secs.map_or(limits::ATTEMPT_TIMEOUT, Duration::from_secs_f64)
    }

    pub(in super::super) fn backoff(&self) -> Backoff {
        let initial = self.retry_initial_backoff_secs.map_or(limits::BACKOFF_START, Duration::from_secs_f64);
        Backoff {
            initial,
            max: self
                .retry_max_duration_secs
                .map_or(limits::BACKOFF_MAX, Duration::from_secs_f64)
                .max(initial),
            jitter: self.retry_jitter_mode == JitterMode::Full,
        }
    }

    /// Most attempts of one record, the first counted; `None`: until it succeeds.
    pub(in super::super) fn attempts_max(&self) -> Option<u32> {
        // Vector's default is the largest number there is: for ever.
        let retries = self.retry_attempts.filter(|retries| *retries < u64::from(u32::MAX))?;
        Some(retries as u32 + 1)
    }

    /// How many requests may be in flight, if that does not adapt.
    pub(in super::super) fn in_flight_fixed(&self) -> Option<usize> {
        match self.concurrency {
            Concurrency::None => Some(1),
            Concurrency::Fixed(count) => Some(count.min(limits::IN_FLIGHT_FIXED_MAX)),
            Concurrency::Adaptive => None,
        }
    }

    pub(in super::super) fn in_flight(&self) -> InFlight {
        match self.in_flight_fixed() {
            Some(count) => InFlight::fixed(count),
            None => {
                let max = self.adaptive_concurrency.max_concurrency_limit.unwrap_or(limits::IN_FLIGHT_MAX);
                let start = self.adaptive_concurrency.initial_concurrency.unwrap_or(limits::IN_FLIGHT_START);
                InFlight::adaptive(start.min(max), max)
            }
        }
    }
}

/// Where rejected records are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeadLetterConfig {
    /// The file: one JSON object a line. Its folder must exist.
    pub path: PathBuf,
    /// When the file would grow beyond this it is renamed to `<path>.1` and a new one begun (default 100 MiB).
    #[serde(default = "default_dead_letter_bytes")]
    pub max_bytes: u64,
}

fn default_dead_letter_bytes() -> u64 {
    100 * 1024 * 1024
}

impl DeadLetterConfig {
    pub(super) fn problem(&self) -> Option<String> {
        if self.path.as_os_str().is_empty() {
            return Some("dead_letter: `path` is empty".to_owned());
        }
        (self.max_bytes < 1024).then(|| "dead_letter: `max_bytes` must be at least 1024".to_owned())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn request(json: &str) -> RequestOptions {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn retry_attempts_count_what_follows_the_first_and_vectors_default_is_for_ever() {
        for (json, attempts) in [
            ("{}", None),
            (r#"{"retry_attempts": 0}"#, Some(1)),
            (r#"{"retry_attempts": 3}"#, Some(4)),
            (r#"{"retry_attempts": 9223372036854775807}"#, None),
        ] {
            assert_eq!(request(json).attempts_max(), attempts, "{json}");
        }
    }

    #[test]
    fn retry_max_duration_bounds_one_wait() {
        let json = r#"{"retry_initial_backoff_secs": 1, "retry_max_duration_secs": 30, "retry_jitter_mode": "None"}"#;
        let backoff = request(json).backoff();
        let waits = (Duration::from_secs(1), Duration::from_secs(30));
        assert_eq!((backoff.initial, backoff.max, backoff.jitter), (waits.0, waits.1, false));
    }
}
