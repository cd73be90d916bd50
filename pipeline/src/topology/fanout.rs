//! Fan-out: one output, every consumer of it.
//! In: an array. Out: a copy to each consumer (the last gets the original); waits for the slowest.
//! Copies share bytes and finalizers, so a source that waits hears the worst fate of all copies.

use std::sync::Arc;

use crate::accounting::Ledger;
use crate::buffers::{BufferSender, Weighed};
use crate::component::ComponentKey;
use crate::event::EventArray;

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

    /// Sends `array` to every consumer. A cancelled call may have reached some of them; for the others the array
    /// is lost, and its finalizers say `Errored`.
    ///
    /// # Errors
    /// When a consumer is gone; the others still get the array.
    pub async fn send(&self, array: EventArray) -> Result<(), FanoutError> {
        self.send_weighed(array.into(), &mut 0).await
    }

    /// As [`Self::send`]; `reached` counts the consumers that the call is done with, also when it is cancelled.
    pub(crate) async fn send_weighed(&self, load: Weighed, reached: &mut usize) -> Result<(), FanoutError> {
        let events = load.weight.events as u64;
        let Some(((_, last), others)) = self.consumers.split_last() else {
            self.ledger.add_dropped(events);
            return Ok(());
        };
        let mut result = Ok(());
        for (_, consumer) in others {
            result = self.hand(consumer, load.clone(), reached).await.and(result);
        }
        self.hand(last, load, reached).await.and(result)
    }

    /// Hands a copy to one consumer. A copy for a consumer that is gone stays in the books: it was not delivered.
    async fn hand(
        &self,
        consumer: &BufferSender,
        load: Weighed,
        reached: &mut usize,
    ) -> Result<(), FanoutError> {
        let copies = if *reached > 0 { load.weight.events as u64 } else { 0 };
        self.ledger.add_copies(copies);
        let mut waiting = WaitingCopy { ledger: &self.ledger, copies };
        let sent = consumer.send_weighed(load).await;
        waiting.copies = 0;
        *reached += 1;
        sent.map_err(|_| FanoutError)
    }

    /// Whether nobody reads this output.
    #[must_use]
    pub fn is_unconsumed(&self) -> bool {
        self.consumers.is_empty()
    }

    /// The ids of the consumers.
    pub fn consumers(&self) -> impl Iterator<Item = &ComponentKey> {
        self.consumers.iter().map(|(key, _)| key)
    }
}

/// Takes a copy out of the books when its sending is cancelled.
struct WaitingCopy<'a> {
    ledger: &'a Ledger,
    copies: u64,
}

impl Drop for WaitingCopy<'_> {
    fn drop(&mut self) {
        if self.copies > 0 {
            self.ledger.take_back_copies(self.copies);
        }
    }
}
