//! Lane: records that may be sent, oldest first.
//! In: records that passed the gate; records whose turn has come, or that come back. Out: the next ones, to `core.rs`, which fills a
//! request.
//! Holds: those that just entered, in that order, before them those that were sent before; and apart those that had to wait for their
//! key, by age: behind a backlog of newcomers a busy key would get one record through for each time that the backlog passes. `bytes` is the sum of queued weights.
//! Never: reads a clock, calls the network, drops a record. For pacing see `throttle.rs`; for key order see `gate.rs`.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use super::record::{Moment, Record, RecordId};

/// A queued record; the older is the smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Queued {
    entered: Moment,
    id: RecordId,
    weight: u32,
}

/// One queue.
#[derive(Debug, Default)]
pub struct Lane {
    queue: VecDeque<Queued>,
    waited: BinaryHeap<Reverse<Queued>>,
    bytes: usize,
}

impl Lane {
    /// Adds a record that is the newest.
    pub fn push(&mut self, id: RecordId, record: &Record) {
        let queued = self.queued(id, record);
        self.queue.push_back(queued);
    }

    /// Adds a record that was sent before: it goes first.
    pub fn push_front(&mut self, id: RecordId, record: &Record) {
        let queued = self.queued(id, record);
        self.queue.push_front(queued);
    }

    /// Adds a record that has waited for its key: it goes before all that are newer.
    pub fn push_waited(&mut self, id: RecordId, record: &Record) {
        let queued = self.queued(id, record);
        self.waited.push(Reverse(queued));
    }

    fn queued(&mut self, id: RecordId, record: &Record) -> Queued {
        let weight = record.weight();
        self.bytes += weight;
        Queued { entered: record.entered, id, weight: weight as u32 }
    }

    /// The oldest record and its weight.
    #[must_use]
    pub fn front(&self) -> Option<(RecordId, usize)> {
        let waited = self.waited.peek().map(|Reverse(queued)| queued);
        let oldest = if self.waited_is_next() { waited } else { self.queue.front() };
        oldest.map(|queued| (queued.id, queued.weight as usize))
    }

    fn waited_is_next(&self) -> bool {
        let Some(Reverse(waited)) = self.waited.peek() else { return false };
        self.queue.front().is_none_or(|newcomer| waited.entered < newcomer.entered)
    }

    /// Takes the oldest record.
    pub fn pop(&mut self) -> Option<(RecordId, usize)> {
        let queued = if self.waited_is_next() {
            self.waited.pop().map(|Reverse(queued)| queued)
        } else {
            self.queue.pop_front()
        }?;
        self.bytes -= queued.weight as usize;
        Some((queued.id, queued.weight as usize))
    }

    /// Takes all records, in any order.
    pub fn drain(&mut self) -> impl Iterator<Item = RecordId> + '_ {
        self.bytes = 0;
        self.queue.drain(..).chain(self.waited.drain().map(|Reverse(queued)| queued)).map(|queued| queued.id)
    }

    /// How many records.
    #[must_use]
    pub fn len(&self) -> usize {
        self.queue.len() + self.waited.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The sum of their weights.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;

    fn record(entered: u64) -> Record {
        let data = Bytes::from_static(b"data");
        Record::new(data, Bytes::from_static(b"key"), None, 0, Duration::from_secs(entered))
    }

    #[test]
    fn those_that_waited_go_by_age_and_those_that_were_sent_before_go_first() {
        let mut lane = Lane::default();
        for entered in [3, 5, 7] {
            lane.push(entered, &record(entered.into()));
        }
        for entered in [6, 1, 9] {
            lane.push_waited(entered, &record(entered.into()));
        }
        lane.push_front(0, &record(0));
        assert_eq!((lane.len(), lane.bytes()), (7, 7 * 7));
        let front = lane.front();
        let order: Vec<_> = std::iter::from_fn(|| lane.pop()).collect();
        assert_eq!(front, order.first().copied());
        assert_eq!(order, [0, 1, 3, 5, 6, 7, 9].map(|id| (id, 7)));
        assert_eq!((lane.len(), lane.bytes(), lane.is_empty()), (0, 0, true));
    }
}
