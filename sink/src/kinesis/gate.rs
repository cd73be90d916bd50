//! Gate: may this key go now?
//! In: records, in the order they entered. Out: the one record of each key that may be sent; the next when it is settled.
//! Holds: a key's state only while something of that key is unresolved; waiting records are linked through the slab.
//! Never: reads a clock, sends, drops a record.
//!
//! `PutRecords` promises no order, not even inside one request, so this is the only way to keep it: at most one
//! unresolved request holds a key, and it holds it once. Keys are told apart by a 64-bit hash seeded at start; two keys
//! with one hash wait for each other, which costs a little time and never their order.
//!
//! With aggregation, records that wait may board: they go in the holder's own Kinesis record, and alight again if it fails.

use hashbrown::HashTable;

use super::record::{NO_RECORD, Record, RecordId, Records};

#[derive(Debug)]
struct Key {
    hash: u64,
    first: RecordId,
    last: RecordId,
    last_sequence: Option<Box<str>>,
}

/// What the gate says of a record that enters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It may be sent.
    Go,
    /// An older record of its key is unresolved; it waits here.
    Wait,
}

/// The keys with something unresolved.
#[derive(Debug, Default)]
pub struct Gate {
    keys: HashTable<Key>,
    waiting: usize,
}

impl Gate {
    /// A record of the key `hash` enters.
    pub fn enter(&mut self, hash: u64, id: RecordId, records: &mut Records) -> Admission {
        use hashbrown::hash_table::Entry;
        match self.keys.entry(hash, |key| key.hash == hash, |key| key.hash) {
            Entry::Vacant(vacant) => {
                vacant.insert(Key { hash, first: NO_RECORD, last: NO_RECORD, last_sequence: None });
                Admission::Go
            }
            Entry::Occupied(mut occupied) => {
                let key = occupied.get_mut();
                if key.first == NO_RECORD {
                    key.first = id;
                } else if let Some(last) = records.get_mut(key.last as usize) {
                    last.next = id;
                }
                key.last = id;
                self.waiting += 1;
                Admission::Wait
            }
        }
    }

    /// The newest record that waits for the key `hash`.
    #[must_use]
    pub fn newest_waiting(&self, hash: u64) -> Option<RecordId> {
        let key = self.keys.find(hash, |key| key.hash == hash)?;
        (key.last != NO_RECORD).then_some(key.last)
    }

    /// Records go from the front of the key's queue behind its holder `leader`, in order, as long as each `fits`.
    pub fn board(
        &mut self,
        hash: u64,
        leader: RecordId,
        records: &mut Records,
        mut fits: impl FnMut(&Record) -> bool,
    ) {
        let Some(key) = self.keys.find_mut(hash, |key| key.hash == hash) else { return };
        let mut last = leader;
        while let Some(rider) = records.get_mut(key.first as usize)
            && fits(rider)
        {
            let id = std::mem::replace(&mut key.first, std::mem::replace(&mut rider.next, NO_RECORD));
            if let Some(before) = records.get_mut(last as usize) {
                before.next = id;
            }
            last = id;
            self.waiting -= 1;
        }
        if key.first == NO_RECORD {
            key.last = NO_RECORD;
        }
    }

    /// Those that went behind `leader` wait in front of the key's queue again.
    pub fn alight(&mut self, hash: u64, leader: RecordId, records: &mut Records) {
        let Some(key) = self.keys.find_mut(hash, |key| key.hash == hash) else { return };
        let Some(holder) = records.get_mut(leader as usize) else { return };
        let first = std::mem::replace(&mut holder.next, NO_RECORD);
        let mut last = first;
        while let Some(rider) = records.get_mut(last as usize) {
            self.waiting += 1;
            if rider.next == NO_RECORD {
                rider.next = std::mem::replace(&mut key.first, first);
                break;
            }
            last = rider.next;
        }
        if key.last == NO_RECORD {
            key.last = last;
        }
    }

    /// Changes the records that wait for the key, from the front on, as long as `change` says so.
    pub fn each_waiting(
        &self,
        hash: u64,
        records: &mut Records,
        mut change: impl FnMut(&mut Record) -> bool,
    ) {
        let mut at = self.keys.find(hash, |key| key.hash == hash).map_or(NO_RECORD, |key| key.first);
        while let Some(record) = records.get_mut(at as usize)
            && change(record)
        {
            at = record.next;
        }
    }

    /// The record that held the key `hash` is settled; the next one of the key may go. `sequence` is where the
    /// settled one landed.
    ///
    /// Returns the next record, and whether its predecessor landed before the predecessor's own predecessor:
    /// the free check of promise 3.
    pub fn leave(
        &mut self,
        hash: u64,
        sequence: Option<&str>,
        records: &mut Records,
    ) -> (Option<RecordId>, bool) {
        let Ok(mut occupied) = self.keys.find_entry(hash, |key| key.hash == hash) else {
            debug_assert!(false, "a key left the gate that had not entered");
            return (None, false);
        };
        let key = occupied.get_mut();
        let fell = match (&key.last_sequence, sequence) {
            (Some(last), Some(now)) => sequence_precedes(now, last),
            _ => false,
        };
        if key.first == NO_RECORD {
            occupied.remove();
            return (None, fell);
        }
        let id = key.first;
        let next = records
            .get_mut(id as usize)
            .map_or(NO_RECORD, |record| std::mem::replace(&mut record.next, NO_RECORD));
        key.first = next;
        if next == NO_RECORD {
            key.last = NO_RECORD;
        }
        if let Some(sequence) = sequence {
            key.last_sequence = Some(sequence.into());
        }
        self.waiting -= 1;
        (Some(id), fell)
    }

    /// Records that wait for their key.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Keys with something unresolved.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.keys.len()
    }
}

/// Whether sequence number `a` is smaller than `b`: decimal numbers without leading zeros, of any length.
fn sequence_precedes(a: &str, b: &str) -> bool {
    (a.len(), a) < (b.len(), b)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use std::time::Duration;

    use super::*;

    fn record(records: &mut Records) -> RecordId {
        records.insert(Record::new(Bytes::new(), Bytes::new(), Some(1), 0, Duration::ZERO)) as RecordId
    }

    #[test]
    fn one_record_of_a_key_goes_and_the_others_follow_in_order() {
        let (mut gate, mut records) = (Gate::default(), Records::new());
        let ids: Vec<_> = (0..4).map(|_| record(&mut records)).collect();
        assert_eq!(gate.enter(1, ids[0], &mut records), Admission::Go);
        assert_eq!(gate.enter(1, ids[1], &mut records), Admission::Wait);
        assert_eq!(gate.enter(2, ids[2], &mut records), Admission::Go);
        assert_eq!(gate.enter(1, ids[3], &mut records), Admission::Wait);
        assert_eq!((gate.keys(), gate.waiting()), (2, 2));
        assert_eq!(gate.leave(1, None, &mut records), (Some(ids[1]), false));
        assert_eq!(gate.leave(1, None, &mut records), (Some(ids[3]), false));
        assert_eq!(gate.leave(1, None, &mut records), (None, false));
        assert_eq!(gate.leave(2, None, &mut records), (None, false));
        assert_eq!((gate.keys(), gate.waiting()), (0, 0));
    }

    #[test]
    fn riders_board_in_order_and_alight_in_front_of_those_that_came_later() {
        let (mut gate, mut records) = (Gate::default(), Records::new());
        let ids: Vec<_> = (0..6).map(|_| record(&mut records)).collect();
        for id in &ids[..4] {
            gate.enter(1, *id, &mut records);
        }
        for room in [2, 3] {
            let mut left = room;
            gate.board(1, ids[0], &mut records, |_| {
                left -= 1;
                left >= 0
            });
            assert_eq!(gate.waiting(), 3 - room as usize);
            gate.alight(1, ids[0], &mut records);
            assert_eq!(gate.waiting(), 3);
        }
        gate.board(1, ids[0], &mut records, |_| true);
        gate.enter(1, ids[4], &mut records);
        gate.alight(1, ids[0], &mut records);
        gate.enter(1, ids[5], &mut records);
        for id in &ids[1..] {
            assert_eq!(gate.leave(1, None, &mut records), (Some(*id), false));
        }
        assert_eq!(gate.leave(1, None, &mut records), (None, false));
        assert_eq!((gate.keys(), gate.waiting()), (0, 0));
    }

    #[test]
    fn a_sequence_number_that_falls_is_noticed() {
        let (mut gate, mut records) = (Gate::default(), Records::new());
        let ids: Vec<_> = (0..3).map(|_| record(&mut records)).collect();
        for id in &ids {
            gate.enter(7, *id, &mut records);
        }
        assert_eq!(gate.leave(7, Some("100"), &mut records), (Some(ids[1]), false));
        assert_eq!(gate.leave(7, Some("99"), &mut records), (Some(ids[2]), true));
        assert_eq!(gate.leave(7, Some("1000"), &mut records), (None, false));
    }
}
