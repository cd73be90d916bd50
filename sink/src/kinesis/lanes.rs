//! Lanes: where records that may be sent wait, a throttled shard's apart from the rest.
//! In: records that passed the gate. Out: the next records that fit a request, none of them faster than their shard takes.
//! Holds: one free lane, one lane for each shard that is being paced, a meter for every shard seen. Shards that cannot be told apart (a stream
//! that ignores keys; nothing known yet) are metered and paced together, by how many they are.
//! Never: sends, decides on order; a wrong guess of a shard costs pace, not correctness.

use std::time::Duration;

use super::lane::Lane;
use super::meter::{Book, Meter};
use super::record::{Moment, RecordId, Records};
use super::shard_list::ListedShard;
use super::shard_map::{Learned, ShardIndex, ShardMap, key_hash};
use super::throttle::Pace;

/// Answers that are looked at one by one to learn the stream's shards, before sampling begins.
const LEARN_FIRST: u32 = 2000;
/// After that, one in this many; while lanes are paced, every one.
const LEARN_EVERY: u32 = 32;
/// A shard is one of the stream's as long as it stored something this shortly before the newest record that was stored. One that was split
/// or merged away stores nothing more. Chosen.
const PRESENT: Duration = Duration::from_secs(5);

#[derive(Debug)]
struct Paced {
    shard: Option<ShardIndex>,
    lane: Lane,
    pace: Pace,
}

/// All lanes.
#[derive(Debug, Default)]
pub struct Lanes {
    free: Lane,
    paced: Vec<Paced>,
    meters: Vec<Meter>,
    unknown: Meter,
    map: ShardMap,
    seen: u32,
    cursor: usize,
    stale: bool,
    /// Most shards that were counted at once. One that was silent for a while is nothing new.
    most_present: usize,
}

/// When it is a record's turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// After all others: it has just entered.
    Newest,
    /// Before all that are newer: it had to wait for its key.
    ByAge,
    /// Before all others, except those that are older and waited for their key: it was sent before.
    First,
}

/// What fits a request.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// Records.
    pub records: usize,
    /// Bytes, data and keys.
    pub bytes: usize,
}

impl Lanes {
    /// The shard map.
    pub fn map_mut(&mut self) -> &mut ShardMap {
        &mut self.map
    }

    /// The shard map.
    #[must_use]
    pub fn map(&self) -> &ShardMap {
        &self.map
    }

    /// Shards that are being paced.
    #[must_use]
    pub fn paced(&self) -> usize {
        self.paced.len()
    }

    /// Records in all lanes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.free.len() + self.paced.iter().map(|paced| paced.lane.len()).sum::<usize>()
    }

    /// Adds a record.
    pub fn push(&mut self, id: RecordId, records: &mut Records, turn: Turn) {
        let Some(record) = records.get_mut(id as usize) else {
            debug_assert!(false, "record {id} is queued but not held");
            return;
        };
        let lane = match self.lane_of(&record.key) {
            None => &mut self.free,
            Some(at) => {
                // It may wait long: it must not keep its neighbours' memory.
                record.detach();
                &mut self.paced[at].lane
            }
        };
        match turn {
            Turn::Newest => lane.push(id, record),
            Turn::ByAge => lane.push_waited(id, record),
            Turn::First => lane.push_front(id, record),
        }
    }

    fn lane_of(&self, key: &[u8]) -> Option<usize> {
        if self.paced.is_empty() {
            return None;
        }
        let shard = self.map.predict(key_hash(key));
        self.paced.iter().position(|paced| paced.shard == shard)
    }

    /// Queues everything anew after lanes or the map have changed.
    fn settle_places(&mut self, records: &mut Records) {
        if !std::mem::take(&mut self.stale) {
            return;
        }
        let mut ids: Vec<_> = self.free.drain().collect();
        for paced in &mut self.paced {
            ids.extend(paced.lane.drain());
        }
        // All are empty; on a stream that ignores keys they are one.
        self.paced.dedup_by_key(|paced| paced.shard);
        // Ids do not tell age; arrival does.
        ids.sort_by_key(|id| records.get(*id as usize).map(|record| record.entered));
        for id in ids {
            self.push(id, records, Turn::Newest);
        }
    }

    /// `count` records of `bytes` landed on `shard`.
    pub fn stored(&mut self, now: Moment, shard: ShardIndex, count: u32, bytes: u64) {
        self.meter(shard).stored(now, count, bytes);
        self.unknown.stored(now, count, bytes);
    }

    /// Counts the shards that records may land on whose shard cannot be told.
    fn count_shards(&mut self) {
        let newest = self.unknown.stored_at;
        let present = self.meters.iter().filter(|meter| meter.stored_at + PRESENT > newest).count();
        let book = Book::of(present);
        if self.unknown.book == book {
            return;
        }
        self.unknown.book = book;
        let news = present > self.most_present;
        self.most_present = self.most_present.max(present);
        for paced in self.paced.iter_mut().filter(|paced| paced.shard.is_none()) {
            paced.pace.counted(book, news);
        }
    }

    fn meter(&mut self, shard: ShardIndex) -> &mut Meter {
        let at = shard as usize;
        if at >= self.meters.len() {
            self.meters.resize_with(at + 1, Meter::default);
        }
        &mut self.meters[at]
    }

    /// Whether the next landed record should be looked at by `landed`.
    pub fn wants_to_learn(&mut self) -> bool {
        self.seen = self.seen.wrapping_add(1);
        !self.map.is_auto()
            && (!self.paced.is_empty() || self.seen <= LEARN_FIRST || self.seen.is_multiple_of(LEARN_EVERY))
    }

    /// The service's own list of the stream's open shards.
    pub fn listed(&mut self, now: Moment, shards: &[ListedShard]) {
        for listed in shards {
            if let Some(shard) = self.map.shard(&listed.name) {
                self.map.listed(shard, listed.low, listed.high, now);
            }
        }
        self.stale = true;
    }

    /// A record with this key, in a request sent at `sent`, landed on `shard`.
    pub fn landed(&mut self, key: &[u8], shard: ShardIndex, sent: Moment, now: Moment) -> Learned {
        let learned = self.map.observed(key_hash(key), shard, sent, now);
        match learned {
            Learned::Nothing => {}
            Learned::Moved => self.stale = true,
            Learned::Auto => {
                // No lane can be told from another any more: one pace for the stream.
                for paced in &mut self.paced {
                    paced.shard = None;
                    paced.pace = Pace::start(now, &mut self.unknown);
                }
                self.stale = true;
            }
        }
        learned
    }

    /// `count` records were refused for rate: of the shard that the service named, or else of the one that was predicted for `key`.
    /// Returns whether their lane is paced now; if not, the refusals look like chance and the records should just wait a little.
    pub fn refused(
        &mut self,
        now: Moment,
        sent: Moment,
        named: Option<ShardIndex>,
        key: &[u8],
        count: u32,
    ) -> bool {
        let auto = self.map.is_auto();
        let shard = named.or_else(|| self.map.predict(key_hash(key))).filter(|_| !auto);
        let mut meter = match shard {
            None => std::mem::take(&mut self.unknown),
            Some(shard) => std::mem::take(self.meter(shard)),
        };
        meter.refused(now, count);
        let paced = match self.paced.iter_mut().find(|paced| paced.shard == shard) {
            Some(paced) => {
                paced.pace.refused(now, sent, &mut meter);
                true
            }
            None if meter.unpaced_refusals_are_noise(now) => false,
            None => {
                let pace = Pace::start(now, &mut meter);
                self.paced.push(Paced { shard, lane: Lane::default(), pace });
                self.stale = true;
                true
            }
        };
        match shard {
            None => self.unknown = meter,
            Some(shard) => *self.meter(shard) = meter,
        }
        paced
    }

    /// Records that may be taken at `now`, as far as a full request is concerned: counted up to `room`.
    pub fn available(&mut self, now: Moment, room: Room, records: &mut Records) -> Room {
        self.settle_places(records);
        self.count_shards();
        let before = self.paced.len();
        for paced in &mut self.paced {
            paced.pace.refill(now);
        }
        let free = &mut self.free;
        self.paced.retain_mut(|paced| {
            let over = paced.pace.is_over(now, paced.lane.is_empty());
            if over {
                for id in paced.lane.drain() {
                    if let Some(record) = records.get(id as usize) {
                        free.push_waited(id, record);
                    }
                }
            }
            !over
        });
        if self.paced.len() != before {
            self.cursor = 0;
        }
        let mut there = Room { records: self.free.len(), bytes: self.free.bytes() };
        for paced in &self.paced {
            if there.records >= room.records || there.bytes >= room.bytes {
                break;
            }
            let count = paced.pace.available(paced.lane.len());
            there.records += count;
            there.bytes += paced.lane.bytes() / paced.lane.len().max(1) * count;
        }
        there
    }

    /// The oldest record of the free lane.
    #[must_use]
    pub fn oldest_free(&self) -> Option<RecordId> {
        self.free.front().map(|(id, _)| id)
    }

    /// Moves the next records into `batch`, as many as `room` has: first of the paced lanes, each as much as its tokens allow, then of
    /// the free one. A record larger than the room goes into an empty batch all the same. `board` is told of each record and of the
    /// bytes that are left; it says how many of them others that go with the record take.
    pub fn take(
        &mut self,
        mut room: Room,
        batch: &mut Vec<RecordId>,
        mut board: impl FnMut(RecordId, usize) -> usize,
    ) {
        let lanes = self.paced.len();
        for step in 0..lanes {
            let paced = &mut self.paced[(self.cursor + step) % lanes];
            let mut count = paced.pace.available(paced.lane.len());
            while count > 0 && Self::fits(&paced.lane, &room, batch) {
                let Some((_, weight)) = paced.lane.front() else { break };
                if !paced.pace.take(weight) {
                    break;
                }
                let left = paced.pace.bytes_left();
                let more =
                    Self::move_one(&mut paced.lane, &mut room, batch, |id, room| board(id, room.min(left)));
                paced.pace.charge(more);
                count -= 1;
            }
        }
        self.cursor = self.cursor.wrapping_add(1);
        while Self::fits(&self.free, &room, batch) {
            Self::move_one(&mut self.free, &mut room, batch, &mut board);
        }
    }

    fn fits(lane: &Lane, room: &Room, batch: &[RecordId]) -> bool {
        match lane.front() {
            None => false,
            Some((_, weight)) => room.records > 0 && (weight <= room.bytes || batch.is_empty()),
        }
    }

    /// Moves the lane's next record; returns the bytes that others take with it.
    fn move_one(
        lane: &mut Lane,
        room: &mut Room,
        batch: &mut Vec<RecordId>,
        mut board: impl FnMut(RecordId, usize) -> usize,
    ) -> usize {
        let Some((id, weight)) = lane.pop() else { return 0 };
        room.records -= 1;
        room.bytes = room.bytes.saturating_sub(weight);
        batch.push(id);
        let more = board(id, room.bytes);
        room.bytes -= more;
        more
    }

    /// When the next paced lane with a backlog has tokens.
    #[must_use]
    pub fn ready_at(&self) -> Option<Moment> {
        self.paced
            .iter()
            .filter(|paced| !paced.lane.is_empty())
            .map(|paced| paced.pace.ready_at(paced.lane.len()))
            .min()
    }
}
