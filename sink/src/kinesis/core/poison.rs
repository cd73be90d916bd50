//! Poison: a request that the service refused for its content, and the search for the guilty event in it.
//! In: the refused request, later the tests of `trial.rs` and how they went. Out: the next test; the guilty one rejected, the others free.
//! Holds: nothing; a suspect knows of how many it is one, until it is cleared, and goes with suspects only. So however much arrives
//! meanwhile, nobody joins a search, and one guilty event among n costs no more refusals than `trial.rs` says.

use super::super::lanes::Turn;
use super::super::record::{Moment, Record, RecordId};
use super::super::trial::{Finding, Trial};
use super::super::verdict;
use super::reply::MESSAGE_CHARS_MAX;
use super::{Core, Notice, Reason, Sealed, ride};

impl Core {
    pub(super) fn on_poison(&mut self, now: Moment, sealed: Sealed, code: &str, message: &str) {
        let reason = Reason::Refused {
            code: code.to_owned(),
            message: message.chars().take(MESSAGE_CHARS_MAX).collect(),
        };
        let limit = verdict::record_limit_in(message)
            .filter(|limit| sealed.records.iter().any(|id| ride::weight(*id, &self.records) > *limit));
        if let Some(limit) = limit {
            self.learn_record_limit(limit);
        }
        let is_alone = sealed.records.len() + sealed.riders == 1;
        if limit.is_some() && !is_alone && sealed.trial.is_none() {
            let mut ids = sealed.records;
            self.part(&ids);
            // The limit is known now: the ones over it are rejected, the others go again without a wait.
            self.remove_too_large(&mut ids);
            self.queue_first(&ids);
            return;
        }
        self.suspect(&sealed.records);
        self.part(&sealed.records);
        let trial = sealed.trial.unwrap_or_else(|| Trial::of(sealed.records));
        let finding = trial.refused(is_alone, verdict::index_in(message), |leader| self.company(leader));
        if let Some(guilty) = finding.guilty {
            self.reject_refused(guilty, reason);
        }
        self.follow(now, finding);
    }

    pub(super) fn follow(&mut self, now: Moment, finding: Finding) {
        for id in &finding.freed {
            self.clear(*id);
        }
        self.queue_first(&finding.freed);
        if let Some(next) = finding.next {
            if let ([one], []) = (next.test.as_slice(), next.rest.as_slice()) {
                self.halve_company(*one);
            }
            self.trials.push_front((now, next));
        }
    }

    /// Rejects a record that was refused alone.
    fn reject_refused(&mut self, id: RecordId, reason: Reason) {
        if let Some(record) = self.records.get_mut(id as usize) {
            record.attempts += 1;
        }
        self.reject_held(id, reason);
    }

    fn learn_record_limit(&mut self, limit: usize) {
        if limit < self.settings.record_bytes_max {
            self.settings.record_bytes_max = limit;
            self.settings.limit_was_learned = true;
            self.notices.push(Notice::RecordLimit { limit });
        }
    }

    /// The record holds its key now. A suspect goes by itself: in a request with others they would all be suspects again.
    pub(super) fn let_go(&mut self, id: RecordId) {
        match self.records.get(id as usize).and_then(Record::suspects_max) {
            Some(_) => self.trials.push_front((Moment::ZERO, Trial::of(vec![id]))),
            None => self.lanes.push(id, &mut self.records, Turn::ByAge),
        }
    }

    /// The next test of a search, with the suspects that ride along.
    pub(super) fn next_trial(&mut self, now: Moment) -> Option<Trial> {
        let at = self.trials.iter().position(|(from, _)| *from <= now)?;
        let (_, trial) = self.trials.remove(at)?;
        if self.settings.aggregate {
            let weight_max = self.aggregate_bytes_max();
            for leader in &trial.test {
                ride::board(*leader, usize::MAX, weight_max, &mut self.gate, &mut self.records);
            }
        }
        Some(trial)
    }

    /// Someone among the leaders and their riders is guilty, and nobody else.
    fn suspect(&mut self, leaders: &[RecordId]) {
        for leader in leaders {
            self.clear(*leader);
            let company = self.members(*leader) as u16;
            self.each_member(*leader, |record| record.suspect(company));
        }
    }

    /// The leader is no longer suspected, nor are those that wait behind it.
    pub(super) fn clear(&mut self, leader: RecordId) {
        let Some(record) = self.records.get_mut(leader as usize) else { return };
        record.clear();
        if let Some(hash) = record.key_hash().filter(|_| self.settings.aggregate) {
            self.gate.each_waiting(hash, &mut self.records, |record| {
                record.suspects_max().is_some().then(|| record.clear()).is_some()
            });
        }
    }

    /// How many suspects a leader stands for.
    pub(super) fn company(&self, leader: RecordId) -> usize {
        self.records.get(leader as usize).and_then(Record::suspects_max).map_or(1, usize::from)
    }

    /// Someone in the leader's company is guilty: it goes again with half of it, at last alone.
    fn halve_company(&mut self, leader: RecordId) {
        if let Some(record) = self.records.get_mut(leader as usize)
            && let Some(company) = record.suspects_max()
        {
            record.suspect(company.div_ceil(2));
        }
    }
}
