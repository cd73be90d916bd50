//! Fates: who is told what became of the records, told once for all that share it.
//! In: the finalizers of an array, then one status a record. Out: the worst status, when the last record is settled.
//! Holds: one entry an array, so that a settled record costs a subtraction and no atomic.

use afluente_pipeline::event::{EventFinalizers, EventStatus};
use slab::Slab;

use super::record::{FateId, Moment};

#[derive(Debug)]
struct Fate {
    finalizers: EventFinalizers,
    /// When the source took its events in.
    ingested: Moment,
    unsettled: u32,
    worst: EventStatus,
}

/// The fates of all held records.
#[derive(Debug, Default)]
pub struct Fates(Slab<Fate>);

impl Fates {
    /// A fate that nothing shares yet, of events that their source took in at `ingested`.
    pub fn open(&mut self, finalizers: EventFinalizers, ingested: Moment) -> FateId {
        self.0.insert(Fate { finalizers, ingested, unsettled: 0, worst: EventStatus::Dropped }) as FateId
    }

    /// When the events of this fate were taken in by their source.
    #[must_use]
    pub fn ingested(&self, id: FateId) -> Option<Moment> {
        self.0.get(id as usize).map(|fate| fate.ingested)
    }

    /// Whether an event with `finalizers` shares this fate.
    #[must_use]
    pub fn is_shared_by(&self, id: FateId, finalizers: &EventFinalizers) -> bool {
        self.0.get(id as usize).is_some_and(|fate| fate.finalizers.same_fate(finalizers))
    }

    /// One more record shares this fate.
    pub fn join(&mut self, id: FateId) {
        if let Some(fate) = self.0.get_mut(id as usize) {
            fate.unsettled += 1;
        }
    }

    /// One record of this fate is settled.
    pub fn settle(&mut self, id: FateId, status: EventStatus) {
        let Some(fate) = self.0.get_mut(id as usize) else {
            debug_assert!(false, "fate {id} was settled too often");
            return;
        };
        fate.worst = fate.worst.max(status);
        fate.unsettled = fate.unsettled.saturating_sub(1);
        if fate.unsettled == 0 {
            self.close(id);
        }
    }

    /// Nothing more will join; closes the fate if nothing did.
    pub fn close_if_unused(&mut self, id: FateId) {
        if self.0.get(id as usize).is_some_and(|fate| fate.unsettled == 0) {
            self.close(id);
        }
    }

    fn close(&mut self, id: FateId) {
        let fate = self.0.remove(id as usize);
        fate.finalizers.update_status(fate.worst);
    }

    /// How many are open.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use afluente_pipeline::event::{BatchNotifier, BatchStatus};

    use super::*;

    #[test]
    fn the_source_hears_the_worst_fate_once_all_records_are_settled() {
        let (notifier, mut receiver) = BatchNotifier::new_with_receiver();
        let mut fates = Fates::default();
        let id = fates.open(EventFinalizers::from_notifier(notifier), Moment::ZERO);
        fates.join(id);
        fates.join(id);
        fates.settle(id, EventStatus::Rejected);
        assert!(receiver.try_recv().is_err());
        fates.settle(id, EventStatus::Delivered);
        assert_eq!(receiver.try_recv(), Ok(BatchStatus::Rejected));
        assert_eq!(fates.len(), 0);
    }
}
