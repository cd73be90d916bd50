//! Record: what Kinesis will store, from the moment it enters the sink until it is settled.
//! In: bytes and a partition key, both already valid. Out: its weight; its place in the slab that holds all of them.
//! Never: encodes an event (`intake.rs`), decides when it goes (`core.rs`).

use std::time::Duration;

use bytes::Bytes;
use slab::Slab;

use super::limits::{ABSORBED_OVERHEAD_BYTES, AGGREGATE_RECORDS_MAX, RECORD_OVERHEAD_BYTES};

/// Time since the sink started. Handed in everywhere, so that tests play whole outages in microseconds.
pub type Moment = Duration;

/// The number of a held record; valid until it is settled.
pub type RecordId = u32;
/// No record: the end of a key's queue or of an aggregate.
pub const NO_RECORD: RecordId = RecordId::MAX;
/// The number of a fate; see `fate.rs`.
pub type FateId = u32;

/// One record.
#[derive(Clone, Debug)]
pub struct Record {
    /// The data, as it will be stored.
    pub data: Bytes,
    /// The partition key: UTF-8, 1 to 256 characters.
    pub key: Bytes,
    /// The key's identity for the gate; `None` for a random key, which nothing has to wait for.
    pub key_hash: Option<u64>,
    /// Who hears of its fate.
    pub fate: FateId,
    /// When it entered the sink.
    pub entered: Moment,
    /// When it was first sent.
    pub first_sent: Option<Moment>,
    /// How often it was sent.
    pub attempts: u32,
    /// How often it was sent in a row without a word that the service is well; drives its backoff.
    pub setbacks: u32,
    /// An earlier attempt may have been stored without us hearing of it.
    pub may_be_stored: bool,
    /// The next record that waits for the same key; of one that is sent, the next in its aggregate.
    pub next: RecordId,
    /// Most records in an aggregate with this one: halved each time the service refuses one that holds it.
    pub company_max: u16,
    /// Fates of older records of the key that this one stands for (conflation).
    pub absorbed: Vec<FateId>,
}

impl Record {
    /// A record that enters at `entered`.
    #[must_use]
    pub fn new(data: Bytes, key: Bytes, key_hash: Option<u64>, fate: FateId, entered: Moment) -> Self {
        Self {
            data,
            key,
            key_hash,
            fate,
            entered,
            first_sent: None,
            attempts: 0,
            setbacks: 0,
            may_be_stored: false,
            next: NO_RECORD,
            company_max: AGGREGATE_RECORDS_MAX,
            absorbed: Vec::new(),
        }
    }

    /// What the service counts: data and key, in bytes.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.data.len() + self.key.len()
    }

    /// What it costs to hold: its bytes and our bookkeeping.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.weight() + RECORD_OVERHEAD_BYTES + self.absorbed.len() * ABSORBED_OVERHEAD_BYTES
    }

    /// How many events share this record's fate: itself, and those that it stands for.
    #[must_use]
    pub fn events(&self) -> u64 {
        1 + self.absorbed.len() as u64
    }

    /// Copies the bytes out of the array they came in, so that a record that has to wait does not keep its
    /// neighbours' memory.
    pub fn detach(&mut self) {
        let mut own = Vec::with_capacity(self.weight());
        own.extend_from_slice(&self.data);
        own.extend_from_slice(&self.key);
        let own = Bytes::from(own);
        self.key = own.slice(self.data.len()..);
        self.data = own.slice(..self.data.len());
    }
}

/// All records the sink holds.
pub type Records = Slab<Record>;
