//! Input: what all steps are given.
//! Out: events like those that `profile_export` makes, the answers to them. Events of an array share one block of memory, as they do there.

use afluente_pipeline::event::{EventArray, EventMetadata, LogEvent};
use afluente_sink::kinesis::bench::{Steps, shard_number};
use bytes::{Bytes, BytesMut};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput};

/// Records in a full request.
pub(crate) const RECORDS: usize = 500;
/// Bytes of a record's data.
pub(crate) const DATA_BYTES: usize = 970;

/// The key of profile `n`.
pub(crate) fn key(n: usize) -> Bytes {
    Bytes::from(format!("ecid:{n:038}"))
}

/// One request's worth of data.
pub(crate) fn data() -> Vec<Bytes> {
    let mut block = BytesMut::with_capacity(RECORDS * DATA_BYTES);
    for n in 0..RECORDS {
        let start = block.len();
        block.extend_from_slice(format!(r#"{{"person":{{"name":"{n}"}},"#).as_bytes());
        let missing = start + DATA_BYTES - block.len();
        block.extend((0..missing).map(|at| b' ' + ((n * 31 + at * 7) % 90) as u8));
    }
    let block = block.freeze();
    (0..RECORDS).map(|n| block.slice(n * DATA_BYTES..(n + 1) * DATA_BYTES)).collect()
}

/// One request's worth of events, each of its own key.
pub(crate) fn events(data: &[Bytes]) -> EventArray {
    let event = |(n, data): (usize, &Bytes)| {
        let mut metadata = EventMetadata::default();
        metadata.set_partition_key(key(n));
        LogEvent::from_json_bytes(data.clone(), metadata)
    };
    EventArray::Logs(data.iter().enumerate().map(event).collect())
}

/// An answer of a stream with four shards, in which record `n` is stored unless `fails` says otherwise. `space` stands where JSON allows it.
pub(crate) fn answer(space: &str, fails: impl Fn(usize) -> bool) -> Vec<u8> {
    let entry = |n: usize| {
        if fails(n) {
            format!(
                r#"{{"ErrorCode":{space}"ProvisionedThroughputExceededException","ErrorMessage":{space}"Rate exceeded for shard shardId-000000000001 in stream profiles under account 111122223333."}}"#
            )
        } else {
            format!(
                r#"{{"SequenceNumber":{space}"4959033827149025660855969253836157109592157598{n:010}","ShardId":{space}"shardId-00000000000{}"}}"#,
                shard_number(&key(n)) >> 126
            )
        }
    };
    let failed = (0..RECORDS).filter(|n| fails(*n)).count();
    let entries: Vec<_> = (0..RECORDS).map(entry).collect();
    format!(r#"{{"FailedRecordCount":{space}{failed},"Records":{space}[{}]}}"#, entries.join(","))
        .into_bytes()
}

/// A sink in the middle of a run: it has learned where keys land, and its memory has been used before.
pub(crate) fn warm_steps(data: &[Bytes]) -> Steps {
    let mut steps = Steps::new().unwrap();
    let stored = answer("", |_| false);
    for _ in 0..200 {
        steps.take(events(data));
        let sealed = steps.seal().unwrap();
        assert_eq!(steps.settle(sealed, &stored), 0);
    }
    steps
}

/// A group whose cases handle one request of `bytes` bytes each.
pub(crate) fn group<'a>(c: &'a mut Criterion, name: &str, bytes: usize) -> BenchmarkGroup<'a, WallTime> {
    let mut group = c.benchmark_group(name);
    group.throughput(Throughput::ElementsAndBytes { elements: RECORDS as u64, bytes: bytes as u64 });
    group
}
