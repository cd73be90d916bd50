//! State: everything that a server's requests share, behind one lock that is never held across an await.
//! In: nothing.  Out: the parts, to `service` (which changes them) and `server` (which shows them to the test).
//! Never: does I/O.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::watch;
use tokio::time::Instant;

use super::auth::Doorkeeper;
use super::bucket::{Rate, TokenBucket};
use super::builder::{DryRun, NotActive, Wording};
use super::ledger::Fate;
use super::limits::Limits;
use super::requests::End;
use super::script::Script;
use super::server::Observed;
use super::service::Operation;
use super::stream::{Stream, StreamSpec};
use super::wire::Valve;

/// The server's clock: tokio's, so that paused time works, and a wall clock that can be wrong.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    started: Instant,
    wall: DateTime<Utc>,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self { started: Instant::now(), wall: Utc::now() }
    }

    /// Since the server's start.
    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Wall time, `skew` off.
    pub(super) fn wall(&self, skew: TimeDelta) -> DateTime<Utc> {
        self.wall + TimeDelta::from_std(self.elapsed()).unwrap() + skew
    }
}

/// Streams by name and by index (in order of creation; the ledger names them by index).
#[derive(Debug, Default)]
pub(super) struct Streams {
    all: Vec<Stream>,
    by_name: HashMap<String, u16>,
    default_rate: Option<Rate>,
}

impl Streams {
    pub(super) fn new(default_rate: Option<Rate>) -> Self {
        Self { default_rate, ..Self::default() }
    }

    /// `false`: there is a stream of this name.
    pub(super) fn create(&mut self, spec: &StreamSpec, sequence: u64, now: Duration) -> bool {
        if self.by_name.contains_key(&spec.name) {
            return false;
        }
        let index = u16::try_from(self.all.len()).unwrap();
        self.all.push(Stream::new(spec, index, self.default_rate, sequence, now));
        self.by_name.insert(spec.name.clone(), index);
        true
    }

    /// The stream is gone for requests; its records stay in the ledger.
    pub(super) fn delete(&mut self, name: &str) -> bool {
        self.by_name.remove(name).is_some()
    }

    pub(super) fn get(&mut self, name: &str) -> Option<&mut Stream> {
        let index = *self.by_name.get(name)?;
        Some(&mut self.all[usize::from(index)])
    }

    /// In alphabetical order.
    pub(super) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.by_name.keys().cloned().collect();
        names.sort_unstable();
        names
    }
}

pub(super) struct State {
    pub(super) observed: Observed,
    pub(super) streams: Streams,
    pub(super) script: Script,
    pub(super) doorkeeper: Doorkeeper,
    pub(super) round_trip: Duration,
    pub(super) skew: TimeDelta,
    /// Keys of unanswered writes, hashed with their stream; `None` when not watched.
    pub(super) held_keys: Option<HashSet<u64>>,
    /// Calls a second of the control plane, for operations that have one.
    pub(super) call_limits: HashMap<Operation, TokenBucket>,
}

pub(super) struct Shared {
    pub(super) clock: Clock,
    pub(super) region: String,
    pub(super) seed: u64,
    pub(super) limits: Limits,
    pub(super) wording: Wording,
    pub(super) dry_run: DryRun,
    pub(super) not_active: NotActive,
    pub(super) shuffle: bool,
    /// Closed: requests are read and wait before they are handled.
    pub(super) answering: Valve,
    /// Told at each change of `state`.
    pub(super) changed: Arc<watch::Sender<()>>,
    pub(super) state: Mutex<State>,
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // A condition or tagger of the test may have panicked inside: its message is the one to show.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn tell(&self) {
        self.changed.send_replace(());
    }
}

/// A request being handled. Dropped before it is ended, it is closed as [`End::Gone`]: its client left.
pub(super) struct Visit {
    shared: Arc<Shared>,
    pub(super) log: usize,
    pub(super) number: u64,
    pub(super) arrived: Duration,
    /// Index in the ledger, for writes.
    pub(super) write: Option<u32>,
    /// What it holds of `State::held_keys`.
    pub(super) keys: Vec<u64>,
    ended: bool,
}

impl Visit {
    pub(super) fn open(shared: &Arc<Shared>, operation: Operation, body_bytes: usize) -> Self {
        let arrived = shared.clock.elapsed();
        let visit = {
            let mut state = shared.lock();
            let observed = &mut state.observed;
            let log = observed.requests.open(operation, arrived, body_bytes);
            Self {
                shared: Arc::clone(shared),
                log,
                number: observed.requests.all()[log].number,
                arrived,
                write: operation.writes().then(|| observed.ledger.open_request()),
                keys: Vec::new(),
                ended: false,
            }
        };
        shared.tell();
        visit
    }

    pub(super) fn end(mut self, end: End, fate: Fate) {
        self.close(end, fate);
    }

    fn close(&mut self, end: End, fate: Fate) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let now = self.shared.clock.elapsed();
        {
            let mut state = self.shared.lock();
            state.observed.requests.close(self.log, end, now);
            if let Some(write) = self.write {
                state.observed.ledger.settle_request(write, fate);
            }
            if let Some(held) = &mut state.held_keys {
                for key in self.keys.drain(..) {
                    held.remove(&key);
                }
            }
        }
        self.shared.tell();
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.close(End::Gone, Fate::Lost);
    }
}
