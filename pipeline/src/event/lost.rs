//! Lost events: the difference between an event that was dropped on purpose and one that went down with its component.
//! In: a scope (or an unwinding thread) in which events are let go against everyone's will.
//! Out: their finalizers say `Errored`, so that a source never takes a killed or panicked event for delivered.
//! Never: changes the fate of events dropped anywhere else.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

thread_local! {
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// Whether events that this thread drops now are lost rather than dropped on purpose.
pub(crate) fn losing() -> bool {
    DEPTH.get() > 0 || std::thread::panicking()
}

/// Drops `value`; the events in it count as lost.
pub fn lose<T>(value: T) {
    struct Leave;
    impl Drop for Leave {
        fn drop(&mut self) {
            DEPTH.set(DEPTH.get() - 1);
        }
    }
    DEPTH.set(DEPTH.get() + 1);
    let leave = Leave;
    drop(value);
    drop(leave);
}

/// Holds a value whose events are lost if it is dropped before it is taken out.
#[derive(Debug)]
pub struct LostUnlessTaken<T>(Option<T>);

impl<T> LostUnlessTaken<T> {
    /// Holds `value`.
    pub fn new(value: T) -> Self {
        Self(Some(value))
    }

    /// Takes the value out; nothing is lost from here on. `None` when it was taken before.
    pub fn take(&mut self) -> Option<T> {
        self.0.take()
    }

    /// The value, while it is in here.
    #[must_use]
    pub fn get(&self) -> Option<&T> {
        self.0.as_ref()
    }
}

impl<T> Drop for LostUnlessTaken<T> {
    fn drop(&mut self) {
        if let Some(value) = self.0.take() {
            lose(value);
        }
    }
}

/// A future whose events are lost if it is dropped before it has ended. The topology wraps every component in
/// one; a component that spawns tasks holding events should wrap those too.
pub struct LostUnlessDone<T>(Option<Pin<Box<dyn Future<Output = T> + Send>>>);

impl<T> LostUnlessDone<T> {
    /// Wraps `future`.
    pub fn new(future: impl Future<Output = T> + Send + 'static) -> Self {
        Self(Some(Box::pin(future)))
    }
}

impl<T> Future for LostUnlessDone<T> {
    type Output = T;

    /// Pends for ever when polled after it has ended.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let Some(future) = &mut self.0 else { return Poll::Pending };
        let poll = future.as_mut().poll(context);
        if poll.is_ready() {
            self.0 = None;
        }
        poll
    }
}

impl<T> Drop for LostUnlessDone<T> {
    fn drop(&mut self) {
        if let Some(future) = self.0.take() {
            lose(future);
        }
    }
}

/// An iterator whose remaining events are lost when it is dropped.
pub(crate) struct LostUnlessDrained<I>(LostUnlessTaken<I>);

impl<I: Iterator> LostUnlessDrained<I> {
    pub(crate) fn new(items: I) -> Self {
        Self(LostUnlessTaken::new(items))
    }
}

impl<I: Iterator> Iterator for LostUnlessDrained<I> {
    type Item = I::Item;

    fn next(&mut self) -> Option<I::Item> {
        self.0.0.as_mut()?.next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{BatchNotifier, BatchStatus, EventFinalizers, EventStatus};

    fn finalizers() -> (EventFinalizers, crate::event::BatchStatusReceiver) {
        let (notifier, receiver) = BatchNotifier::new_with_receiver();
        (EventFinalizers::from_notifier(notifier), receiver)
    }

    #[test]
    fn a_lost_event_is_errored_and_a_dropped_one_is_not() {
        let (kept, mut status) = finalizers();
        drop(kept);
        assert_eq!(status.try_recv(), Ok(BatchStatus::Delivered));
        let (held, mut status) = finalizers();
        lose(held);
        assert_eq!(status.try_recv(), Ok(BatchStatus::Errored));
    }

    #[test]
    fn losing_one_copy_is_remembered_when_the_other_is_delivered_later() {
        let (copy, mut status) = finalizers();
        lose(copy.clone());
        copy.update_status(EventStatus::Delivered);
        drop(copy);
        assert_eq!(status.try_recv(), Ok(BatchStatus::Errored));
    }

    #[test]
    fn a_panic_loses_the_events_it_unwinds_through() {
        let (held, mut status) = finalizers();
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            let _held = held;
            std::panic::resume_unwind(Box::new("a component's bug"));
        }));
        assert_eq!(status.try_recv(), Ok(BatchStatus::Errored));
    }

    #[tokio::test]
    async fn a_future_dropped_before_its_end_loses_its_events_and_one_that_ended_does_not() {
        let (held, mut status) = finalizers();
        drop(LostUnlessDone::new(async move {
            std::future::pending::<()>().await;
            drop(held);
        }));
        assert_eq!(status.try_recv(), Ok(BatchStatus::Errored));
        let (held, mut status) = finalizers();
        LostUnlessDone::new(async move { drop(held) }).await;
        assert_eq!(status.try_recv(), Ok(BatchStatus::Delivered));
    }
}
