//! Limits: the numbers of the service that the fault server stands in for, and how a test changes them.
//! In: nothing.  Out: plain values for `put_records`, `control` and `builder`.
//! Never: anything but numbers. Source: Kinesis API reference, PutRecords, as of 2026 (see each).

/// Records in one PutRecords call. API reference, PutRecords.
pub const REQUEST_RECORDS_MAX: usize = 500;
/// Bytes in one call, data and UTF-8 partition keys; 5 MiB before late 2025.
pub const REQUEST_BYTES_MAX: usize = 10 * 1024 * 1024;
/// The same before late 2025, for tests of old endpoints.
pub const REQUEST_BYTES_MAX_OLD: usize = 5 * 1024 * 1024;
/// Bytes in one record, data and key, unless the stream says otherwise.
pub const RECORD_BYTES_MAX: usize = 1024 * 1024;
/// Characters (not bytes) in a partition key.
pub const KEY_CHARS_MAX: usize = 256;
/// Names in one ListStreams page.
pub const STREAMS_PAGE: usize = 100;
/// Shards in one ListShards or DescribeStream page.
pub const SHARDS_PAGE: usize = 1000;
/// HTTP body that is answered 413 unread. Chosen: base64 and framing of 10 MiB fit below it with room.
pub const BODY_BYTES_MAX: usize = 20 * 1024 * 1024;
/// Difference between the client's and the server's clock beyond which a signature is refused.
pub const CLOCK_SKEW_MAX_SECS: i64 = 5 * 60;
/// The account in every text and ARN: the one that AWS uses in its examples.
pub const ACCOUNT: &str = "111122223333";

/// What a server takes in one request. Streams carry their own record limit.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Records, from 1.
    pub request_records_max: usize,
    /// Decoded data and UTF-8 keys.
    pub request_bytes_max: usize,
    /// HTTP body; beyond it the answer is 413 with an empty body.
    pub body_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_records_max: REQUEST_RECORDS_MAX,
            request_bytes_max: REQUEST_BYTES_MAX,
            body_bytes_max: BODY_BYTES_MAX,
        }
    }
}
