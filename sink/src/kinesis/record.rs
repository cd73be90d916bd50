//! Record: what Kinesis will store, from the moment it enters the sink until it is settled.
//! In: bytes and a partition key, both already valid. Out: its weight; its place in the slab that holds all of them.
//! Never: encodes an event (`intake.rs`), decides when it goes (`core.rs`).

use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

use bytes::Bytes;
use slab::Slab;

use super::limits::{ABSORBED_OVERHEAD_BYTES, RECORD_OVERHEAD_BYTES};

/// Time since the sink started. Handed in everywhere, so that tests play whole outages in microseconds.
pub type Moment = Duration;

/// The number of a held record; valid until it is settled.
pub type RecordId = u32;
/// No record: the end of a key's queue or of an aggregate.
pub const NO_RECORD: RecordId = RecordId::MAX;
/// Company of a record that nobody suspects: any.
const ANY_COMPANY: u16 = u16::MAX;
/// The number of a fate; see `fate.rs`.
pub type FateId = u32;

/// One record. Two cache lines, no more: each step looks at every record once, mostly long after the step before.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub struct Record {
    /// The data, as it will be stored.
    pub data: Bytes,
    /// The partition key: UTF-8, 1 to 256 characters.
    pub key: Bytes,
    key_hash: Option<NonZeroU64>,
    /// Who hears of its fate.
    pub fate: FateId,
    /// When it entered the sink.
    pub entered: Moment,
    /// Milliseconds from its entry to the first sending, and one more.
    sent_after: Option<NonZeroU32>,
    /// How often it was sent.
    pub attempts: u32,
    /// How often it was sent in a row without a word that the service is well; drives its backoff.
    pub setbacks: u32,
    /// An earlier attempt may have been stored without us hearing of it.
    pub may_be_stored: bool,
    /// The next record that waits for the same key; of one that is sent, the next in its aggregate.
    pub next: RecordId,
    /// Most records in an aggregate with this one, all of them suspects, while the service's refusal of one that held it is not cleared up.
    company_max: u16,
    /// Its bytes are its own: see `detach`.
    is_own: bool,
    /// Behind a pointer, since hardly any record has some.
    absorbed: Option<Box<Absorbed>>,
}

const _: () = assert!(size_of::<Record>() <= 128);

/// Fates of older records of a key that one record stands for (conflation).
#[derive(Clone, Debug, Default)]
struct Absorbed(Vec<FateId>);

impl Record {
    /// A record that enters at `entered`. `key_hash` is the key's identity for the gate; `None` for a random key, which nothing has to
    /// wait for.
    #[must_use]
    pub fn new(data: Bytes, key: Bytes, key_hash: Option<u64>, fate: FateId, entered: Moment) -> Self {
        Self {
            data,
            key,
            // Two keys may share a number, so 0 can share that of the largest.
            key_hash: key_hash.map(|hash| NonZeroU64::new(hash).unwrap_or(NonZeroU64::MAX)),
            fate,
            entered,
            sent_after: None,
            attempts: 0,
            setbacks: 0,
            may_be_stored: false,
            next: NO_RECORD,
            company_max: ANY_COMPANY,
            is_own: false,
            absorbed: None,
        }
    }

    /// The key's identity for the gate; `None` for a random key.
    #[must_use]
    pub fn key_hash(&self) -> Option<u64> {
        self.key_hash.map(NonZeroU64::get)
    }

    /// It is sent.
    pub fn sent(&mut self, now: Moment) {
        self.attempts += 1;
        if self.sent_after.is_none() {
            let millis = now.saturating_sub(self.entered).as_millis();
            self.sent_after = NonZeroU32::MIN.checked_add(millis.min(u128::from(u32::MAX - 1)) as u32);
        }
    }

    /// When it was first sent, to the millisecond.
    #[must_use]
    pub fn first_sent(&self) -> Option<Moment> {
        self.sent_after.map(|after| self.entered + Duration::from_millis(u64::from(after.get() - 1)))
    }

    /// Takes over what a newer record of the key says, and stands for both from now on.
    pub fn absorb(&mut self, newer: Record) {
        self.absorbed.get_or_insert_default().0.push(self.fate);
        self.fate = newer.fate;
        self.data = newer.data;
        self.is_own = false;
    }

    /// Fates of older records of the key that this one stands for (conflation).
    #[must_use]
    pub fn absorbed(&self) -> &[FateId] {
        self.absorbed.as_ref().map_or(&[], |absorbed| &absorbed.0)
    }

    /// What the service counts: data and key, in bytes.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.data.len() + self.key.len()
    }

    /// What it costs to hold: its bytes and our bookkeeping.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.weight() + RECORD_OVERHEAD_BYTES + self.absorbed().len() * ABSORBED_OVERHEAD_BYTES
    }

    /// How many events share this record's fate: itself, and those that it stands for.
    #[must_use]
    pub fn events(&self) -> u64 {
        1 + self.absorbed().len() as u64
    }

    /// The service refused a request with this record. It goes with suspects only from now on, at most `company_max` of them together.
    pub fn suspect(&mut self, company_max: u16) {
        self.company_max = company_max;
    }

    /// The record is no longer suspected.
    pub fn clear(&mut self) {
        self.company_max = ANY_COMPANY;
    }

    /// Most records in an aggregate with this one, if it is suspected.
    #[must_use]
    pub fn suspects_max(&self) -> Option<u16> {
        (self.company_max != ANY_COMPANY).then_some(self.company_max)
    }

    /// Copies the bytes out of the array they came in, so that a record that has to wait does not keep its
    /// neighbours' memory. Once is enough.
    pub fn detach(&mut self) {
        if std::mem::replace(&mut self.is_own, true) {
            return;
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_copied_out_of_its_array_once_and_again_for_new_data() {
        let array = Bytes::from_static(b"some data, a key, more data");
        let mut record = Record::new(array.slice(..9), array.slice(11..16), None, 0, Moment::ZERO);
        record.detach();
        assert_eq!((&record.data[..], &record.key[..]), (&b"some data"[..], &b"a key"[..]));
        let own = record.data.as_ptr();
        assert_ne!(own, array.as_ptr());
        record.detach();
        assert_eq!(record.data.as_ptr(), own);
        record.absorb(Record::new(array.slice(18..), array.slice(11..16), None, 0, Moment::ZERO));
        record.detach();
        assert_eq!(&record.data[..], b"more data");
        assert_ne!(record.data.as_ptr(), array[18..].as_ptr());
    }
}
