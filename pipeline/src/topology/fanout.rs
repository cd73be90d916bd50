//! Fan-out: one output, every consumer of it.
//! In: an array. Out: a copy to each consumer (the last gets the original); waits for the slowest.
//! Copies share bytes and finalizers, so a source that waits hears the worst fate of all copies.

use std::sync::Arc;

use crate::accounting::Ledger;
use crate::buffers::BufferSender;
use crate::component::ComponentKey;
use crate::event::{EventArray, EventContainer};

/// A consumer is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a consumer of this output has ended")]
pub struct FanoutError;

/// The consumers of one output. Clones share them.
#[derive(Clone)]
pub struct Fanout {
    consumers: Arc<[(ComponentKey, BufferSender)]>,
    ledger: Ledger,
}

impl Fanout {
    /// A fan-out to `consumers`; without any, events are dropped and counted.
    #[must_use]
    pub fn new(consumers: Vec<(ComponentKey, BufferSender)>, ledger: Ledger) -> Self {
        Self { consumers: consumers.into(), ledger }
    }

    /// Sends `array` to every consumer. Not cancel-safe: a cancelled call may have reached some of them.
    ///
    /// # Errors
    /// When a consumer is gone; the others still get the array.
    pub async fn send(&self, array: EventArray) -> Result<(), FanoutError> {
        let count = array.len() as u64;
        let Some(((_, last), others)) = self.consumers.split_last() else {
            self.ledger.add_dropped(count);
            return Ok(());
        };
        let mut result = Ok(());
        for (_, consumer) in others {
            self.ledger.add_copies(count);
            if consumer.send(array.clone()).await.is_err() {
                result = Err(FanoutError);
            }
        }
        if last.send(array).await.is_err() {
            result = Err(FanoutError);
        }
        result
    }

    /// The ids of the consumers.
    pub fn consumers(&self) -> impl Iterator<Item = &ComponentKey> {
        self.consumers.iter().map(|(key, _)| key)
    }
}
