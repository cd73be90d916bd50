//! Intake: from an event to a record.
//! In: an array of events. Out: records in the core, or refusals that say why one cannot be a record.
//! Never: parses an event whose bytes can pass through; lets a record keep an array's memory that it hardly uses.

use afluente_pipeline::codecs::compression::Compressor;
use afluente_pipeline::codecs::encoding::Encoder;
use afluente_pipeline::event::{EventArray, EventMetadata, LogEvent, Value};
use bytes::{Bytes, BytesMut};
use chrono::Utc;
use foldhash::fast::RandomState;
use rand::Rng;
use rand::rngs::SmallRng;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::hash::BuildHasher;
use vrl::path::OwnedTargetPath;

use super::config::LongPartitionKey;
use super::core::{Core, Reason};
use super::limits::KEY_CHARS_MAX;
use super::record::{FateId, Moment, Record};

/// Arrays smaller than this are copied: so few events may keep a whole read buffer alive.
const COPY_BELOW_EVENTS: usize = 32;
/// So are arrays whose records keep more than this many times their own bytes.
const COPY_ABOVE_SPREAD: usize = 4;
/// Records further apart than this are taken to lie in different pieces of memory, with so much of it beside them: a read of a source.
const APART_BYTES: usize = 256 * 1024;

/// A random key is so long.
const RANDOM_KEY_BYTES: usize = 16;
/// So many random keys lie in one piece of memory, which goes with the last of them.
const RANDOM_KEYS_TOGETHER: usize = 256;

/// Makes records of events.
pub struct Intake {
    encoder: Encoder,
    compressor: Option<Compressor>,
    key_field: Option<OwnedTargetPath>,
    long_key: LongPartitionKey,
    hasher: RandomState,
    rng: SmallRng,
    random_keys: BytesMut,
}

/// A record, or what is left of an event that cannot be one, and why.
type Entry = Result<Record, Box<(Record, Reason)>>;

enum Key {
    /// Of the event: records that share it keep their order.
    Own(Bytes),
    /// Made up: nothing has to wait for it.
    Random(Bytes),
}

impl Intake {
    /// An intake; `key_field` is where the partition key is, if the user said so.
    pub fn new(
        encoder: Encoder,
        compressor: Option<Compressor>,
        key_field: Option<OwnedTargetPath>,
        long_key: LongPartitionKey,
        rng: SmallRng,
    ) -> Self {
        Self {
            encoder,
            compressor,
            key_field,
            long_key,
            hasher: RandomState::default(),
            rng,
            random_keys: BytesMut::new(),
        }
    }

    /// Hands all events of the array to the core.
    pub fn take(&mut self, now: Moment, array: EventArray, core: &mut Core) {
        let logs = array.into_logs();
        let few = logs.len() < COPY_BELOW_EVENTS;
        let mut fate: Option<FateId> = None;
        let mut entries = Vec::with_capacity(logs.len());
        for mut log in logs {
            let finalizers = log.metadata_mut().take_finalizers();
            let id = match fate {
                Some(id) if core.shares_fate(id, &finalizers) => id,
                _ => {
                    // A fate is joined by the records that enter; only then may it be closed.
                    hand_over(&mut entries, few, core);
                    if let Some(id) = fate {
                        core.close_fate(id);
                    }
                    core.open_fate(finalizers, ingested(now, log.metadata()))
                }
            };
            fate = Some(id);
            entries.push(self.record(now, log, id));
        }
        hand_over(&mut entries, few, core);
        if let Some(id) = fate {
            core.close_fate(id);
        }
    }

    fn record(&mut self, now: Moment, mut log: LogEvent, fate: FateId) -> Entry {
        let key = self.key(&mut log);
        let (data, _): (_, EventMetadata) = self.encoder.encode_owned(log);
        let refuse = |data: Bytes, key: Bytes, reason: Reason| {
            Err(Box::new((Record::new(data, key, None, fate, now), reason)))
        };
        let data = match data {
            Ok(data) => data,
            Err(error) => return refuse(Bytes::new(), Bytes::new(), Reason::Encode(error.to_string())),
        };
        let data = match &mut self.compressor {
            None => data,
            Some(compressor) => match compressor.compress(data.clone()) {
                Ok(compressed) => compressed,
                Err(error) => return refuse(data, Bytes::new(), Reason::Encode(error.to_string())),
            },
        };
        match key {
            Ok(Key::Own(key)) => {
                let hash = self.hasher.hash_one(&key[..]);
                Ok(Record::new(data, key, Some(hash), fate, now))
            }
            Ok(Key::Random(key)) => Ok(Record::new(data, key, None, fate, now)),
            Err((key, reason)) => refuse(data, key, reason),
        }
    }

    fn key(&mut self, log: &mut LogEvent) -> Result<Key, (Bytes, Reason)> {
        let key = match &self.key_field {
            Some(field) => match log.get(field) {
                None => return Err((Bytes::new(), Reason::NoKey)),
                Some(value) => key_text(value),
            },
            None => match log.metadata_mut().take_partition_key() {
                Some(key) => key,
                None => return Ok(Key::Random(random_key(&mut self.rng, &mut self.random_keys))),
            },
        };
        if key.is_empty() {
            return Err((key, Reason::EmptyKey));
        }
        // Up to 256 bytes it cannot have more than 256 characters; ASCII needs no further look.
        if key.len() <= KEY_CHARS_MAX && key.is_ascii() {
            return Ok(Key::Own(key));
        }
        let Ok(text) = std::str::from_utf8(&key) else { return Err((key, Reason::KeyNotUtf8)) };
        let chars = text.chars().count();
        if chars <= KEY_CHARS_MAX {
            return Ok(Key::Own(key));
        }
        match self.long_key {
            LongPartitionKey::Digest => Ok(Key::Own(digest(&key))),
            LongPartitionKey::Reject => Err((key, Reason::KeyTooLong { chars })),
        }
    }
}

/// When the source took the event in, in the sink's time. The source's stamp is a wall clock's: should that have been set
/// back since, the event is as new as can be.
fn ingested(now: Moment, metadata: &EventMetadata) -> Moment {
    let age = metadata.ingest_timestamp().and_then(|stamp| (Utc::now() - stamp).to_std().ok());
    now.saturating_sub(age.unwrap_or_default())
}

/// Moves all entries into the core; copies their bytes if few of them would keep much memory.
fn hand_over(entries: &mut Vec<Entry>, few: bool, core: &mut Core) {
    let copy = few || is_sparse(entries);
    for entry in entries.drain(..) {
        match entry {
            Ok(mut record) => {
                if copy {
                    record.detach();
                }
                core.accept(record);
            }
            Err(refused) => {
                let (record, reason) = *refused;
                core.refuse(record, reason);
            }
        }
    }
}

/// Whether the records keep much memory for what they are, such as few lines of a read whose others were filtered out. What lies before the
/// first and after the last is not known.
fn is_sparse(entries: &[Entry]) -> bool {
    let (mut weight, mut kept) = (0, 0);
    let mut last: Option<(usize, usize)> = None;
    for record in entries.iter().flatten().filter(|record| !record.data.is_empty()) {
        let start = record.data.as_ptr() as usize;
        let end = start + record.data.len();
        let gap = last.map_or(0, |(last_start, last_end)| {
            start.saturating_sub(last_end).max(last_start.saturating_sub(end)).min(APART_BYTES)
        });
        weight += record.weight();
        kept += gap + record.data.len();
        last = Some((start, end));
    }
    kept > weight * COPY_ABOVE_SPREAD
}

/// A partition key made of a field's value, as Vector makes it: strings as they are, other scalars as text, objects and arrays as JSON.
fn key_text(value: &Value) -> Bytes {
    match value {
        Value::Bytes(bytes) => bytes.clone(),
        Value::String(text) => Bytes::copy_from_slice(text.as_bytes()),
        other => Bytes::from(other.to_string_lossy().into_owned()),
    }
}

/// Sixteen hexadecimal digits, in memory that many keys share.
fn random_key(rng: &mut SmallRng, room: &mut BytesMut) -> Bytes {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let number: u64 = rng.random();
    if room.capacity() < RANDOM_KEY_BYTES {
        room.reserve(RANDOM_KEYS_TOGETHER * RANDOM_KEY_BYTES);
    }
    let text: [u8; RANDOM_KEY_BYTES] =
        std::array::from_fn(|at| DIGITS[(number >> (60 - 4 * at) & 15) as usize]);
    room.extend_from_slice(&text);
    room.split().freeze()
}

/// The documented stand-in for a key that is too long: its SHA-256 in lower-case hex.
fn digest(key: &[u8]) -> Bytes {
    let mut text = String::with_capacity(64);
    for byte in Sha256::digest(key) {
        let _ = write!(text, "{byte:02x}");
    }
    Bytes::from(text)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    /// Records of every `step`th of the lines of each read, at most `most` of them.
    fn lines(reads: &[Bytes], line_bytes: usize, step: usize, most: usize) -> Vec<Entry> {
        let starts = |read: &Bytes| (0..=read.len() - line_bytes).step_by(line_bytes * step).take(most);
        let record = |data| Ok(Record::new(data, Bytes::from_static(b"key"), None, 0, Moment::ZERO));
        let place = |read: &Bytes, at| read.slice(at..at + line_bytes);
        reads.iter().flat_map(|read| starts(read).map(|at| record(place(read, at)))).collect()
    }

    #[test]
    fn lines_of_several_reads_are_not_sparse_and_a_few_of_each_read_are() {
        let memory = Bytes::from(vec![b'x'; 8 * APART_BYTES]);
        let read = |nth: usize| memory.slice(nth * APART_BYTES..(nth + 1) * APART_BYTES);
        let several = [vec![read(0), read(4), read(7)], vec![read(6), read(3), read(0)]];
        for reads in several.iter().chain([&vec![read(0)]]) {
            for (step, sparse) in [(1, false), (2, false), (10, true)] {
                let mut entries = lines(reads, 1_000, step, usize::MAX);
                assert_eq!(is_sparse(&entries), sparse, "each {step}th line of {} reads", reads.len());
                entries.reverse();
                assert_eq!(is_sparse(&entries), sparse, "and backwards");
            }
        }
        for reads in &several {
            assert!(is_sparse(&lines(reads, 100, 1, 15)), "a few lines of each");
        }
        assert!(!is_sparse(&[]));
    }

    #[test]
    fn a_random_key_is_the_generators_number_in_sixteen_hexadecimal_digits() {
        let (mut rng, mut same) = (SmallRng::seed_from_u64(7), SmallRng::seed_from_u64(7));
        let mut room = BytesMut::new();
        let keys: Vec<Bytes> =
            (0..3 * RANDOM_KEYS_TOGETHER).map(|_| random_key(&mut rng, &mut room)).collect();
        for key in keys {
            assert_eq!(key, format!("{:016x}", same.random::<u64>()));
        }
    }
}
