//! Finalization: how the fate of an event finds its way back to the source.
//! In: status updates from sinks. Out: one [`BatchStatus`] per batch, to the source that made the notifier.
//! Holds: one atomic byte a finalizer, one a batch; events of one fate share one finalizer.
//! Never: blocks, allocates per event, reports a batch twice.
//!
//! Names and the status lattice are vector-core's. An event that is dropped without a word leaves its
//! batch `Delivered`, as there; one that is lost with a killed or panicked component makes it `Errored`.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use super::lost::losing;

/// What became of one event. Ordered: a worse fate replaces a better one, never the other way round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum EventStatus {
    /// Nobody has said anything yet; at the end it means that the event was dropped on purpose.
    #[default]
    Dropped = 0,
    /// Every destination has it.
    Delivered = 1,
    /// It failed in a way that may go well another time.
    Errored = 2,
    /// It failed for good.
    Rejected = 3,
    /// The status was reported; no later update counts.
    Recorded = 4,
}

impl EventStatus {
    /// The status after `update` was said of an event that has `self`: the worse of the two wins.
    #[must_use]
    pub fn update(self, update: Self) -> Self {
        if self == Self::Recorded || update == Self::Recorded {
            return Self::Recorded;
        }
        self.max(update)
    }

    fn from_u8(value: u8) -> Self {
        match value {
            0 => Self::Dropped,
            1 => Self::Delivered,
            2 => Self::Errored,
            3 => Self::Rejected,
            _ => Self::Recorded,
        }
    }
}

/// What became of a batch: the worst fate of its events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum BatchStatus {
    /// All of it is where it should be (or was dropped on purpose).
    #[default]
    Delivered = 0,
    /// Part of it failed in a way that may go well another time.
    Errored = 1,
    /// Part of it failed for good.
    Rejected = 2,
}

impl BatchStatus {
    fn from_u8(value: u8) -> Self {
        match value {
            0 => Self::Delivered,
            1 => Self::Errored,
            _ => Self::Rejected,
        }
    }
}

type Callback = Box<dyn FnOnce(BatchStatus) + Send + Sync>;

enum Listener {
    Future(oneshot::Sender<BatchStatus>),
    Callback(Callback),
}

struct OwnedBatchNotifier {
    status: AtomicU8,
    listener: Option<Listener>,
}

impl std::fmt::Debug for OwnedBatchNotifier {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let status = BatchStatus::from_u8(self.status.load(Ordering::Acquire));
        formatter.debug_struct("BatchNotifier").field("status", &status).finish_non_exhaustive()
    }
}

impl Drop for OwnedBatchNotifier {
    fn drop(&mut self) {
        let status = BatchStatus::from_u8(*self.status.get_mut());
        match self.listener.take() {
            // The source may be gone; then nobody waits for the answer.
            Some(Listener::Future(sender)) => drop(sender.send(status)),
            Some(Listener::Callback(callback)) => callback(status),
            None => {}
        }
    }
}

/// Tells a source the fate of a batch when the last clone is dropped. Clones are cheap.
#[derive(Clone, Debug)]
pub struct BatchNotifier(Arc<OwnedBatchNotifier>);

impl BatchNotifier {
    /// A notifier and the future that resolves with the batch's status.
    #[must_use]
    pub fn new_with_receiver() -> (Self, BatchStatusReceiver) {
        let (sender, receiver) = oneshot::channel();
        (Self::with_listener(Listener::Future(sender)), BatchStatusReceiver(receiver))
    }

    /// A notifier that calls `callback` with the batch's status, once, on the thread that drops the last clone.
    #[must_use]
    pub fn new_with_callback(callback: impl FnOnce(BatchStatus) + Send + Sync + 'static) -> Self {
        Self::with_listener(Listener::Callback(Box::new(callback)))
    }

    fn with_listener(listener: Listener) -> Self {
        let status = AtomicU8::new(BatchStatus::Delivered as u8);
        Self(Arc::new(OwnedBatchNotifier { status, listener: Some(listener) }))
    }

    /// As [`Self::new_with_receiver`] if `enabled`, else nothing.
    #[must_use]
    pub fn maybe_new_with_receiver(enabled: bool) -> (Option<Self>, Option<BatchStatusReceiver>) {
        if enabled {
            let (notifier, receiver) = Self::new_with_receiver();
            (Some(notifier), Some(receiver))
        } else {
            (None, None)
        }
    }

    /// Adds one new notifier to all `items` and returns its receiver.
    pub fn apply_to<T: AddBatchNotifier>(items: &mut [T]) -> BatchStatusReceiver {
        let (notifier, receiver) = Self::new_with_receiver();
        for item in items {
            item.add_batch_notifier(notifier.clone());
        }
        receiver
    }

    /// As [`Self::apply_to`] if `enabled`, else nothing.
    pub fn maybe_apply_to<T: AddBatchNotifier>(
        enabled: bool,
        items: &mut [T],
    ) -> Option<BatchStatusReceiver> {
        enabled.then(|| Self::apply_to(items))
    }

    fn update_status(&self, status: EventStatus) {
        let status = match status {
            EventStatus::Errored => BatchStatus::Errored,
            EventStatus::Rejected => BatchStatus::Rejected,
            EventStatus::Dropped | EventStatus::Delivered | EventStatus::Recorded => return,
        };
        self.0.status.fetch_max(status as u8, Ordering::AcqRel);
    }
}

/// Resolves with the status of a batch. A notifier that was lost reads as `Errored`.
#[derive(Debug)]
pub struct BatchStatusReceiver(oneshot::Receiver<BatchStatus>);

impl BatchStatusReceiver {
    /// The status if it is known already.
    ///
    /// # Errors
    /// `Empty` while the batch is unresolved.
    pub fn try_recv(&mut self) -> Result<BatchStatus, oneshot::error::TryRecvError> {
        self.0.try_recv()
    }
}

impl Future for BatchStatusReceiver {
    type Output = BatchStatus;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|result| result.unwrap_or(BatchStatus::Errored))
    }
}

/// Something that a batch notifier can be hung on.
pub trait AddBatchNotifier {
    /// Adds a finalizer that reports to `notifier`.
    fn add_batch_notifier(&mut self, notifier: BatchNotifier);
}

/// The fate of one event, or of all events that share it. Reports to its batch when dropped.
#[derive(Debug)]
pub struct EventFinalizer {
    status: AtomicU8,
    batch: BatchNotifier,
}

impl EventFinalizer {
    /// A finalizer that reports to `batch`.
    #[must_use]
    pub fn new(batch: BatchNotifier) -> Self {
        Self { status: AtomicU8::new(EventStatus::Dropped as u8), batch }
    }

    /// Says what became of the event; the worst word counts.
    pub fn update_status(&self, status: EventStatus) {
        self.status.fetch_max(status as u8, Ordering::AcqRel);
    }

    /// Passes the status on to the batch now; later updates do not count.
    pub fn update_batch(&self) {
        let status = self.status.swap(EventStatus::Recorded as u8, Ordering::AcqRel);
        self.batch.update_status(EventStatus::from_u8(status));
    }
}

impl Drop for EventFinalizer {
    fn drop(&mut self) {
        self.update_batch();
    }
}

/// The finalizers of one event. Usually one, shared with its neighbours; copies share it too.
#[derive(Clone, Debug, Default)]
pub struct EventFinalizers(Set);

#[derive(Clone, Debug, Default)]
enum Set {
    #[default]
    None,
    One(Arc<EventFinalizer>),
    // Boxed so that the usual sets stay two words: every event carries one.
    #[allow(clippy::box_collection)]
    Many(Box<Vec<Arc<EventFinalizer>>>),
}

impl EventFinalizers {
    /// No finalizers.
    pub const DEFAULT: Self = Self(Set::None);

    /// A set of one.
    #[must_use]
    pub fn new(finalizer: EventFinalizer) -> Self {
        Self(Set::One(Arc::new(finalizer)))
    }

    /// A set that reports to `notifier`; give clones of it to all events of one fate.
    #[must_use]
    pub fn from_notifier(notifier: BatchNotifier) -> Self {
        Self::new(EventFinalizer::new(notifier))
    }

    /// The finalizers as a slice.
    #[must_use]
    pub fn as_slice(&self) -> &[Arc<EventFinalizer>] {
        match &self.0 {
            Set::None => &[],
            Set::One(one) => std::slice::from_ref(one),
            Set::Many(many) => many,
        }
    }

    /// Adds one more.
    pub fn add(&mut self, finalizer: EventFinalizer) {
        self.push(Arc::new(finalizer));
    }

    fn push(&mut self, finalizer: Arc<EventFinalizer>) {
        if self.as_slice().iter().any(|own| Arc::ptr_eq(own, &finalizer)) {
            return;
        }
        self.0 = match std::mem::take(&mut self.0) {
            Set::None => Set::One(finalizer),
            Set::One(one) => Set::Many(Box::new(vec![one, finalizer])),
            Set::Many(mut many) => {
                many.push(finalizer);
                Set::Many(many)
            }
        };
    }

    /// Adds those of `other` that are not in here yet.
    pub fn merge(&mut self, mut other: Self) {
        if self.is_empty() {
            *self = other;
            return;
        }
        match std::mem::take(&mut other.0) {
            Set::None => {}
            Set::One(one) => self.push(one),
            Set::Many(many) => many.into_iter().for_each(|one| self.push(one)),
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// Whether nobody waits for this event.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(self.0, Set::None)
    }

    /// Whether both hold the very same finalizers, so that their events share a fate.
    #[must_use]
    pub fn same_fate(&self, other: &Self) -> bool {
        let (own, other) = (self.as_slice(), other.as_slice());
        own.len() == other.len() && own.iter().zip(other).all(|(a, b)| Arc::ptr_eq(a, b))
    }

    /// Says what became of the event. The sources hear of it when the last copy is dropped.
    pub fn update_status(&self, status: EventStatus) {
        for finalizer in self.as_slice() {
            finalizer.update_status(status);
        }
    }

    /// Passes the status on now.
    pub fn update_sources(&mut self) {
        for finalizer in std::mem::take(self).as_slice() {
            finalizer.update_batch();
        }
    }
}

impl Drop for EventFinalizers {
    /// An event that goes down with its component was not dropped on purpose; see [`super::lost`].
    fn drop(&mut self) {
        if !self.is_empty() && losing() {
            self.update_status(EventStatus::Errored);
        }
    }
}

impl FromIterator<EventFinalizers> for EventFinalizers {
    fn from_iter<T: IntoIterator<Item = EventFinalizers>>(iter: T) -> Self {
        let mut all = Self::DEFAULT;
        iter.into_iter().for_each(|one| all.merge(one));
        all
    }
}

/// Something whose finalizers can be taken, to settle them elsewhere.
pub trait Finalizable {
    /// Takes the finalizers out; what is left reports to nobody.
    fn take_finalizers(&mut self) -> EventFinalizers;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worse_fates_win_and_better_ones_do_not_return() {
        use EventStatus::{Delivered, Dropped, Errored, Recorded, Rejected};
        for (now, update, then) in [
            (Dropped, Delivered, Delivered),
            (Dropped, Errored, Errored),
            (Delivered, Errored, Errored),
            (Errored, Delivered, Errored),
            (Errored, Rejected, Rejected),
            (Rejected, Delivered, Rejected),
            (Rejected, Errored, Rejected),
            (Recorded, Rejected, Recorded),
            (Delivered, Recorded, Recorded),
        ] {
            assert_eq!(now.update(update), then, "{now:?} + {update:?}");
        }
    }

    #[test]
    fn a_batch_answers_once_with_the_worst_fate_when_the_last_event_is_gone() {
        let (notifier, mut receiver) = BatchNotifier::new_with_receiver();
        let first = EventFinalizers::from_notifier(notifier.clone());
        let second = EventFinalizers::from_notifier(notifier);
        let copy = first.clone();
        first.update_status(EventStatus::Delivered);
        second.update_status(EventStatus::Rejected);
        drop((first, second));
        assert!(receiver.try_recv().is_err(), "a copy is still on its way");
        copy.update_status(EventStatus::Errored);
        drop(copy);
        assert_eq!(receiver.try_recv(), Ok(BatchStatus::Rejected));
    }

    #[test]
    fn an_event_dropped_without_a_word_leaves_its_batch_delivered() {
        let (notifier, mut receiver) = BatchNotifier::new_with_receiver();
        drop(EventFinalizers::from_notifier(notifier));
        assert_eq!(receiver.try_recv(), Ok(BatchStatus::Delivered));
    }

    #[test]
    fn merging_keeps_each_finalizer_once() {
        let (notifier, _receiver) = BatchNotifier::new_with_receiver();
        let one = EventFinalizers::from_notifier(notifier.clone());
        let two = EventFinalizers::from_notifier(notifier);
        let merged: EventFinalizers = [one.clone(), two, one].into_iter().collect();
        assert_eq!(merged.len(), 2);
    }
}
