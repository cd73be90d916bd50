//! Limits: the service's numbers and our own, each with unit, source and what it guards.
//! In: nothing. Out: constants. Never: a decision; see `core.rs`, `record.rs`, `throttle.rs`.
//!
//! Service numbers: Kinesis Data Streams Developer Guide, *Quotas and limits*, *Handle large records*, and
//! the API reference of `PutRecords`, as of 2026-11.

use std::time::Duration;

/// Most records in one `PutRecords` request.
pub const REQUEST_RECORDS_MAX: usize = 500;
/// Most bytes in one request, data and UTF-8 partition keys counted, since late 2025.
pub const REQUEST_BYTES_MAX: usize = 10 * 1024 * 1024;
/// Our default for a request: what every stream and endpoint takes, also older ones.
pub const REQUEST_BYTES_DEFAULT: usize = 5 * 1024 * 1024;
/// Most bytes a record may weigh (data and key) on a stream whose limit was raised as far as it goes.
pub const RECORD_BYTES_MAX: usize = 10 * 1024 * 1024;
/// What a record may weigh on a stream with the default limit.
pub const RECORD_BYTES_DEFAULT: usize = 1024 * 1024;
/// Most Unicode characters in a partition key.
pub const KEY_CHARS_MAX: usize = 256;

/// Most bytes of an aggregate, with its key: a quarter of what a shard takes in a second. Larger ones would wait for the shard's
/// tokens as one lump; with it a key gets its shard's whole rate up to round trips of a quarter second. KPL's default is 50 KiB.
pub const AGGREGATE_BYTES_MAX: usize = 256 * 1024;
/// Most user records in an aggregate: as many as a request holds records. It bounds how many go again when one is refused.
pub const AGGREGATE_RECORDS_MAX: u16 = REQUEST_RECORDS_MAX as u16;

/// What one shard takes in a second: records.
pub const SHARD_RECORDS_PER_SEC: f64 = 1000.0;
/// What one shard takes in a second: bytes. The service says 1 MB; pacing learns where it really lies.
pub const SHARD_BYTES_PER_SEC: f64 = 1_000_000.0;

/// What a held record costs beside its bytes: its slot, its key's state, its place in a queue. Measured with
/// `size_of` in `core.rs`, rounded up; a test keeps it true.
pub const RECORD_OVERHEAD_BYTES: usize = 256;
/// What an event costs that a newer one stands for: its bytes are gone, but its source still waits for its fate. Reckoned for
/// a fate that it shares with nobody.
pub const ABSORBED_OVERHEAD_BYTES: usize = 128;

/// Bytes that may enter behind a record that waits for its key before it is copied out of its array: what waits keeps about so much
/// of its neighbours' memory beyond the byte budget (four times as much where arrays are hardly used: see `intake.rs`). A round trip's
/// worth at full speed. Chosen.
pub const PINNED_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Default byte budget of one sink: at full speed the process stays under 128 MiB.
pub const BUDGET_BYTES_DEFAULT: usize = 64 * 1024 * 1024;
/// The smallest byte budget that can be set: one largest default request and what feeds it.
pub const BUDGET_BYTES_MIN: usize = 8 * 1024 * 1024;

/// Requests that may be in flight although they are not full. Two keep a slow stream's latency at about half a
/// round trip of waiting and let a busy one fill its requests. Chosen.
pub const PARTIAL_REQUESTS_MAX: usize = 2;
/// Requests in flight at the start: useful at once, small against any quota.
pub const IN_FLIGHT_START: usize = 8;
/// Most requests in flight unless `request.adaptive_concurrency.max_concurrency_limit` says otherwise (Vector's number).
pub const IN_FLIGHT_MAX: usize = 200;

/// Most requests in flight if the user sets a number: more than any machine has connections.
pub const IN_FLIGHT_FIXED_MAX: usize = 60_000;

/// How long one attempt may take unless `request.timeout_secs` says otherwise. Vector's 60 s would hold the keys of
/// a lost answer for a minute; the service answers within a second.
pub const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
/// First wait of a retry unless `request.retry_initial_backoff_secs` says otherwise.
pub const BACKOFF_START: Duration = Duration::from_millis(50);
/// Longest wait of a retry unless `request.retry_max_duration_secs` says otherwise: recovery is seen within it.
pub const BACKOFF_MAX: Duration = Duration::from_secs(3);

const _: () = assert!(REQUEST_BYTES_DEFAULT <= REQUEST_BYTES_MAX);
const _: () = assert!(RECORD_BYTES_DEFAULT <= RECORD_BYTES_MAX && RECORD_BYTES_MAX <= REQUEST_BYTES_MAX);
const _: () = assert!(REQUEST_BYTES_DEFAULT < BUDGET_BYTES_MIN);
const _: () = assert!(PARTIAL_REQUESTS_MAX <= IN_FLIGHT_START && IN_FLIGHT_START <= IN_FLIGHT_MAX);
