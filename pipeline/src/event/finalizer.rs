//! Finalizer streams: entries a source keeps until their batch is settled.
//! In: an entry (say, a file position) and the receiver of its batch. Out: the entry with the batch's status.
//! Ordered: in the order they were added, whatever the order they settle in. Never: drops an entry, except when its owner is gone.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::stream::{BoxStream, FuturesOrdered, FuturesUnordered, Stream, StreamExt};
use tokio::sync::mpsc;

use super::finalization::{BatchStatus, BatchStatusReceiver};
use crate::shutdown::ShutdownSignal;

/// Gives entries back in the order in which they were added.
pub type OrderedFinalizer<T> = FinalizerSet<T>;
/// Gives entries back in the order in which their batches settle.
pub type UnorderedFinalizer<T> = FinalizerSet<T>;

/// The sending half: where a source leaves entries until they are settled.
#[derive(Debug)]
pub struct FinalizerSet<T> {
    sender: mpsc::UnboundedSender<(BatchStatusReceiver, T)>,
}

impl<T> Clone for FinalizerSet<T> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone() }
    }
}

impl<T: Send + 'static> FinalizerSet<T> {
    /// An ordered set and its stream. The stream ends when all handles are dropped and all entries
    /// are settled; with `shutdown`, also when that fires (entries that are unsettled then are let go).
    #[must_use]
    pub fn new_ordered(shutdown: Option<ShutdownSignal>) -> (Self, BoxStream<'static, (BatchStatus, T)>) {
        Self::build(FuturesOrdered::new(), shutdown, |set, future| set.push_back(future))
    }

    /// An unordered set and its stream; ends as the ordered one.
    #[must_use]
    pub fn new_unordered(shutdown: Option<ShutdownSignal>) -> (Self, BoxStream<'static, (BatchStatus, T)>) {
        Self::build(FuturesUnordered::new(), shutdown, |set, future| set.push(future))
    }

    fn build<S>(
        mut pending: S,
        shutdown: Option<ShutdownSignal>,
        push: impl Fn(&mut S, Settling<T>) + Send + 'static,
    ) -> (Self, BoxStream<'static, (BatchStatus, T)>)
    where
        S: Stream<Item = (BatchStatus, T)> + Send + Unpin + 'static,
    {
        let (sender, mut incoming) = mpsc::unbounded_channel();
        let mut shutdown = shutdown;
        let mut closed = false;
        let stream = futures::stream::poll_fn(move |context| {
            if let Some(signal) = &mut shutdown
                && Pin::new(signal).poll(context).is_ready()
            {
                return Poll::Ready(None);
            }
            while !closed {
                match incoming.poll_recv(context) {
                    Poll::Ready(Some((receiver, entry))) => {
                        push(&mut pending, Settling { receiver, entry: Some(entry) });
                    }
                    Poll::Ready(None) => closed = true,
                    Poll::Pending => break,
                }
            }
            match pending.poll_next_unpin(context) {
                Poll::Ready(None) if !closed => Poll::Pending,
                other => other,
            }
        });
        (Self { sender }, stream.boxed())
    }

    /// Keeps `entry` until `receiver` resolves.
    pub fn add(&self, entry: T, receiver: BatchStatusReceiver) {
        // The stream is gone only when its owner has stopped listening.
        let _ = self.sender.send((receiver, entry));
    }
}

struct Settling<T> {
    receiver: BatchStatusReceiver,
    entry: Option<T>,
}

impl<T> Unpin for Settling<T> {}

impl<T> Future for Settling<T> {
    type Output = (BatchStatus, T);

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match Pin::new(&mut self.receiver).poll(context) {
            Poll::Ready(status) => match self.entry.take() {
                Some(entry) => Poll::Ready((status, entry)),
                None => Poll::Pending,
            },
            Poll::Pending => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{BatchNotifier, EventFinalizers, EventStatus};

    #[tokio::test]
    async fn ordered_entries_come_back_in_order_whatever_settles_first() {
        let (set, mut stream) = OrderedFinalizer::new_ordered(None);
        let (first, receiver) = BatchNotifier::new_with_receiver();
        set.add(1, receiver);
        let (second, receiver) = BatchNotifier::new_with_receiver();
        set.add(2, receiver);
        let fate = EventFinalizers::from_notifier(second);
        fate.update_status(EventStatus::Rejected);
        drop(fate);
        drop(first);
        drop(set);
        assert_eq!(stream.next().await, Some((BatchStatus::Delivered, 1)));
        assert_eq!(stream.next().await, Some((BatchStatus::Rejected, 2)));
        assert_eq!(stream.next().await, None);
    }
}
