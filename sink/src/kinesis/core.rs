//! Core: the sink without its I/O. It knows every held record and says what to send next.
//! In: records, answers, the time. Out: sealed requests, settled fates, rejections, notices; when to look again.
//! Holds: `gate → lanes → request → verdict → settle`, each in its own file; this one is the arrows between them.
//! Never: touches a socket, a clock or a metric, so that tests play whole outages in microseconds.

mod notice;
mod poison;
mod reply;
mod ride;
mod settings;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use afluente_pipeline::event::{EventFinalizers, EventStatus};
use bytes::Bytes;
use rand::SeedableRng;
use rand::rngs::SmallRng;

pub use self::notice::{Notice, Reason, Rejection, Stats};
pub use self::reply::Reply;
pub use self::settings::CoreSettings;
use super::fate::Fates;
use super::gate::{Admission, Gate};
use super::inflight::InFlight;
use super::lanes::{Lanes, Room, Turn};
use super::limits::{AGGREGATE_BYTES_MAX, PARTIAL_REQUESTS_MAX};
use super::pinned::Pinned;
use super::record::{FateId, Moment, NO_RECORD, Record, RecordId, Records};
use super::shard_list::ListedShard;
use super::trial::Trial;
use super::weather::Weather;

/// Most distinct codes that are counted apart.
const CODES_MAX: usize = 48;

/// A request, closed to more records.
#[derive(Debug)]
pub struct Sealed {
    /// Its records, in the order in which they stand in the request; of an aggregate, the first.
    pub records: Vec<RecordId>,
    /// User records that ride with them, in aggregates.
    riders: usize,
    /// What the service counts for all of them, in bytes.
    pub weight: usize,
    /// When it was sealed.
    pub sent: Moment,
    /// It could have held more.
    partial: bool,
    /// The search that it is a part of.
    trial: Option<Trial>,
}

/// Records that wait out a backoff.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Delayed {
    until: Moment,
    records: Vec<RecordId>,
}

/// See the head of this file.
#[derive(Debug)]
pub struct Core {
    settings: CoreSettings,
    records: Records,
    fates: Fates,
    gate: Gate,
    pinned: Pinned,
    lanes: Lanes,
    delayed: BinaryHeap<Reverse<Delayed>>,
    trials: VecDeque<(Moment, Trial)>,
    in_flight: InFlight,
    partial_in_flight: usize,
    weather: Weather,
    rng: SmallRng,
    held_bytes: usize,
    rejections: Vec<Rejection>,
    rejected_unsettled: usize,
    /// Events that a newer one of their key, still held, stands for.
    absorbed: usize,
    notices: Vec<Notice>,
    codes: Vec<(Box<str>, u64)>,
    latencies: Vec<(Moment, u64)>,
    stats: Stats,
}

impl Core {
    /// A core that holds nothing yet.
    #[must_use]
    pub fn new(settings: CoreSettings, in_flight: InFlight) -> Self {
        Self {
            rng: SmallRng::seed_from_u64(settings.seed),
            settings,
            records: Records::new(),
            fates: Fates::default(),
            gate: Gate::default(),
            pinned: Pinned::default(),
            lanes: Lanes::default(),
            delayed: BinaryHeap::new(),
            trials: VecDeque::new(),
            in_flight,
            partial_in_flight: 0,
            weather: Weather::default(),
            held_bytes: 0,
            rejections: Vec::new(),
            rejected_unsettled: 0,
            absorbed: 0,
            notices: Vec::new(),
            codes: Vec::new(),
            latencies: Vec::new(),
            stats: Stats::default(),
        }
    }

    /// A fate for the records of events with these finalizers, which their source took in at `ingested`.
    pub fn open_fate(&mut self, finalizers: EventFinalizers, ingested: Moment) -> FateId {
        self.fates.open(finalizers, ingested)
    }

    /// Whether events with these finalizers share the fate.
    #[must_use]
    pub fn shares_fate(&self, fate: FateId, finalizers: &EventFinalizers) -> bool {
        self.fates.is_shared_by(fate, finalizers)
    }

    /// All records of the fate have entered.
    pub fn close_fate(&mut self, fate: FateId) {
        self.fates.close_if_unused(fate);
        self.unpin();
    }

    /// A record enters.
    pub fn accept(&mut self, record: Record) {
        self.stats.received += 1;
        self.fates.join(record.fate);
        self.pinned.enters(&record);
        if let Some(reason) = self.too_large(&record) {
            self.held_bytes += record.held_bytes();
            self.reject(record, reason);
            return;
        }
        let hash = record.key_hash().filter(|_| self.settings.ordered);
        if let Some(hash) = hash
            && self.settings.conflate
            && let Some(waiting) = self.gate.newest_waiting(hash)
            && let Some(older) = self.records.get_mut(waiting as usize)
            && older.key == record.key
        {
            // A profile export is a full state: the newest stands for those that wait behind the same key.
            self.held_bytes -= older.held_bytes();
            older.absorb(record);
            self.pinned.waits(waiting, older.entered);
            self.held_bytes += older.held_bytes();
            self.absorbed += 1;
            self.stats.conflated += 1;
            return;
        }
        self.held_bytes += record.held_bytes();
        let entered = record.entered;
        let id = self.records.insert(record) as RecordId;
        match hash.map(|hash| self.gate.enter(hash, id, &mut self.records)) {
            None | Some(Admission::Go) => self.lanes.push(id, &mut self.records, Turn::Newest),
            Some(Admission::Wait) => self.pinned.waits(id, entered),
        }
    }

    /// Copies what has waited long out of its array. Once an array, so that the records, which lie far apart, are fetched side by side.
    fn unpin(&mut self) {
        while let Some((id, entered)) = self.pinned.overdue() {
            if let Some(record) = self.records.get_mut(id as usize).filter(|record| record.entered == entered)
            {
                record.detach();
            }
        }
    }

    /// The service's own list of the stream's open shards.
    pub fn shards_listed(&mut self, now: Moment, shards: &[ListedShard]) {
        self.lanes.listed(now, shards);
    }

    /// A record that never was one (no key, too long a key): it is only counted, told and settled.
    pub fn refuse(&mut self, record: Record, reason: Reason) {
        self.stats.received += 1;
        self.fates.join(record.fate);
        self.held_bytes += record.held_bytes();
        self.reject(record, reason);
    }

    fn too_large(&self, record: &Record) -> Option<Reason> {
        let (weight, limit) = (record.weight(), self.settings.record_bytes_max);
        (weight > limit).then_some(Reason::TooLarge { weight, limit })
    }

    /// The next request, if one may go now.
    pub fn next_request(&mut self, now: Moment) -> Option<Sealed> {
        self.release_delayed(now);
        if !self.weather.may_send(now, self.in_flight.last_sent()) || !self.has_room() {
            return None;
        }
        if let Some(trial) = self.next_trial(now) {
            return Some(self.seal(now, trial.test.clone(), false, Some(trial)));
        }
        loop {
            let room =
                Room { records: self.settings.request_records_max, bytes: self.settings.request_bytes_max };
            let there = self.lanes.available(now, room, &mut self.records);
            if there.records == 0 {
                return None;
            }
            let full = there.records >= room.records || there.bytes >= room.bytes;
            if !full && !self.partial_may_go(now) {
                return None;
            }
            let mut batch = Vec::with_capacity(there.records.min(room.records));
            let (aggregate, weight_max) = (self.settings.aggregate, self.aggregate_bytes_max());
            self.lanes.take(room, &mut batch, |leader, room| match aggregate {
                true => ride::board(leader, room, weight_max, &mut self.gate, &mut self.records),
                false => 0,
            });
            self.remove_too_large(&mut batch);
            if !batch.is_empty() {
                return Some(self.seal(now, batch, !full, None));
            }
        }
    }

    fn aggregate_bytes_max(&self) -> usize {
        self.settings.record_bytes_max.min(AGGREGATE_BYTES_MAX)
    }

    fn partial_may_go(&self, now: Moment) -> bool {
        self.partial_has_room() && self.linger_ends().is_none_or(|end| end <= now)
    }

    fn partial_has_room(&self) -> bool {
        // One that has to wait for its slot anyway fills up meanwhile. A probe goes as it is.
        !self.weather.is_fair()
            || (self.in_flight.has_slot() && self.partial_in_flight < PARTIAL_REQUESTS_MAX)
    }

    fn has_room(&self) -> bool {
        if self.weather.is_fair() { self.in_flight.has_room() } else { self.in_flight.may_probe() }
    }

    /// When the oldest record has lingered long enough, if the user wants fuller requests.
    fn linger_ends(&self) -> Option<Moment> {
        let linger = self.settings.linger?;
        let oldest = self.lanes.oldest_free()?;
        self.records.get(oldest as usize).map(|record| record.entered + linger)
    }

    /// Stops lingering: the input has ended.
    pub fn drain(&mut self) {
        self.settings.linger = None;
    }

    /// The stream's limit may have been learned after these records were queued.
    fn remove_too_large(&mut self, batch: &mut Vec<RecordId>) {
        let limit = self.settings.record_bytes_max;
        let is_over = |records: &Records, id: RecordId| {
            records.get(id as usize).is_some_and(|record| record.weight() > limit)
        };
        if !self.settings.limit_was_learned || !batch.iter().any(|id| is_over(&self.records, *id)) {
            return;
        }
        let (over, fine) = batch.drain(..).partition(|id| is_over(&self.records, *id));
        *batch = fine;
        for id in over as Vec<RecordId> {
            if let Some(record) = self.records.get(id as usize) {
                let reason = Reason::TooLarge { weight: record.weight(), limit };
                self.reject_held(id, reason);
            }
        }
    }

    fn seal(&mut self, now: Moment, batch: Vec<RecordId>, partial: bool, trial: Option<Trial>) -> Sealed {
        // A pass of its own, so that the records, which lie far apart, are fetched side by side.
        let weight = batch.iter().map(|id| ride::weight(*id, &self.records)).sum();
        let (mut members, mut retried) = (0, 0);
        for id in &batch {
            self.each_member(*id, |record| {
                members += 1;
                retried += u64::from(record.attempts > 0);
                record.sent(now);
            });
        }
        self.stats.requests += 1;
        self.stats.retried += retried;
        self.stats.attempts += members as u64;
        self.partial_in_flight += usize::from(partial);
        self.in_flight.sent(now);
        let riders = members - batch.len();
        Sealed { records: batch, riders, weight, sent: now, partial, trial }
    }

    fn release_delayed(&mut self, now: Moment) {
        while self.delayed.peek().is_some_and(|Reverse(delayed)| delayed.until <= now) {
            let Some(Reverse(delayed)) = self.delayed.pop() else { break };
            self.queue_first(&delayed.records);
        }
    }

    /// Puts records back in front of their lanes, in this order.
    fn queue_first(&mut self, ids: &[RecordId]) {
        for id in ids.iter().rev() {
            self.lanes.push(*id, &mut self.records, Turn::First);
        }
    }

    /// The data and key of a record of a sealed request.
    #[must_use]
    pub fn record(&self, id: RecordId) -> Option<&Record> {
        self.records.get(id as usize)
    }

    /// When `next_request` may have something although nothing else happens.
    #[must_use]
    pub fn wake_at(&self) -> Option<Moment> {
        let delayed = self.delayed.peek().map(|Reverse(delayed)| delayed.until);
        // Without a free slot only the end of a request changes anything, and that wakes the sink by itself.
        let slot = self.has_room();
        let trial = self.trials.iter().map(|(from, _)| *from).min().filter(|_| slot);
        let partial = self.partial_has_room();
        let lanes = self.linger_ends().or_else(|| self.lanes.ready_at()).filter(|_| partial);
        let ready = [delayed, trial, lanes].into_iter().flatten().min();
        match self.weather.probe_at() {
            // In a storm nothing goes before the probe, and the next one only when it has failed or hangs.
            Some(until) if slot && self.has_unsent() => {
                let probe = Weather::next_probe(until, self.in_flight.last_sent());
                // What is free has waited long enough, unless the user wants company for it.
                let free = self.lanes.oldest_free().map(|_| self.linger_ends().unwrap_or(probe));
                [free, ready].into_iter().flatten().min().map(|from| from.max(probe))
            }
            Some(_) => delayed,
            _ => ready,
        }
    }

    fn has_unsent(&self) -> bool {
        self.lanes.len() > 0 || !self.trials.is_empty() || !self.delayed.is_empty()
    }

    fn reject(&mut self, record: Record, reason: Reason) {
        self.rejected_unsettled += 1;
        self.rejections.push(Rejection { record, reason });
    }

    /// Takes a held record out and lets the next one of its key go.
    fn reject_held(&mut self, id: RecordId, reason: Reason) {
        if let Some(next) = self.take_out(id, reason) {
            self.let_go(next);
        }
    }

    /// Takes a held record out; returns the next one of its key, which holds the key now.
    fn take_out(&mut self, id: RecordId, reason: Reason) -> Option<RecordId> {
        let record = self.records.remove(id as usize);
        debug_assert_eq!(record.next, NO_RECORD, "nobody rides with a rejected record");
        let next = self.leave_gate(record.key_hash(), None);
        self.reject(record, reason);
        next
    }

    /// The record that held this key is settled; returns the next one, which holds it now.
    fn leave_gate(&mut self, hash: Option<u64>, sequence: Option<&str>) -> Option<RecordId> {
        let hash = hash.filter(|_| self.settings.ordered)?;
        let (next, fell) = self.gate.leave(hash, sequence, &mut self.records);
        self.stats.order_violations += u64::from(fell);
        next
    }

    /// Takes the records that were rejected since the last call. Each must come back through `settle_rejected`.
    pub fn take_rejections(&mut self) -> Vec<Rejection> {
        std::mem::take(&mut self.rejections)
    }

    /// A rejected record has been told, and kept if it should be: its fate is `status`.
    pub fn settle_rejected(&mut self, rejection: &Rejection, status: EventStatus) {
        let record = &rejection.record;
        self.rejected_unsettled -= 1;
        self.held_bytes -= record.held_bytes();
        self.settle_fates(record, status);
    }

    fn settle_fates(&mut self, record: &Record, status: EventStatus) {
        self.absorbed -= record.absorbed().len();
        for fate in record.absorbed().iter().chain([&record.fate]) {
            self.fates.settle(*fate, status);
        }
    }

    /// Takes how long delivered records had been on their way since their source took them in, and how many so.
    pub fn take_latencies(&mut self) -> std::vec::Drain<'_, (Moment, u64)> {
        self.latencies.drain(..)
    }

    /// Takes what a user should read.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    /// Counts `records` attempts that ended with `code`. The service could say anything: beyond a bound it is `other`.
    fn count_code(&mut self, code: &str, records: u64) {
        let known = self.codes.iter().position(|(known, _)| **known == *code);
        let at = known.or_else(|| {
            let code = if self.codes.len() < CODES_MAX { code } else { "other" };
            self.codes.iter().position(|(known, _)| **known == *code).or_else(|| {
                self.codes.push((code.into(), 0));
                Some(self.codes.len() - 1)
            })
        });
        if let Some(at) = at {
            self.codes[at].1 += records;
        }
    }

    /// How often records failed, by the service's code, since the start. At most a few dozen codes.
    #[must_use]
    pub fn failures_by_code(&self) -> &[(Box<str>, u64)] {
        &self.codes
    }

    /// Most bytes in a request, as far as is known now.
    #[must_use]
    pub fn request_bytes_max(&self) -> usize {
        self.settings.request_bytes_max
    }

    /// Bytes held, with the bookkeeping: queued, in flight, waiting, rejected and not yet settled.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Records held, and those that a newer one of them stands for.
    #[must_use]
    pub fn held_records(&self) -> usize {
        self.records.len() + self.rejected_unsettled + self.absorbed
    }

    /// Whether nothing is held.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.held_records() == 0
    }

    /// When the oldest held record entered. Looks at all of them: not for every turn.
    #[must_use]
    pub fn oldest_entered(&self) -> Option<Moment> {
        self.records.iter().map(|(_, record)| record.entered).min()
    }

    /// Sums since the start.
    #[must_use]
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Requests in flight, and how many there may be.
    #[must_use]
    pub fn in_flight(&self) -> (usize, usize) {
        (self.in_flight.sent_now(), self.in_flight.limit())
    }

    /// Keys with something unresolved, and records that wait behind them.
    #[must_use]
    pub fn gate_load(&self) -> (usize, usize) {
        (self.gate.keys(), self.gate.waiting())
    }

    /// What is known of the stream's shards.
    #[must_use]
    pub fn lanes(&self) -> &Lanes {
        &self.lanes
    }
}

/// A record for tests and tools: data, key and the fate that hears of it.
impl Record {
    /// A record with an ordered key.
    #[must_use]
    pub fn keyed(data: Bytes, key: Bytes, key_hash: u64, fate: FateId, entered: Moment) -> Self {
        Self::new(data, key, Some(key_hash), fate, entered)
    }
}
