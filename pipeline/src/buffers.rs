//! Buffers: the bounded queues between components.
//! In: event arrays. Out: the same arrays, in order; the sender waits while the queue is full.
//! Holds: at most `max_events` events and `max_bytes` bytes, except that an array larger than that waits for an
//! empty queue and then enters. Never: splits or reorders arrays.
//!
//! Senders stand in one line: the first waits until its array fits, the others behind it. So a large array is
//! not overtaken for ever, and two waiting senders cannot hold what the other needs.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use futures::Stream;
use metrics::{Counter, Gauge, Histogram};
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::time::Instant;

use crate::accounting::Ledger;
use crate::config::WhenFull;
use crate::event::{
    ByteSizeOf, EstimatedJsonEncodedSizeOf, EventArray, EventContainer, LostUnlessTaken, lose,
};

/// Bytes that wait between two components by default, beside the bound on events. Chosen, not measured: a few
/// arrays of large events, so that queues stay far below a sink's own byte budget.
pub const DEFAULT_QUEUE_BYTES: usize = 4 * 1024 * 1024;
/// Events that wait between two components by default.
pub const DEFAULT_QUEUE_EVENTS: usize = 1000;

/// The bounds of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueLimits {
    /// Most events.
    pub max_events: usize,
    /// Most bytes, raw bytes and bookkeeping counted.
    pub max_bytes: usize,
    /// What happens when it is full.
    pub when_full: WhenFull,
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self { max_events: DEFAULT_QUEUE_EVENTS, max_bytes: DEFAULT_QUEUE_BYTES, when_full: WhenFull::Block }
    }
}

/// What an array weighs. Computed once where the array is handed over, and carried along.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weight {
    /// How many events.
    pub events: usize,
    /// Bytes in memory.
    pub bytes: usize,
    /// Estimated bytes as JSON, for Vector's `*_event_bytes_total`.
    pub json_bytes: usize,
}

/// An array and what it weighs.
#[derive(Clone, Debug)]
pub struct Weighed {
    /// The array.
    pub array: EventArray,
    /// What it weighs.
    pub weight: Weight,
}

impl From<EventArray> for Weighed {
    fn from(array: EventArray) -> Self {
        let weight = Weight {
            events: array.len(),
            bytes: array.size_of(),
            json_bytes: array.estimated_json_encoded_size_of(),
        };
        Self { array, weight }
    }
}

/// The metrics of one queue, registered once.
pub struct QueueMetrics {
    /// `buffer_received_events_total`.
    pub received_events: Counter,
    /// `buffer_received_bytes_total`.
    pub received_bytes: Counter,
    /// `buffer_sent_events_total`.
    pub sent_events: Counter,
    /// `buffer_sent_bytes_total`.
    pub sent_bytes: Counter,
    /// `buffer_discarded_events_total`.
    pub discarded_events: Counter,
    /// `buffer_discarded_bytes_total`.
    pub discarded_bytes: Counter,
    /// `buffer_send_duration_seconds`: the wait to enter.
    pub send_seconds: Histogram,
    /// `buffer_size_events`.
    pub size_events: Gauge,
    /// `buffer_size_bytes`.
    pub size_bytes: Gauge,
}

impl QueueMetrics {
    /// Metrics that nobody sees.
    #[must_use]
    pub fn noop() -> Self {
        Self {
            received_events: Counter::noop(),
            received_bytes: Counter::noop(),
            sent_events: Counter::noop(),
            sent_bytes: Counter::noop(),
            discarded_events: Counter::noop(),
            discarded_bytes: Counter::noop(),
            send_seconds: Histogram::noop(),
            size_events: Gauge::noop(),
            size_bytes: Gauge::noop(),
        }
    }
}

struct Shared {
    limits: QueueLimits,
    ledger: Ledger,
    metrics: QueueMetrics,
    /// The turn to enter: one permit, given in the order of asking.
    turn: Semaphore,
    /// Told after each array that leaves, and when the receiver is gone.
    space: Notify,
    /// Raised only by the sender whose turn it is, lowered only by the receiver.
    events: AtomicUsize,
    bytes: AtomicUsize,
    closed: AtomicBool,
}

impl Shared {
    fn fits(&self, weight: Weight) -> bool {
        let events = self.events.load(Ordering::Acquire);
        let bytes = self.bytes.load(Ordering::Acquire);
        events == 0
            || (events.saturating_add(weight.events) <= self.limits.max_events
                && bytes.saturating_add(weight.bytes) <= self.limits.max_bytes)
    }

    /// Waits until `weight` fits.
    async fn wait_for_space(&self, weight: Weight) -> Result<(), Closed> {
        loop {
            // Made before the look, so that space freed in between is not missed.
            let freed = self.space.notified();
            if self.closed.load(Ordering::Acquire) {
                return Err(Closed);
            }
            if self.fits(weight) {
                return Ok(());
            }
            freed.await;
        }
    }
}

/// The sending half of a queue. Clones share the bounds.
#[derive(Clone)]
pub struct BufferSender {
    sender: mpsc::UnboundedSender<Weighed>,
    shared: Arc<Shared>,
}

/// The receiving half of a queue; a stream of arrays that ends when all senders are gone.
/// Arrays that are still inside when it is dropped are lost: their finalizers say `Errored`.
pub struct BufferReceiver {
    receiver: mpsc::UnboundedReceiver<Weighed>,
    shared: Arc<Shared>,
}

/// Looks at how full a queue is, without keeping it open.
#[derive(Clone)]
pub struct BufferLevel(Arc<Shared>);

/// The receiver is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the receiver of this queue is gone")]
pub struct Closed;

/// A queue with these bounds. `ledger` counts what a `drop_newest` queue lets go.
#[must_use]
pub fn queue(limits: QueueLimits, ledger: Ledger) -> (BufferSender, BufferReceiver) {
    queue_with_metrics(limits, ledger, QueueMetrics::noop())
}

/// A queue with these bounds and metrics.
#[must_use]
pub fn queue_with_metrics(
    limits: QueueLimits,
    ledger: Ledger,
    metrics: QueueMetrics,
) -> (BufferSender, BufferReceiver) {
    // The channel is bounded by the two sums beside it, not by itself.
    let (sender, receiver) = mpsc::unbounded_channel();
    let shared = Arc::new(Shared {
        limits,
        ledger,
        metrics,
        turn: Semaphore::new(1),
        space: Notify::new(),
        events: AtomicUsize::new(0),
        bytes: AtomicUsize::new(0),
        closed: AtomicBool::new(false),
    });
    (BufferSender { sender, shared: Arc::clone(&shared) }, BufferReceiver { receiver, shared })
}

impl BufferSender {
    /// Sends an array; waits while the queue is full, or lets the array go if the queue is to drop the newest.
    /// Cancel-safe in that the array is either in the queue or lost as a whole: when the call is cancelled
    /// before the array entered, its finalizers say `Errored`.
    ///
    /// # Errors
    /// When the receiver is gone; the array's finalizers then say `Errored`.
    pub async fn send(&self, array: EventArray) -> Result<(), Closed> {
        self.send_weighed(array.into()).await
    }

    /// As [`Self::send`], for an array that is weighed already.
    ///
    /// # Errors
    /// When the receiver is gone.
    pub async fn send_weighed(&self, load: Weighed) -> Result<(), Closed> {
        let weight = load.weight;
        if weight.events == 0 {
            return Ok(());
        }
        let shared = &*self.shared;
        let mut load = LostUnlessTaken::new(load);
        let _turn = match shared.turn.try_acquire() {
            Ok(turn) if shared.fits(weight) && !shared.closed.load(Ordering::Acquire) => {
                shared.metrics.send_seconds.record(0.0);
                turn
            }
            turn => {
                let asked_at = Instant::now();
                let turn = match turn {
                    Ok(turn) => turn,
                    Err(_) => shared.turn.acquire().await.map_err(|_| Closed)?,
                };
                if shared.limits.when_full == WhenFull::DropNewest {
                    if !shared.fits(weight) && !shared.closed.load(Ordering::Acquire) {
                        self.discard(load, weight);
                        return Ok(());
                    }
                } else {
                    shared.wait_for_space(weight).await?;
                }
                shared.metrics.send_seconds.record(asked_at.elapsed().as_secs_f64());
                turn
            }
        };
        let Some(load) = load.take() else { return Ok(()) };
        shared.events.fetch_add(weight.events, Ordering::AcqRel);
        shared.bytes.fetch_add(weight.bytes, Ordering::AcqRel);
        shared.metrics.received_events.increment(weight.events as u64);
        shared.metrics.received_bytes.increment(weight.bytes as u64);
        self.sender.send(load).map_err(|refused| {
            lose(refused.0);
            Closed
        })
    }

    /// Lets a new array go on purpose: to its source it counts as delivered.
    fn discard(&self, mut load: LostUnlessTaken<Weighed>, weight: Weight) {
        self.shared.ledger.add_discarded(weight.events as u64);
        self.shared.metrics.discarded_events.increment(weight.events as u64);
        self.shared.metrics.discarded_bytes.increment(weight.bytes as u64);
        drop(load.take());
    }

    /// The bounds.
    #[must_use]
    pub fn limits(&self) -> QueueLimits {
        self.shared.limits
    }

    /// A look at how full it is.
    #[must_use]
    pub fn level(&self) -> BufferLevel {
        BufferLevel(Arc::clone(&self.shared))
    }
}

impl BufferLevel {
    /// Events that wait now.
    #[must_use]
    pub fn events(&self) -> usize {
        self.0.events.load(Ordering::Relaxed)
    }

    /// Bytes that wait now.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.bytes.load(Ordering::Relaxed)
    }

    /// Sets the gauges to what waits now.
    pub fn report(&self) {
        // Gauges are floating point numbers; a queue is far smaller than 2^53.
        self.0.metrics.size_events.set(self.events() as f64);
        self.0.metrics.size_bytes.set(self.bytes() as f64);
    }
}

impl BufferReceiver {
    /// The next array. Cancel-safe.
    pub async fn recv(&mut self) -> Option<EventArray> {
        self.recv_weighed().await.map(|load| load.array)
    }

    /// The next array and what it weighs. Cancel-safe.
    pub async fn recv_weighed(&mut self) -> Option<Weighed> {
        let load = self.receiver.recv().await;
        self.leave(load)
    }

    /// As [`Self::recv_weighed`], for a stream.
    pub fn poll_weighed(&mut self, context: &mut Context<'_>) -> Poll<Option<Weighed>> {
        let load = std::task::ready!(self.receiver.poll_recv(context));
        Poll::Ready(self.leave(load))
    }

    fn leave(&self, load: Option<Weighed>) -> Option<Weighed> {
        let load = load?;
        let shared = &*self.shared;
        shared.events.fetch_sub(load.weight.events, Ordering::AcqRel);
        shared.bytes.fetch_sub(load.weight.bytes, Ordering::AcqRel);
        shared.space.notify_one();
        shared.metrics.sent_events.increment(load.weight.events as u64);
        shared.metrics.sent_bytes.increment(load.weight.bytes as u64);
        Some(load)
    }
}

impl Drop for BufferReceiver {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Release);
        self.receiver.close();
        self.shared.space.notify_one();
        while let Ok(load) = self.receiver.try_recv() {
            lose(load);
        }
    }
}

impl Stream for BufferReceiver {
    type Item = EventArray;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<EventArray>> {
        self.poll_weighed(context).map(|load| load.map(|load| load.array))
    }
}

#[cfg(test)]
mod tests;
