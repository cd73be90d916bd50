//! Keyed: which shard a record goes to, and whether that has room.
//! In: the body of a request. Out: one entry of the answer for each record; the list of all shards.
//! Holds: for each shard what it may take now. Each has an equal part of the hash keys, as in a new stream.

use std::borrow::Cow;
use std::fmt::Write;
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use md5::{Digest, Md5};
use serde::Deserialize;
use serde_json::json;

use super::answer::{RECORDS_MAX, http, put_records, refusal, sequence_number};

/// Records a shard takes in a second. Kinesis developer guide, quotas.
const SHARD_RECORDS_A_SECOND: f64 = 1000.0;
/// Bytes a shard takes in a second, data and key counted.
const SHARD_BYTES_A_SECOND: f64 = 1024.0 * 1024.0;

/// The stream's shards.
pub(super) struct Shards {
    count: NonZeroU32,
    /// What each may take now; none: as much as comes.
    rooms: Option<Vec<Mutex<Room>>>,
}

struct Room {
    records: f64,
    bytes: f64,
    at: Instant,
}

impl Room {
    /// Takes a record of `bytes` if there is room. What is saved up is at most one second's.
    fn take(&mut self, bytes: f64, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = now;
        self.records = (self.records + passed * SHARD_RECORDS_A_SECOND).min(SHARD_RECORDS_A_SECOND);
        self.bytes = (self.bytes + passed * SHARD_BYTES_A_SECOND).min(SHARD_BYTES_A_SECOND);
        let fits = self.records >= 1.0 && self.bytes >= bytes;
        if fits {
            self.records -= 1.0;
            self.bytes -= bytes;
        }
        fits
    }
}

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(rename = "Records", borrow)]
    records: Vec<Entry<'a>>,
}

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(rename = "Data", borrow)]
    data: Cow<'a, str>,
    #[serde(rename = "PartitionKey", borrow)]
    key: Cow<'a, str>,
}

/// An answer, and what became of the records.
pub(super) struct Answered {
    pub(super) http: Vec<u8>,
    pub(super) stored: u64,
    pub(super) throttled: u64,
}

impl Shards {
    pub(super) fn new(count: NonZeroU32, limited: bool) -> Self {
        let full = || {
            let (records, bytes) = (SHARD_RECORDS_A_SECOND, SHARD_BYTES_A_SECOND);
            Mutex::new(Room { records, bytes, at: Instant::now() })
        };
        Self { count, rooms: limited.then(|| (0..count.get()).map(|_| full()).collect()) }
    }

    fn shard_of(&self, key: &str) -> u32 {
        let hash = Md5::digest(key.as_bytes());
        let high = hash[..8].iter().fold(0_u64, |high, byte| high << 8 | u64::from(*byte));
        ((u128::from(high) * u128::from(self.count.get())) >> 64) as u32
    }

    /// The first key hash of shard `index`, or of all that follow the last.
    fn first_hash(&self, index: u32) -> Option<u128> {
        let part = (u128::from(index) << 64).div_ceil(u128::from(self.count.get()));
        u64::try_from(part).ok().map(|part| u128::from(part) << 64)
    }

    /// Answers ListShards, all in one page.
    pub(super) fn list(&self) -> Vec<u8> {
        let shards: Vec<_> = (0..self.count.get())
            .map(|index| {
                let first = self.first_hash(index).unwrap_or(u128::MAX);
                let last = self.first_hash(index + 1).map_or(u128::MAX, |next| next - 1);
                json!({
                    "ShardId": format!("shardId-{index:012}"),
                    "HashKeyRange": {"StartingHashKey": first.to_string(), "EndingHashKey": last.to_string()},
                    "SequenceNumberRange": {"StartingSequenceNumber": sequence_number(0, 0)},
                })
            })
            .collect();
        http("200 OK", json!({"Shards": shards}).to_string().as_bytes())
    }

    fn takes(&self, shard: u32, bytes: usize, now: Instant) -> bool {
        let Some(rooms) = &self.rooms else { return true };
        let mut room = rooms[shard as usize].lock().unwrap_or_else(PoisonError::into_inner);
        room.take(bytes as f64, now)
    }

    /// Answers the PutRecords request `body`, received at `now`.
    pub(super) fn answer(&self, body: &[u8], block: u64, now: Instant) -> Answered {
        let refused = |http| Answered { http, stored: 0, throttled: 0 };
        let request: Request<'_> = match serde_json::from_slice(body) {
            Ok(request) => request,
            Err(error) => {
                return refused(refusal(
                    "SerializationException",
                    &format!("{:?} error in the request", error.classify()),
                ));
            }
        };
        if !(1..=RECORDS_MAX).contains(&(request.records.len() as u64)) {
            return refused(refusal(
                "ValidationException",
                &format!("{} records: 1 to {RECORDS_MAX} are taken", request.records.len()),
            ));
        }
        let (mut entries, mut stored, mut throttled) =
            (String::with_capacity(request.records.len() * 128), 0, 0);
        for (index, entry) in request.records.iter().enumerate() {
            if index > 0 {
                entries.push(',');
            }
            let shard = self.shard_of(&entry.key);
            let bytes = entry.data.len() / 4 * 3 + entry.key.len();
            // Writing to a string cannot fail.
            let _ = if self.takes(shard, bytes, now) {
                stored += 1;
                let sequence = sequence_number(block, index);
                write!(entries, r#"{{"SequenceNumber":"{sequence}","ShardId":"shardId-{shard:012}"}}"#)
            } else {
                throttled += 1;
                write!(
                    entries,
                    r#"{{"ErrorCode":"ProvisionedThroughputExceededException","ErrorMessage":"Rate exceeded for shard shardId-{shard:012} in stream bench under account 111122223333."}}"#
                )
            };
        }
        Answered { http: put_records(&entries, throttled), stored, throttled }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn body(records: usize) -> Vec<u8> {
        let records: Vec<_> = (0..records)
            .map(|n| serde_json::json!({"Data": "AAAA", "PartitionKey": format!("key {n}")}))
            .collect();
        serde_json::json!({"StreamName": "s", "Records": records}).to_string().into_bytes()
    }

    #[test]
    fn a_shard_takes_its_thousand_records_a_second_and_refuses_the_others_by_name() {
        let shards = Shards::new(NonZeroU32::MIN, true);
        let now = Instant::now() + Duration::from_secs(5);
        let take = |now| {
            let answered = shards.answer(&body(500), 0, now);
            (answered.stored, answered.throttled)
        };
        assert_eq!([take(now), take(now), take(now)], [(500, 0), (500, 0), (0, 500)]);
        assert_eq!(take(now + Duration::from_millis(100)), (100, 400));
        let text = String::from_utf8(shards.answer(&body(500), 0, now).http).unwrap();
        assert!(text.contains("Rate exceeded for shard shardId-000000000000 in stream"), "{text}");
    }

    #[test]
    fn listed_shards_share_all_hashes_and_own_the_keys_that_land_on_them() {
        for count in [1, 3, 7, 1000] {
            let shards = Shards::new(NonZeroU32::new(count).unwrap(), false);
            let http = String::from_utf8(shards.list()).unwrap();
            let list: serde_json::Value =
                serde_json::from_str(http.split_once("\r\n\r\n").unwrap().1).unwrap();
            let hash = |range: &serde_json::Value| range.as_str().unwrap().parse::<u128>().unwrap();
            let ranges: Vec<_> = list["Shards"]
                .as_array()
                .unwrap()
                .iter()
                .map(|shard| &shard["HashKeyRange"])
                .map(|range| (hash(&range["StartingHashKey"]), hash(&range["EndingHashKey"])))
                .collect();
            assert_eq!((ranges[0].0, ranges[count as usize - 1].1), (0, u128::MAX));
            assert!(ranges.windows(2).all(|pair| pair[0].1 + 1 == pair[1].0));
            for n in 0..200 {
                let key = format!("key {n}");
                let hash = u128::from_be_bytes(Md5::digest(key.as_bytes()).into());
                let (first, last) = ranges[shards.shard_of(&key) as usize];
                assert!((first..=last).contains(&hash));
            }
        }
    }

    #[test]
    fn keys_spread_over_all_shards_and_a_key_stays_where_it_is() {
        let shards = Shards::new(NonZeroU32::new(4).unwrap(), false);
        let mut counts = [0; 4];
        for n in 0..4000 {
            let key = format!("key {n}");
            counts[shards.shard_of(&key) as usize] += 1;
            assert_eq!(shards.shard_of(&key), shards.shard_of(&key));
        }
        assert!(counts.iter().all(|count| (900..1100).contains(count)), "{counts:?}");
    }

    #[test]
    fn what_is_no_request_is_refused() {
        let shards = Shards::new(NonZeroU32::MIN, false);
        for (body, code) in [(b"{".to_vec(), "SerializationException"), (body(501), "ValidationException")] {
            let answered = shards.answer(&body, 0, Instant::now());
            assert!(String::from_utf8(answered.http).unwrap().contains(code));
            assert_eq!(answered.stored, 0);
        }
    }
}
