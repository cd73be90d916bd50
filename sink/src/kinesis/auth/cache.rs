//! Cache: the credentials in use.
//! In: a source of credentials and a clock. Out: credentials that are valid now.
//! Holds: one set; at most one load is under way, in a task of its own, so that a dropped request does not stop it.
//! Never: makes a request wait while what it has is valid and has not been refused.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use aws_credential_types::{
    Credentials,
    provider::{ProvideCredentials, SharedCredentialsProvider, error::CredentialsError},
};
use aws_smithy_async::time::{SharedTimeSource, TimeSource};
use aws_smithy_runtime_api::client::identity::Identity;
use futures::{
    FutureExt,
    future::{BoxFuture, Shared},
};

/// How far ahead of their end credentials are renewed, at most. A quarter of their life if that is less.
/// Instance metadata hands out new ones at least five minutes ahead.
const RENEW_AHEAD_MAX: Duration = Duration::from_secs(300);
/// This close to their end credentials are no longer used: a signed request must still arrive.
const END_MARGIN: Duration = Duration::from_secs(10);
/// The wait after a failed renewal, before jitter. Chosen, not measured.
const RENEW_AGAIN: Duration = Duration::from_secs(10);
/// A refused key that the source hands out again is kept this long before the source is asked once more.
const SAME_KEY_AGAIN: Duration = Duration::from_secs(5);

/// Makes providers. Asked again after a refusal, since the SDK's providers keep what they have read from files.
pub(in crate::kinesis) trait CredentialsSource: Send + Sync + 'static {
    /// A fresh provider.
    fn provider(&self) -> BoxFuture<'_, SharedCredentialsProvider>;
    /// The sentence for a failure: which source, what to change. No secrets.
    fn explain(&self, error: &CredentialsError) -> String;
}

/// No credentials could be had. The message is a sentence for the user.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub(in crate::kinesis) struct CredentialsFailure {
    pub(in crate::kinesis) message: Arc<str>,
}

/// Credentials that are in use.
pub(in crate::kinesis) struct Held {
    pub(in crate::kinesis) identity: Identity,
    /// Tells this load from the others.
    generation: u64,
    access_key_id: String,
    expiry: Option<SystemTime>,
    loaded_at: SystemTime,
    /// The key that was refused before this load, if the source gave the same one again.
    refused_before: bool,
}

impl Held {
    /// Enough of the key's id to find it in a console, not enough to use.
    pub(in crate::kinesis) fn key_hint(&self) -> String {
        key_hint(&self.access_key_id)
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held")
            .field("key", &self.key_hint())
            .field("expiry", &self.expiry)
            .finish_non_exhaustive()
    }
}

fn key_hint(id: &str) -> String {
    // Ids are ASCII in practice; characters keep this safe if one is not.
    let characters = id.chars().count();
    if characters < 12 {
        return "…".to_owned();
    }
    let head: String = id.chars().take(4).collect();
    let tail: String = id.chars().skip(characters - 4).collect();
    format!("{head}…{tail}")
}

type Load = Shared<BoxFuture<'static, Result<Arc<Held>, CredentialsFailure>>>;

/// Keeps credentials. Cheap to clone.
#[derive(Clone)]
pub(in crate::kinesis) struct CredentialsCache {
    inner: Arc<Inner>,
}

impl fmt::Debug for CredentialsCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CredentialsCache")
    }
}

struct Inner {
    source: Box<dyn CredentialsSource>,
    clock: SharedTimeSource,
    load_timeout: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    held: Option<Arc<Held>>,
    /// When to renew `held` in the background.
    renew_at: Option<SystemTime>,
    load: Option<Load>,
    provider: Option<SharedCredentialsProvider>,
    /// The id of the key that was refused last.
    refused: Option<String>,
    generation: u64,
}

impl CredentialsCache {
    pub(in crate::kinesis) fn new(
        source: impl CredentialsSource,
        clock: impl TimeSource + 'static,
        load_timeout: Duration,
    ) -> Self {
        let inner = Inner {
            source: Box::new(source),
            clock: SharedTimeSource::new(clock),
            load_timeout,
            state: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Credentials that are valid now. Waits only if there are none; dropping the future does not stop the load.
    pub(in crate::kinesis) async fn current(&self) -> Result<Arc<Held>, CredentialsFailure> {
        let load = {
            let now = self.inner.clock.now();
            let mut state = self.inner.state();
            if let Some(held) = state.held.clone().filter(|held| !ends(held.expiry, now)) {
                if state.load.is_none() && state.renew_at.is_some_and(|at| at <= now) {
                    drop(self.start(&mut state)); // Runs by itself.
                }
                return Ok(held);
            }
            match state.load.clone() {
                Some(load) => load,
                None => self.start(&mut state),
            }
        };
        load.await
    }

    /// The service refused these: the next call of `current` gets new ones, even if the provider thinks these are fine.
    /// Says nothing about credentials that have been replaced meanwhile, so any number of failing requests
    /// cause one load.
    pub(in crate::kinesis) fn invalidate(&self, refused: &Held) {
        let now = self.inner.clock.now();
        let mut state = self.inner.state();
        let Some(held) = state.held.clone().filter(|held| held.generation == refused.generation) else {
            return;
        };
        let young = now.duration_since(held.loaded_at).is_ok_and(|age| age < SAME_KEY_AGAIN);
        if held.refused_before && young {
            return;
        }
        state.refused = Some(held.access_key_id.clone());
        state.held = None;
        state.renew_at = None;
        state.provider = None;
    }

    fn start(&self, state: &mut State) -> Load {
        let inner = Arc::clone(&self.inner);
        let task = tokio::spawn(async move { inner.load().await });
        let load: Load = async move {
            task.await.unwrap_or_else(|_| {
                Err(CredentialsFailure { message: "loading credentials was interrupted by shutdown".into() })
            })
        }
        .boxed()
        .shared();
        state.load = Some(load.clone());
        load
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while the lock is held; if it did, the state is whole between any two statements.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn load(&self) -> Result<Arc<Held>, CredentialsFailure> {
        let ready = self.state().provider.clone();
        let provider = match ready {
            Some(provider) => provider,
            None => {
                let fresh = self.source.provider().await;
                self.state().provider = Some(fresh.clone());
                fresh
            }
        };
        let outcome = match tokio::time::timeout(self.load_timeout, provider.provide_credentials()).await {
            Ok(outcome) => outcome,
            Err(_) => provider
                .fallback_on_interrupt()
                .ok_or_else(|| CredentialsError::provider_timed_out(self.load_timeout)),
        };
        self.finish(outcome, rand::random())
    }

    /// `jitter` is in 0 … 1.
    fn finish(
        &self,
        outcome: Result<Credentials, CredentialsError>,
        jitter: f64,
    ) -> Result<Arc<Held>, CredentialsFailure> {
        let now = self.clock.now();
        let mut state = self.state();
        state.load = None;
        match outcome {
            Ok(credentials) => {
                state.generation += 1;
                let expiry = credentials.expiry();
                let held = Arc::new(Held {
                    generation: state.generation,
                    access_key_id: credentials.access_key_id().to_owned(),
                    expiry,
                    loaded_at: now,
                    refused_before: state.refused.as_deref() == Some(credentials.access_key_id()),
                    identity: Identity::from(credentials),
                });
                state.renew_at = expiry.map(|expiry| renew_at(now, expiry, jitter));
                state.held = Some(Arc::clone(&held));
                Ok(held)
            }
            Err(error) => {
                let message: Arc<str> = self.source.explain(&error).into();
                // The next load starts from scratch: what was wrong may be a file that is right by then.
                state.provider = None;
                if state.held.is_some() {
                    tracing::warn!(reason = %message, "credentials could not be renewed; the present ones are used until they end");
                    state.renew_at = Some(now + RENEW_AGAIN.mul_f64(0.5 + jitter));
                }
                Err(CredentialsFailure { message })
            }
        }
    }
}

fn ends(expiry: Option<SystemTime>, now: SystemTime) -> bool {
    expiry.is_some_and(|expiry| expiry <= now + END_MARGIN)
}

/// When credentials that end at `expiry` are renewed: ahead of it by a quarter of their life and at most
/// [`RENEW_AHEAD_MAX`], earlier by up to as much again so that a fleet does not ask at once.
fn renew_at(now: SystemTime, expiry: SystemTime, jitter: f64) -> SystemTime {
    let life = expiry.duration_since(now).unwrap_or_default();
    let ahead = (life / 4).min(RENEW_AHEAD_MAX);
    now + life.saturating_sub(ahead.mul_f64(1.0 + jitter.clamp(0.0, 1.0)))
}

#[cfg(test)]
mod tests;
