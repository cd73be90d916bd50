//! Reply: what follows from an answer, record by record.
//! In: a sealed request and how it ended. Out: delivered records settled, the others queued again, tried or rejected.
//! One verdict per record, always: a record of the request is settled, queued, delayed, on trial or rejected when this returns.

use std::cmp::Reverse;
use std::time::Duration;

use afluente_pipeline::event::EventStatus;

use super::super::answer::Entry;
use super::super::inflight::Ended;
use super::super::record::{Moment, NO_RECORD, RecordId};
use super::super::shard_map::{Learned, ShardIndex};
use super::super::trial::Trial;
use super::super::verdict::{self, Setback, Trouble};
use super::{Core, Delayed, Notice, Reason, Record, Sealed, ride};

/// Most characters of a service's text that are kept.
pub(super) const MESSAGE_CHARS_MAX: usize = 300;
/// While the service is well, one record's waits stop growing here.
const FAIR_SETBACKS_MAX: u32 = 5;

/// How a request ended.
#[derive(Debug)]
pub enum Reply<'a> {
    /// The service answered: one entry a record, in the request's order.
    Entries(&'a [Entry<'a>]),
    /// The service answered, but not so that it can be told what became of each record.
    Unreadable {
        /// What is wrong with the answer.
        problem: String,
    },
    /// The service refused the request as a whole; nothing of it is stored.
    Refused {
        /// HTTP status.
        status: u16,
        /// The service's code; empty if there was none.
        code: &'a str,
        /// The service's text.
        message: &'a str,
        /// How long the service asks us to wait.
        retry_after: Option<Duration>,
    },
    /// The service refused the request for the time that it was signed at; nothing of it is stored. Signed anew it may go.
    ClockCorrected {
        /// The service's code.
        code: &'a str,
    },
    /// No usable answer came.
    Lost {
        /// The records may be stored.
        may_be_stored: bool,
        /// The class: `Credentials` when there was nothing to sign with, else `Transient`.
        trouble: Trouble,
        /// What happened.
        problem: &'a str,
    },
}

/// What landed on one shard in one answer.
#[derive(Default)]
struct Landed {
    shard: ShardIndex,
    records: u32,
    bytes: u64,
}

impl Core {
    /// The request `sealed` has ended.
    pub fn on_reply(&mut self, now: Moment, sealed: Sealed, reply: Reply<'_>) {
        self.partial_in_flight -= usize::from(sealed.partial);
        match reply {
            Reply::Entries(entries) if entries.len() == sealed.records.len() => {
                self.in_flight.ended(now, sealed.sent, Ended::Well);
                self.service_is_well(sealed.sent);
                self.on_entries(now, &sealed, entries);
                if let Some(trial) = sealed.trial {
                    let finding = trial.taken(|leader| self.company(leader));
                    self.follow(now, finding);
                }
            }
            Reply::Entries(entries) => {
                let problem = format!("{} entries for {} records", entries.len(), sealed.records.len());
                self.on_unreadable(now, sealed, problem);
            }
            Reply::Unreadable { problem } => self.on_unreadable(now, sealed, problem),
            Reply::Refused { status, code, message, retry_after } => {
                let least = retry_after.unwrap_or_default().min(self.settings.backoff.max);
                self.on_refused(now, sealed, status, code, message, least);
            }
            Reply::ClockCorrected { code } => self.on_clock_corrected(now, sealed, code),
            Reply::Lost { may_be_stored, trouble, problem } => {
                self.on_lost(now, sealed, may_be_stored, trouble, problem);
            }
        }
    }

    fn service_is_well(&mut self, sent: Moment) {
        if self.weather.cleared(sent) {
            self.in_flight.outage_ended(sent);
            self.notices.push(Notice::StormEnded);
            // What waited for better weather need not wait on.
            while let Some(Reverse(delayed)) = self.delayed.pop() {
                self.queue_first(&delayed.records);
            }
        }
    }

    fn on_entries(&mut self, now: Moment, sealed: &Sealed, entries: &[Entry<'_>]) {
        let mut landed: Vec<Landed> = Vec::new();
        let (mut stored, mut again) = (Vec::with_capacity(entries.len()), Vec::new());
        // Passes of their own, so that what lies far apart is fetched side by side: the records, their keys, and those whose turn it is now.
        let weights: Vec<_> = sealed.records.iter().map(|id| ride::weight(*id, &self.records)).collect();
        for ((id, weight), entry) in sealed.records.iter().zip(weights).zip(entries) {
            match entry {
                Entry::Stored { shard, sequence } => {
                    if let Some(shard) = self.lanes.map_mut().shard(shard) {
                        let at =
                            landed.iter().position(|landed| landed.shard == shard).unwrap_or_else(|| {
                                landed.push(Landed { shard, ..Landed::default() });
                                landed.len() - 1
                            });
                        landed[at].records += 1;
                        landed[at].bytes += weight as u64;
                        self.learn(now, sealed.sent, *id, shard);
                    }
                    stored.push((*id, &**sequence));
                }
                Entry::Failed { code, message } => again.push((*id, code, message)),
            }
        }
        self.release_keys(&stored);
        for (id, _) in stored {
            self.deliver(now, id);
        }
        for Landed { shard, records, bytes } in landed {
            self.lanes.stored(now, shard, records, bytes);
        }
        let mut delayed = Vec::new();
        let mut first = Vec::new();
        for (id, code, message) in again {
            let members = self.members(id);
            self.part(&[id]);
            // A request that was taken has no guilty record.
            self.clear(id);
            self.count_code(code, members);
            match verdict::setback(code) {
                Setback::Throttled => {
                    self.stats.throttled += members;
                    if self.give_up(id, code) {
                        continue;
                    }
                    let named = verdict::shard_in(message).and_then(|name| self.lanes.map_mut().shard(name));
                    if let Some(shard) = named {
                        // Its records must wait in the lane of the shard that refuses them.
                        self.place(now, sealed.sent, id, shard);
                    }
                    let key =
                        self.records.get(id as usize).map(|record| record.key.clone()).unwrap_or_default();
                    let paced = self.lanes.refused(now, sealed.sent, named, &key, 1);
                    if paced { first.push(id) } else { delayed.push(id) }
                }
                Setback::Transient => {
                    self.stats.failed += members;
                    if !self.give_up(id, code) {
                        delayed.push(id);
                    }
                }
            }
        }
        self.queue_first(&first);
        self.delay(now, delayed);
    }

    fn learn(&mut self, now: Moment, sent: Moment, id: RecordId, shard: ShardIndex) {
        if self.lanes.wants_to_learn() {
            self.place(now, sent, id, shard);
        }
    }

    fn place(&mut self, now: Moment, sent: Moment, id: RecordId, shard: ShardIndex) {
        let Some(record) = self.records.get(id as usize) else { return };
        if self.lanes.landed(&record.key, shard, sent, now) == Learned::Auto {
            self.notices.push(Notice::AutoDistribution);
        }
    }

    /// The records are stored; the next one of each key may go.
    fn release_keys(&mut self, stored: &[(RecordId, &str)]) {
        let mut turns = Vec::new();
        for (id, sequence) in stored {
            let hash = self.records.get(*id as usize).and_then(Record::key_hash);
            turns.extend(self.leave_gate(hash, Some(sequence)));
        }
        for id in turns {
            self.let_go(id);
        }
    }

    /// The record is stored and its key released: it is settled, and so are those that rode with it.
    fn deliver(&mut self, now: Moment, id: RecordId) {
        let record = self.records.remove(id as usize);
        let mut rider = record.next;
        self.settle_delivered(now, record);
        if rider == NO_RECORD {
            return;
        }
        self.stats.aggregates += 1;
        self.stats.aggregated += 1;
        while rider != NO_RECORD {
            let record = self.records.remove(rider as usize);
            rider = record.next;
            self.stats.aggregated += 1;
            self.settle_delivered(now, record);
        }
    }

    fn settle_delivered(&mut self, now: Moment, record: Record) {
        self.arrived_after(now.saturating_sub(self.fates.ingested(record.fate).unwrap_or(now)));
        self.stats.delivered += record.events();
        self.stats.stored += 1;
        self.stats.delivered_bytes += record.weight() as u64;
        self.stats.possible_duplicates += u64::from(record.may_be_stored);
        self.held_bytes -= record.held_bytes();
        self.settle_fates(&record, EventStatus::Delivered);
    }

    /// Neighbours of an array mostly arrive together: they are counted as one.
    fn arrived_after(&mut self, latency: Moment) {
        match self.latencies.last_mut() {
            Some((last, records)) if *last == latency => *records += 1,
            _ => self.latencies.push((latency, 1)),
        }
    }

    /// Whether the record has failed as often as the user allows; it is rejected then, and so are those behind it that rode
    /// with it as often.
    fn give_up(&mut self, id: RecordId, code: &str) -> bool {
        let Some(max) = self.settings.attempts_max else { return false };
        let mut at = id;
        while let Some(attempts) = self.records.get(at as usize).map(|record| record.attempts)
            && attempts >= max
        {
            let Some(next) = self.take_out(at, Reason::GaveUp { attempts, code: code.to_owned() }) else {
                return true;
            };
            at = next;
        }
        if at != id {
            self.let_go(at);
        }
        at != id
    }

    /// Lets single records wait out a backoff, each its own.
    fn delay(&mut self, now: Moment, ids: Vec<RecordId>) {
        for id in ids {
            let Some(record) = self.records.get_mut(id as usize) else { continue };
            record.setbacks += 1;
            record.detach();
            let wait = self.settings.backoff.wait(record.setbacks.min(FAIR_SETBACKS_MAX), &mut self.rng);
            self.delayed.push(Reverse(Delayed { until: now + wait, records: vec![id] }));
        }
    }

    fn on_refused(
        &mut self,
        now: Moment,
        sealed: Sealed,
        status: u16,
        code: &str,
        message: &str,
        least: Duration,
    ) {
        self.stats.failed_requests += 1;
        let members = sealed.records.len() + sealed.riders;
        // Something on the way said this, not the service: the service may have got the request.
        if matches!(status, 502 | 504) {
            self.mark_may_be_stored(&sealed.records);
        }
        match code {
            "" => self.count_code(&format!("http_{status}"), members as u64),
            code => self.count_code(code, members as u64),
        }
        let mut trouble = verdict::trouble(status, code, message);
        let splittable = members > 1;
        // Beyond 5 MiB an `InvalidArgumentException` most likely means the request's size.
        if code == "InvalidArgumentException"
            && sealed.weight > super::super::limits::REQUEST_BYTES_DEFAULT
            && splittable
        {
            trouble = Trouble::TooLarge;
        }
        match trouble {
            Trouble::Poison | Trouble::TooLarge => {
                self.in_flight.ended(now, sealed.sent, Ended::Neutral);
                self.service_is_well(sealed.sent);
                self.forgive(&sealed.records);
                // A test that is too large is halved like any other that is refused.
                if trouble == Trouble::TooLarge && splittable && sealed.trial.is_none() {
                    self.halve_request_limit(&sealed);
                    self.part(&sealed.records);
                    self.put_back(now, sealed, least);
                } else {
                    self.on_poison(now, sealed, code, message);
                }
            }
            Trouble::Throttled | Trouble::Transient | Trouble::Credentials | Trouble::Pause => {
                let ended = if trouble.stops_everything() { Ended::Neutral } else { Ended::PushedBack };
                self.in_flight.ended(now, sealed.sent, ended);
                let code = if code.is_empty() { format!("HTTP status {status}") } else { code.to_owned() };
                self.on_trouble(now, sealed, trouble, &code, message, least);
            }
        }
    }

    /// No trouble of the service's and no failure of a record's.
    fn on_clock_corrected(&mut self, now: Moment, sealed: Sealed, code: &str) {
        self.stats.failed_requests += 1;
        self.count_code(code, (sealed.records.len() + sealed.riders) as u64);
        self.in_flight.ended(now, sealed.sent, Ended::Neutral);
        self.forgive(&sealed.records);
        self.part(&sealed.records);
        self.put_back(now, sealed, Duration::ZERO);
    }

    fn on_lost(&mut self, now: Moment, sealed: Sealed, may_be_stored: bool, trouble: Trouble, problem: &str) {
        self.stats.failed_requests += 1;
        let members = sealed.records.len() + sealed.riders;
        self.count_code(if may_be_stored { "no_answer" } else { "not_sent" }, members as u64);
        let ended = if trouble.stops_everything() { Ended::Neutral } else { Ended::PushedBack };
        self.in_flight.ended(now, sealed.sent, ended);
        if may_be_stored {
            self.mark_may_be_stored(&sealed.records);
        }
        self.on_trouble(now, sealed, trouble, problem, "", Duration::ZERO);
    }

    fn on_unreadable(&mut self, now: Moment, sealed: Sealed, problem: String) {
        self.on_lost(now, sealed, true, Trouble::Transient, &problem);
        self.notices.push(Notice::BadAnswer { problem });
    }

    fn mark_may_be_stored(&mut self, ids: &[RecordId]) {
        for id in ids {
            self.each_member(*id, |record| record.may_be_stored = true);
        }
    }

    /// `least`: the shortest wait, because the service asked for it.
    fn on_trouble(
        &mut self,
        now: Moment,
        sealed: Sealed,
        trouble: Trouble,
        code: &str,
        message: &str,
        least: Duration,
    ) {
        self.part(&sealed.records);
        let backoff =
            if trouble == Trouble::Pause { self.settings.pause_backoff } else { self.settings.backoff };
        if self.weather.failed(now, sealed.sent, trouble, least, &backoff, &mut self.rng) {
            let message = message.chars().take(MESSAGE_CHARS_MAX).collect();
            self.notices.push(Notice::StormBegan { trouble, code: code.to_owned(), message });
        }
        let records = match self.settings.attempts_max {
            None => sealed.records,
            Some(_) => self.those_not_given_up(&sealed.records, code),
        };
        self.put_back(now, Sealed { records, ..sealed }, least);
    }

    fn those_not_given_up(&mut self, ids: &[RecordId], code: &str) -> Vec<RecordId> {
        ids.iter().copied().filter(|id| !self.give_up(*id, code)).collect()
    }

    /// Queues the records of a request that failed as a whole again: at once in a storm, which holds everything back by itself, else
    /// after one wait for all of them.
    fn put_back(&mut self, now: Moment, sealed: Sealed, least: Duration) {
        let storm = !self.weather.is_fair();
        let mut setbacks = 1;
        for id in &sealed.records {
            if let Some(record) = self.records.get_mut(*id as usize) {
                record.setbacks += 1;
                setbacks = setbacks.max(record.setbacks);
            }
        }
        let wait = least + self.settings.backoff.wait(setbacks.min(FAIR_SETBACKS_MAX), &mut self.rng);
        match sealed.trial {
            Some(trial) if sealed.records.is_empty() => {
                let finding = trial.taken(|leader| self.company(leader));
                self.follow(now, finding);
            }
            Some(trial) => {
                let from = if storm { now } else { now + wait };
                self.trials.push_back((from, Trial { test: sealed.records, ..trial }));
            }
            None if storm => self.queue_first(&sealed.records),
            None if sealed.records.is_empty() => {}
            None => self.delayed.push(Reverse(Delayed { until: now + wait, records: sealed.records })),
        }
    }

    /// A request that weighs more than the limit was sealed before that was lowered, and says nothing new.
    fn halve_request_limit(&mut self, sealed: &Sealed) {
        let limit = (sealed.weight / 2).max(1);
        if sealed.weight <= self.settings.request_bytes_max && limit < self.settings.request_bytes_max {
            self.settings.request_bytes_max = limit;
            self.notices.push(Notice::RequestLimit { limit });
        }
    }

    /// Takes back an attempt that failed for its request's sake: `retry_attempts` is about a record's own failures.
    fn forgive(&mut self, ids: &[RecordId]) {
        for id in ids {
            self.each_member(*id, |record| record.attempts = record.attempts.saturating_sub(1));
        }
    }
}
