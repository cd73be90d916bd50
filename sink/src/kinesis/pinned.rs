//! Pinned: records that wait for their key in the memory of the array that they came with.
//! In: how many bytes enter; each record that has to wait. Out: those to be copied out of their array, since much has entered behind them.
//! Holds: a place in line for each record that had to wait, for as long. Most records wait for one round trip: a copy of each would cost
//! more than all else that is done for it, and its neighbours are mostly still there, too.
//! Never: knows whether a record still waits; see `core.rs`.

use std::collections::VecDeque;

use super::limits::PINNED_BYTES_MAX;
use super::record::{Moment, Record, RecordId};

/// Records in the order in which they began to wait.
#[derive(Debug, Default)]
pub struct Pinned {
    entered_bytes: u64,
    waiting: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    /// It is to be copied when so much has entered.
    upto: u64,
    id: RecordId,
    /// Tells it from a later record of the same number.
    entered: Moment,
}

impl Pinned {
    /// A record enters.
    pub fn enters(&mut self, record: &Record) {
        self.entered_bytes += record.held_bytes() as u64;
    }

    /// A record has to wait, or waits with other bytes than before.
    pub fn waits(&mut self, id: RecordId, entered: Moment) {
        self.waiting.push_back(Waiting { upto: self.entered_bytes + PINNED_BYTES_MAX, id, entered });
    }

    /// A record that should not keep its array any longer, if it is still held, and when it entered.
    pub fn overdue(&mut self) -> Option<(RecordId, Moment)> {
        let first = self.waiting.pop_front_if(|first| first.upto <= self.entered_bytes)?;
        Some((first.id, first.entered))
    }
}
