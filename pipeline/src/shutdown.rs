//! Shutdown: the signal that tells a source to stop taking.
//! In: one `trigger` by the host. Out: a future in each source that resolves once.
//! Never: stops anything by itself.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// Resolves when the host wants sources to stop. Cheap to clone, cancel-safe.
pub struct ShutdownSignal {
    token: CancellationToken,
    waiting: Pin<Box<WaitForCancellationFutureOwned>>,
}

/// Fires the signals made from it.
#[derive(Clone, Debug, Default)]
pub struct ShutdownTrigger(CancellationToken);

impl ShutdownTrigger {
    /// A trigger that has not fired.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Tells everyone to stop. More than once is once.
    pub fn trigger(&self) {
        self.0.cancel();
    }

    /// Whether it has fired.
    #[must_use]
    pub fn is_triggered(&self) -> bool {
        self.0.is_cancelled()
    }

    /// A signal that resolves when this fires.
    #[must_use]
    pub fn signal(&self) -> ShutdownSignal {
        ShutdownSignal::from_token(self.0.clone())
    }
}

impl ShutdownSignal {
    fn from_token(token: CancellationToken) -> Self {
        let waiting = Box::pin(token.clone().cancelled_owned());
        Self { token, waiting }
    }

    /// A signal that never resolves.
    #[must_use]
    pub fn noop() -> Self {
        Self::from_token(CancellationToken::new())
    }

    /// A trigger and a signal of it.
    #[must_use]
    pub fn new_wired() -> (ShutdownTrigger, Self) {
        let trigger = ShutdownTrigger::new();
        let signal = trigger.signal();
        (trigger, signal)
    }

    /// Whether the host wants sources to stop.
    #[must_use]
    pub fn is_triggered(&self) -> bool {
        self.token.is_cancelled()
    }
}

impl Clone for ShutdownSignal {
    fn clone(&self) -> Self {
        Self::from_token(self.token.clone())
    }
}

impl std::fmt::Debug for ShutdownSignal {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("ShutdownSignal").field("triggered", &self.is_triggered()).finish()
    }
}

impl Future for ShutdownSignal {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.waiting.as_mut().poll(context)
    }
}
