//! Lane: records that may be sent, oldest first.
//! In: records that passed the gate; records that come back. Out: the next ones, to `core.rs`, which fills a request.
//! Holds: arrival order; `bytes` is the sum of queued weights.
//! Never: reads a clock, calls the network, drops a record. For pacing see `throttle.rs`; for key order see `gate.rs`.

use std::collections::VecDeque;

use super::record::RecordId;

/// One queue.
#[derive(Debug, Default)]
pub struct Lane {
    queue: VecDeque<(RecordId, u32)>,
    bytes: usize,
}

impl Lane {
    /// Adds a record that is new here.
    pub fn push(&mut self, id: RecordId, weight: usize) {
        self.bytes += weight;
        self.queue.push_back((id, weight as u32));
    }

    /// Adds a record that has waited before: it goes first.
    pub fn push_front(&mut self, id: RecordId, weight: usize) {
        self.bytes += weight;
        self.queue.push_front((id, weight as u32));
    }

    /// The oldest record and its weight.
    #[must_use]
    pub fn front(&self) -> Option<(RecordId, usize)> {
        self.queue.front().map(|&(id, weight)| (id, weight as usize))
    }

    /// Takes the oldest record.
    pub fn pop(&mut self) -> Option<(RecordId, usize)> {
        let (id, weight) = self.queue.pop_front()?;
        self.bytes -= weight as usize;
        Some((id, weight as usize))
    }

    /// Takes all records, oldest first.
    pub fn drain(&mut self) -> impl Iterator<Item = RecordId> + '_ {
        self.bytes = 0;
        self.queue.drain(..).map(|(id, _)| id)
    }

    /// How many records.
    #[must_use]
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// The sum of their weights.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}
