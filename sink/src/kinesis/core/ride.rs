//! Ride: records that wait for a key go with the one that holds it, as one Kinesis record (aggregation).
//! In: a leader, on its way into a request, and the bytes that are left there. Out: its riders, linked behind it; what they weigh.
//! Holds: nothing; a ride is a chain in the slab, from the moment its request is sealed until the answer is there.
//! Never: outlives an answer: riders are settled with their leader, or wait for their key again before anything is decided about one.

use std::borrow::Cow;
use std::iter::successors;

use super::super::aggregate::{self, Size};
use super::super::gate::Gate;
use super::super::limits::AGGREGATE_RECORDS_MAX;
use super::super::record::{NO_RECORD, Record, RecordId, Records};
use super::Core;

/// Lets records that wait behind `leader` ride with it, as long as they add at most `room` bytes and all together weigh at most
/// `weight_max`. Returns the bytes that they add. A suspect takes suspects only.
pub(super) fn board(
    leader: RecordId,
    room: usize,
    weight_max: usize,
    gate: &mut Gate,
    records: &mut Records,
) -> usize {
    if gate.waiting() == 0 {
        return 0;
    }
    let Some(record) = records.get(leader as usize) else { return 0 };
    let Some(hash) = record.key_hash() else { return 0 };
    let (alone, key) = (record.weight(), record.key.clone());
    let weight_max = weight_max.min(alone.saturating_add(room));
    let mut size = Size::empty(key.len()).with(record.data.len());
    let suspects_max = record.suspects_max();
    let (mut count, count_max) = (1, suspects_max.unwrap_or(AGGREGATE_RECORDS_MAX));
    gate.board(hash, leader, records, |rider| {
        let with = size.with(rider.data.len());
        let welcome = suspects_max.is_none() || rider.suspects_max().is_some();
        // Two keys may share a hash, but not an aggregate.
        let fits = welcome && count < count_max && key.len() + with.bytes() <= weight_max && rider.key == key;
        if fits {
            size = with;
            count += 1;
        }
        fits
    });
    if count == 1 { 0 } else { key.len() + size.bytes() - alone }
}

/// The leader and its riders, in order.
pub(super) fn members(leader: RecordId, records: &Records) -> impl Iterator<Item = &Record> {
    successors(records.get(leader as usize), |record| records.get(record.next as usize))
}

/// What the service counts for the leader and its riders: data and key, in bytes.
pub(super) fn weight(leader: RecordId, records: &Records) -> usize {
    match records.get(leader as usize) {
        None => 0,
        Some(record) if record.next == NO_RECORD => record.weight(),
        Some(record) => record.key.len() + size(leader, record, records).bytes(),
    }
}

fn size(leader: RecordId, record: &Record, records: &Records) -> Size {
    members(leader, records).fold(Size::empty(record.key.len()), |size, member| size.with(member.data.len()))
}

impl Core {
    /// The data and key of a sealed request's Kinesis record.
    #[must_use]
    pub fn content(&self, leader: RecordId) -> Option<(Cow<'_, [u8]>, &[u8])> {
        let record = self.records.get(leader as usize)?;
        if record.next == NO_RECORD {
            return Some((Cow::Borrowed(&record.data), &record.key));
        }
        let data = members(leader, &self.records).map(|member| &member.data[..]);
        let aggregate = aggregate::write(&record.key, data, size(leader, record, &self.records));
        Some((Cow::Owned(aggregate), &record.key))
    }

    /// How many user records the leader's Kinesis record carries.
    pub(super) fn members(&self, leader: RecordId) -> u64 {
        members(leader, &self.records).count() as u64
    }

    /// Does something to the leader and its riders, in order.
    pub(super) fn each_member(&mut self, leader: RecordId, mut change: impl FnMut(&mut Record)) {
        let mut at = leader;
        while let Some(record) = self.records.get_mut(at as usize) {
            change(record);
            at = record.next;
        }
    }

    /// All riders of these leaders wait for their key again, in front of those that came later.
    pub(super) fn part(&mut self, leaders: &[RecordId]) {
        for leader in leaders {
            let riders = self.records.get(*leader as usize).filter(|record| record.next != NO_RECORD);
            if let Some(hash) = riders.and_then(Record::key_hash) {
                self.gate.alight(hash, *leader, &mut self.records);
            }
        }
    }
}
