//! Ledger: what was stored, in order.
//! In: records as they get a sequence number, and whether the answer reached its client.
//! Out: queries: lost, doubled, out of order per key.
//! Holds: one entry a stored record, by rising sequence number; its size follows [`Keep`].
//! Never: decides whether a record is stored (see `put_records`), forgets one.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::aggregate::user_records;

/// What a test knows a record by: whose it is, and its place among that key's records (rising).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag {
    pub key: u64,
    pub seq: u64,
}

/// A tag for keys that are text: `key` is hashed, the same in every run.
pub fn tag(key: &str, seq: u64) -> Tag {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    Tag { key: hasher.finish(), seq }
}

/// Reads a record's tag from its partition key and data; `None` for a record that is no test event.
pub type Tagger = Arc<dyn Fn(&str, &[u8]) -> Option<Tag> + Send + Sync>;

/// How much of each stored record the ledger keeps.
#[derive(Clone, Default)]
pub enum Keep {
    /// Key and data: the default.
    #[default]
    Everything,
    /// The tag, key and data.
    TagAndEverything(Tagger),
    /// The tag alone, about 50 bytes a record: for runs of a million events.
    TagOnly(Tagger),
}

impl fmt::Debug for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Everything => "Everything",
            Self::TagAndEverything(_) => "TagAndEverything",
            Self::TagOnly(_) => "TagOnly",
        })
    }
}

/// Did the client read the verdicts of this request?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The answer is not out yet.
    Pending,
    /// A well-formed answer was handed to the socket.
    Answered,
    /// Reset, hung, cut, garbled, or the client left first: a retry of these records is allowed to double them.
    Lost,
}

/// One stored record.
#[derive(Debug, Clone)]
pub struct Stored {
    /// Rises over all streams and shards of the server.
    pub sequence: u64,
    /// Index of the stream, in order of creation.
    pub stream: u16,
    /// Number of the shard, as in `shardId-000000000003`.
    pub shard: u32,
    /// Index among all write requests (PutRecords and PutRecord), from 0; see [`Ledger::fate`].
    pub request: u32,
    /// Index within its request, from 0.
    pub position: u16,
    pub tag: Option<Tag>,
    /// Absent with [`Keep::TagOnly`].
    kept: Option<Box<Kept>>,
}

/// What [`Keep::TagOnly`] leaves out.
#[derive(Debug, Clone)]
pub struct Kept {
    pub key: Box<str>,
    pub data: Bytes,
    /// Since the server's start.
    pub at: Duration,
}

impl Stored {
    /// The partition key; empty if the request had none. Panics with [`Keep::TagOnly`].
    pub fn key(&self) -> &str {
        &self.whole().key
    }

    /// The decoded data. Panics with [`Keep::TagOnly`].
    pub fn data(&self) -> &Bytes {
        &self.whole().data
    }

    /// When, since the server's start. Panics with [`Keep::TagOnly`].
    pub fn at(&self) -> Duration {
        self.whole().at
    }

    /// `None` with [`Keep::TagOnly`].
    pub fn kept(&self) -> Option<&Kept> {
        self.kept.as_deref()
    }

    fn whole(&self) -> &Kept {
        self.kept().expect("the ledger keeps tags only: start the server with another `Keep`")
    }
}

/// Where a record is about to be stored.
pub(super) struct Place {
    pub(super) stream: u16,
    pub(super) shard: u32,
    pub(super) request: u32,
    pub(super) position: usize,
    pub(super) at: Duration,
}

/// All stored records of one server.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    keep: Keep,
    stored: Vec<Stored>,
    fates: Vec<Fate>,
    sequence: u64,
}

impl Ledger {
    pub(super) fn new(keep: Keep) -> Self {
        Self { keep, ..Self::default() }
    }

    /// Opens the account of one write request and gives its index.
    pub(super) fn open_request(&mut self) -> u32 {
        self.fates.push(Fate::Pending);
        u32::try_from(self.fates.len() - 1).unwrap()
    }

    pub(super) fn settle_request(&mut self, request: u32, fate: Fate) {
        self.fates[request as usize] = fate;
    }

    /// Stores one record and gives its sequence number. A tagger sees user records: an aggregate is stored as what it carries.
    pub(super) fn store(&mut self, place: &Place, key: &str, data: Bytes) -> u64 {
        match &self.keep {
            Keep::Everything => self.push(place, None, Some((key, data))),
            Keep::TagAndEverything(tagger) => {
                let tagger = tagger.clone();
                for (key, data) in user_records(key, data) {
                    let tag = tagger(&key, &data);
                    self.push(place, tag, Some((&key, data)));
                }
            }
            Keep::TagOnly(tagger) => {
                let tagger = tagger.clone();
                for (key, data) in user_records(key, data) {
                    self.push(place, tagger(&key, &data), None);
                }
            }
        }
        self.sequence
    }

    fn push(&mut self, place: &Place, tag: Option<Tag>, kept: Option<(&str, Bytes)>) {
        self.sequence += 1;
        self.stored.push(Stored {
            sequence: self.sequence,
            stream: place.stream,
            shard: place.shard,
            request: place.request,
            position: u16::try_from(place.position).unwrap(),
            tag,
            kept: kept.map(|(key, data)| Box::new(Kept { key: key.into(), data, at: place.at })),
        });
    }

    /// The last sequence number given; 0 before the first.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Records stored, copies counted.
    pub fn len(&self) -> usize {
        self.stored.len()
    }

    pub fn is_empty(&self) -> bool {
        self.stored.is_empty()
    }

    /// In the order of storing.
    pub fn records(&self) -> &[Stored] {
        &self.stored
    }

    /// Data of all records as text, in the order of storing.
    pub fn texts(&self) -> Vec<String> {
        self.stored.iter().map(|record| String::from_utf8_lossy(record.data()).into_owned()).collect()
    }

    /// Whether the client could know what became of this write request's records.
    pub fn fate(&self, request: u32) -> Fate {
        self.fates[request as usize]
    }

    /// Records per shard number of one stream.
    pub fn by_shard(&self, stream: u16) -> HashMap<u32, u64> {
        let mut counts = HashMap::new();
        for record in self.stored.iter().filter(|record| record.stream == stream) {
            *counts.entry(record.shard).or_default() += 1;
        }
        counts
    }

    /// Compares with what was sent, by the tags kept at storing time ([`Keep::TagOnly`] or [`Keep::TagAndEverything`]).
    pub fn audit(&self, expected: impl IntoIterator<Item = Tag>) -> Audit {
        Audit::of(self, expected, |record| record.tag)
    }

    /// Compares with what was sent; `tagger` reads key and data.
    pub fn audit_by(
        &self,
        expected: impl IntoIterator<Item = Tag>,
        tagger: impl Fn(&str, &[u8]) -> Option<Tag>,
    ) -> Audit {
        Audit::of(self, expected, |record| tagger(record.key(), record.data()))
    }
}

/// A record that was stored after a later one of its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disorder {
    pub tag: Tag,
    /// The highest place of the key that was stored before it.
    pub after: u64,
    pub sequence: u64,
}

/// What became of the events that a test sent.
#[derive(Debug, Clone, Default)]
pub struct Audit {
    /// Distinct expected events that are stored.
    pub delivered: u64,
    /// Expected, never stored.
    pub lost: Vec<Tag>,
    /// Copies beyond each event's first.
    pub doubled: u64,
    /// Those of `doubled` whose copy before was answered: nobody had a reason to send them again.
    pub doubled_without_cause: Vec<Tag>,
    /// First copies that came after a later event of their key: promise 3 broken.
    pub out_of_order: Vec<Disorder>,
    /// Further copies that came after a later event of their key.
    pub copies_out_of_order: Vec<Disorder>,
    /// Stored, tagged, never sent.
    pub unexpected: Vec<Tag>,
    /// Stored records that the tagger did not know.
    pub untagged: u64,
}

impl Audit {
    fn of(
        ledger: &Ledger,
        expected: impl IntoIterator<Item = Tag>,
        tag_of: impl Fn(&Stored) -> Option<Tag>,
    ) -> Self {
        let expected: HashSet<Tag> = expected.into_iter().collect();
        let mut audit = Self::default();
        let mut last_fate: HashMap<Tag, Fate> = HashMap::with_capacity(expected.len());
        let mut highest: HashMap<u64, u64> = HashMap::new();
        for record in ledger.records() {
            let Some(tag) = tag_of(record) else {
                audit.untagged += 1;
                continue;
            };
            let before = last_fate.insert(tag, ledger.fate(record.request));
            match before {
                None if expected.contains(&tag) => audit.delivered += 1,
                None => audit.unexpected.push(tag),
                Some(fate) => {
                    audit.doubled += 1;
                    if fate == Fate::Answered {
                        audit.doubled_without_cause.push(tag);
                    }
                }
            }
            let highest = highest.entry(tag.key).or_insert(tag.seq);
            if tag.seq < *highest {
                let disorder = Disorder { tag, after: *highest, sequence: record.sequence };
                match before {
                    None => audit.out_of_order.push(disorder),
                    Some(_) => audit.copies_out_of_order.push(disorder),
                }
            }
            *highest = tag.seq.max(*highest);
        }
        audit.lost = expected.into_iter().filter(|tag| !last_fate.contains_key(tag)).collect();
        audit.lost.sort_unstable();
        audit
    }

    /// Panics unless everything arrived, in order, and was doubled only after a lost answer.
    #[track_caller]
    pub fn assert_kept(&self) {
        assert!(
            self.lost.is_empty()
                && self.out_of_order.is_empty()
                && self.copies_out_of_order.is_empty()
                && self.doubled_without_cause.is_empty()
                && self.unexpected.is_empty(),
            "the promises are broken: {self}"
        );
    }
}

impl fmt::Display for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} delivered, {} lost {:?}, {} out of order {:?}, {} copies out of order {:?}, {} doubled ({} without cause {:?}), {} unexpected, {} untagged",
            self.delivered,
            self.lost.len(),
            few(&self.lost),
            self.out_of_order.len(),
            few(&self.out_of_order),
            self.copies_out_of_order.len(),
            few(&self.copies_out_of_order),
            self.doubled,
            self.doubled_without_cause.len(),
            few(&self.doubled_without_cause),
            self.unexpected.len(),
            self.untagged,
        )
    }
}

fn few<T>(all: &[T]) -> &[T] {
    &all[..all.len().min(5)]
}
