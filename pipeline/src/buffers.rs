//! Buffers: the bounded queues between components.
//! In: event arrays. Out: the same arrays, in order; the sender waits while the queue is full.
//! Holds: at most `max_events` events and `max_bytes` bytes, except that one array larger than that may wait alone.
//! Never: splits or reorders arrays.

use std::sync::Arc;

use futures::Stream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::accounting::Ledger;
use crate::config::WhenFull;
use crate::event::{ByteSizeOf, EventArray, EventContainer};

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

struct Queued {
    array: EventArray,
    _events: OwnedSemaphorePermit,
    _bytes: OwnedSemaphorePermit,
}

/// The sending half of a queue. Clones share the bounds.
#[derive(Clone)]
pub struct BufferSender {
    sender: mpsc::UnboundedSender<Queued>,
    events: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    limits: QueueLimits,
    ledger: Ledger,
}

/// The receiving half of a queue; a stream of arrays that ends when all senders are gone.
pub struct BufferReceiver(mpsc::UnboundedReceiver<Queued>);

/// The receiver is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

/// A queue with these bounds.
#[must_use]
pub fn queue(limits: QueueLimits, ledger: Ledger) -> (BufferSender, BufferReceiver) {
    let limits = QueueLimits {
        max_events: limits.max_events.clamp(1, u32::MAX as usize),
        // Permits are counted in units of one byte; the semaphore takes at most u32::MAX at once.
        max_bytes: limits.max_bytes.clamp(1, u32::MAX as usize),
        ..limits
    };
    let (sender, receiver) = mpsc::unbounded_channel();
    let sender = BufferSender {
        sender,
        events: Arc::new(Semaphore::new(limits.max_events)),
        bytes: Arc::new(Semaphore::new(limits.max_bytes)),
        limits,
        ledger,
    };
    (sender, BufferReceiver(receiver))
}

impl BufferSender {
    /// Sends an array; waits while the queue is full, or lets the array go if the queue is to drop the newest.
    ///
    /// # Errors
    /// When the receiver is gone.
    pub async fn send(&self, array: EventArray) -> Result<(), Closed> {
        let events = array.len().min(self.limits.max_events) as u32;
        let bytes = array.size_of().min(self.limits.max_bytes) as u32;
        let (events, bytes) = if self.limits.when_full == WhenFull::DropNewest {
            let events = self.events.clone().try_acquire_many_owned(events);
            let bytes = self.bytes.clone().try_acquire_many_owned(bytes);
            match (events, bytes) {
                (Ok(events), Ok(bytes)) => (events, bytes),
                _ => {
                    self.ledger.add_discarded(array.len() as u64);
                    return Ok(());
                }
            }
        } else {
            // Always in this order, so that two senders cannot each hold what the other waits for.
            let events = self.events.clone().acquire_many_owned(events).await.map_err(|_| Closed)?;
            let bytes = self.bytes.clone().acquire_many_owned(bytes).await.map_err(|_| Closed)?;
            (events, bytes)
        };
        self.sender.send(Queued { array, _events: events, _bytes: bytes }).map_err(|_| Closed)
    }

    /// Events that wait now.
    #[must_use]
    pub fn len_events(&self) -> usize {
        self.limits.max_events - self.events.available_permits()
    }

    /// The bounds.
    #[must_use]
    pub fn limits(&self) -> QueueLimits {
        self.limits
    }
}

impl BufferReceiver {
    /// The next array. Cancel-safe.
    pub async fn recv(&mut self) -> Option<EventArray> {
        self.0.recv().await.map(|queued| queued.array)
    }
}

impl Drop for BufferReceiver {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Stream for BufferReceiver {
    type Item = EventArray;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<EventArray>> {
        self.0.poll_recv(context).map(|queued| queued.map(|queued| queued.array))
    }
}
