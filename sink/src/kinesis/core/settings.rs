//! Settings of the core: what a user may bound, parsed once.
//! In: the sink's configuration. Out: plain numbers that the core follows.

use std::time::Duration;

use super::super::backoff::Backoff;
use super::super::limits;

/// What the core goes by.
#[derive(Clone, Debug)]
pub struct CoreSettings {
    /// Whether records of one key keep their order.
    pub ordered: bool,
    /// Whether the newest of several records that wait behind one key stands for all of them.
    pub conflate: bool,
    /// Whether records that wait behind one key go with the one they wait for, in one Kinesis record. Needs `ordered`.
    pub aggregate: bool,
    /// Most records in a request, at most 500.
    pub request_records_max: usize,
    /// Most bytes in a request, data and keys counted. Halved when the service finds a request too large.
    pub request_bytes_max: usize,
    /// Most bytes of a record, data and key counted. Lowered when the service states a smaller limit.
    pub record_bytes_max: usize,
    /// Whether the service has stated its limit.
    pub limit_was_learned: bool,
    /// How long a record waits for company, if the user wants fuller requests. `None`: no longer than for a send slot.
    pub linger: Option<Duration>,
    /// Waits after transient failures.
    pub backoff: Backoff,
    /// Waits while a right, a name or a key is missing.
    pub pause_backoff: Backoff,
    /// Most attempts of one record; `None`: until it succeeds.
    pub attempts_max: Option<u32>,
    /// Seed of the jitter.
    pub seed: u64,
}

impl Default for CoreSettings {
    fn default() -> Self {
        let backoff = Backoff { initial: limits::BACKOFF_START, max: limits::BACKOFF_MAX, jitter: true };
        Self {
            ordered: true,
            conflate: false,
            aggregate: false,
            request_records_max: limits::REQUEST_RECORDS_MAX,
            request_bytes_max: limits::REQUEST_BYTES_DEFAULT,
            record_bytes_max: limits::RECORD_BYTES_DEFAULT,
            limit_was_learned: false,
            linger: None,
            backoff,
            pause_backoff: Backoff { initial: Duration::from_millis(500), ..backoff },
            attempts_max: None,
            seed: 0,
        }
    }
}
