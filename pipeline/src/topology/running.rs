//! Running topology: all tasks of a pipeline, watched until the last one ends.
//! In: requests to stop, and a limit for how long a stop may take. Out: one [`Outcome`].
//! Never: decides an exit code, handles a signal of the operating system, or says that all is well after a loss.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::time::Duration;

use futures::{Stream, StreamExt};
use tokio::task::{AbortHandle, Id, JoinSet};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::task::AbortOnDropHandle;

use super::health::HealthReport;
use super::telemetry::{GAUGE_PERIOD, Gauges};
use crate::accounting::Ledger;
use crate::component::{ComponentKey, ComponentKind};
use crate::event::LostUnlessDone;
use crate::shutdown::ShutdownTrigger;

/// How often a stop that takes its time says what it waits for; as in Vector.
const PROGRESS_PERIOD: Duration = Duration::from_secs(5);

/// How long killed tasks are waited for. Only one that blocks its thread needs more; it is then left behind.
/// Chosen, not measured.
const KILL_WAIT: Duration = Duration::from_secs(2);

/// A request to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Stop taking, then drain. A second request of any kind ends at once.
    Graceful,
    /// End at once.
    Now,
}

/// Why a component failed. The component has logged the details itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// It said that it cannot go on.
    #[error("it ended with an error")]
    Error,
    /// It panicked: a bug in the component.
    #[error("it panicked")]
    Panicked,
    /// It ended although its input had not.
    #[error("it ended before its input did")]
    EndedEarly,
}

/// How a pipeline ended. Everything but the first two is a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// All sources ended by themselves, and everything is settled.
    Finished,
    /// Stopped on request, and everything is settled.
    Stopped,
    /// The stop took longer than its limit; what was left was killed.
    TimedOut {
        /// Events that no destination had.
        not_delivered: u64,
        /// What was killed.
        remaining_components: Vec<ComponentKey>,
    },
    /// A second request to stop, or one to stop now; everything was killed.
    Aborted {
        /// Events that no destination had.
        not_delivered: u64,
        /// What was killed.
        remaining_components: Vec<ComponentKey>,
    },
    /// A component failed; the others drained as far as they could.
    ComponentFailed {
        /// The component; if several failed, the one furthest down the stream.
        component: ComponentKey,
        /// What it is.
        kind: ComponentKind,
        /// Why.
        failure: Failure,
        /// Events that no destination had.
        not_delivered: u64,
    },
    /// Every component ended well, and yet the books show events without a fate: a bug in a component.
    Unsettled {
        /// Events without a fate.
        not_delivered: u64,
    },
}

impl Outcome {
    /// Whether everything taken was settled and nothing failed.
    #[must_use]
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Finished | Self::Stopped)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finished => write!(formatter, "all sources have finished and all events are settled"),
            Self::Stopped => write!(formatter, "stopped; all events are settled"),
            Self::TimedOut { not_delivered, remaining_components } => write!(
                formatter,
                "the stop took longer than its limit: {not_delivered} events were not delivered; \
                 killed components: {}",
                join(remaining_components)
            ),
            Self::Aborted { not_delivered, remaining_components } => write!(
                formatter,
                "ended at once as asked: {not_delivered} events were not delivered; killed components: {}",
                join(remaining_components)
            ),
            Self::ComponentFailed { component, kind, failure, not_delivered } => write!(
                formatter,
                "{} \"{component}\" failed: {failure}; {not_delivered} events were not delivered",
                kind.as_str()
            ),
            Self::Unsettled { not_delivered } => write!(
                formatter,
                "all components ended, but {not_delivered} events have no fate: a component does not settle its events"
            ),
        }
    }
}

fn join(components: &[ComponentKey]) -> String {
    components.iter().map(ComponentKey::id).collect::<Vec<_>>().join(", ")
}

struct Component {
    key: ComponentKey,
    kind: ComponentKind,
    abort: AbortHandle,
}

/// All tasks of a pipeline.
pub struct RunningTopology {
    tasks: JoinSet<Result<(), Failure>>,
    /// Those that still run.
    components: HashMap<Id, Component>,
    failures: Vec<(ComponentKind, ComponentKey, Failure)>,
    trigger: ShutdownTrigger,
    ledger: Ledger,
    gauges: Gauges,
    health: Option<AbortOnDropHandle<Vec<HealthReport>>>,
}

impl RunningTopology {
    pub(crate) fn new(trigger: ShutdownTrigger, ledger: Ledger, gauges: Gauges) -> Self {
        Self {
            tasks: JoinSet::new(),
            components: HashMap::new(),
            failures: Vec::new(),
            trigger,
            ledger,
            gauges,
            health: None,
        }
    }

    pub(crate) fn spawn(
        &mut self,
        kind: ComponentKind,
        key: ComponentKey,
        task: impl Future<Output = Result<(), Failure>> + Send + 'static,
    ) {
        let abort = self.tasks.spawn(LostUnlessDone::new(task));
        self.components.insert(abort.id(), Component { key, kind, abort });
    }

    pub(crate) fn keep_health_checks(&mut self, checks: AbortOnDropHandle<Vec<HealthReport>>) {
        self.health = Some(checks);
    }

    /// The pipeline's books.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Runs until all sources have ended by themselves and everything is settled, or until a stop.
    ///
    /// The first [`Stop::Graceful`] tells the sources to stop taking; they then wait for their pending
    /// acknowledgements while the queues drain. `limit` bounds that (`None`: no bound); at the limit, and on any
    /// further request, what still runs is killed, sources first, so that none of them takes a killed event for
    /// a delivered one. A failed component counts as a request to stop.
    ///
    /// Sources that end by themselves start no limit: what they gave is drained however long that takes.
    ///
    /// A dropped call kills everything.
    pub async fn run(mut self, stops: impl Stream<Item = Stop>, limit: Option<Duration>) -> Outcome {
        let mut stops = std::pin::pin!(stops.fuse());
        let mut gauges = tokio::time::interval(GAUGE_PERIOD);
        gauges.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut progress = tokio::time::interval(PROGRESS_PERIOD);
        progress.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stage = Stage::Running;
        loop {
            let deadline = stage.deadline();
            tokio::select! {
                // A request to stop is never starved by components that end one after the other.
                biased;
                Some(stop) = stops.next() => {
                    if stop == Stop::Now || matches!(stage, Stage::Stopping { .. }) {
                        return self.abort().await;
                    }
                    stage = self.stop(limit);
                    progress.reset();
                }
                ended = self.tasks.join_next_with_id() => {
                    let Some(ended) = ended else { break };
                    let failed = self.note(ended);
                    if failed && !matches!(stage, Stage::Stopping { .. }) {
                        stage = self.stop(limit);
                        progress.reset();
                    }
                    if matches!(stage, Stage::Running) && !self.has_sources() {
                        tracing::info!("All sources have finished.");
                        stage = Stage::Draining;
                        progress.reset();
                    }
                }
                () = tokio::time::sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                    return self.time_out().await;
                }
                _ = progress.tick(), if !matches!(stage, Stage::Running) => self.tell_progress(&stage),
                _ = gauges.tick() => self.gauges.report(),
            }
        }
        self.gauges.report();
        let not_delivered = self.ledger.balance().held;
        let outcome = match self.root_failure() {
            Some((kind, component, failure)) => {
                Outcome::ComponentFailed { component, kind, failure, not_delivered }
            }
            None if not_delivered > 0 => Outcome::Unsettled { not_delivered },
            None if matches!(stage, Stage::Stopping { .. }) => Outcome::Stopped,
            None => Outcome::Finished,
        };
        if outcome.is_success() {
            tracing::info!("All components shut down gracefully.");
        } else {
            tracing::error!(not_delivered, "The pipeline failed: {outcome}.");
        }
        outcome
    }

    fn stop(&self, limit: Option<Duration>) -> Stage {
        self.trigger.trigger();
        Stage::Stopping { deadline: limit.and_then(|limit| Instant::now().checked_add(limit)) }
    }

    fn has_sources(&self) -> bool {
        self.components.values().any(|component| component.kind == ComponentKind::Source)
    }

    /// Notes how a task ended; whether it failed.
    fn note(&mut self, ended: Result<(Id, Result<(), Failure>), tokio::task::JoinError>) -> bool {
        let (id, result) = match ended {
            Ok(ended) => ended,
            // Killed tasks are no failures of theirs.
            Err(error) => (error.id(), if error.is_panic() { Err(Failure::Panicked) } else { Ok(()) }),
        };
        let Some(component) = self.components.remove(&id) else { return false };
        let Err(failure) = result else { return false };
        tracing::error!(
            component_id = %component.key,
            component_kind = component.kind.as_str(),
            error = %failure,
            "A component failed; stopping the pipeline."
        );
        self.failures.push((component.kind, component.key, failure));
        true
    }

    /// The first failure of those furthest down the stream: a component whose consumer is gone fails because of that.
    fn root_failure(&self) -> Option<(ComponentKind, ComponentKey, Failure)> {
        let furthest = self.failures.iter().map(|(kind, ..)| *kind).max()?;
        self.failures.iter().find(|(kind, ..)| *kind == furthest).cloned()
    }

    fn remaining(&self) -> Vec<ComponentKey> {
        let mut keys: Vec<_> = self.components.values().map(|component| component.key.clone()).collect();
        keys.sort();
        keys
    }

    fn tell_progress(&self, stage: &Stage) {
        let time_remaining = match stage.deadline() {
            Some(deadline) => {
                format!("{} seconds left", deadline.saturating_duration_since(Instant::now()).as_secs())
            }
            None => "no time limit".to_owned(),
        };
        tracing::info!(
            remaining_components = join(&self.remaining()),
            time_remaining,
            held = self.ledger.balance().held,
            "Shutting down... Waiting on running components."
        );
    }

    async fn time_out(mut self) -> Outcome {
        let remaining_components = self.remaining();
        self.kill().await;
        let not_delivered = self.ledger.balance().held;
        tracing::error!(
            remaining_components = join(&remaining_components),
            not_delivered,
            "Failed to gracefully shut down in time. Killing components."
        );
        match self.root_failure() {
            Some((kind, component, failure)) => {
                Outcome::ComponentFailed { component, kind, failure, not_delivered }
            }
            None => Outcome::TimedOut { not_delivered, remaining_components },
        }
    }

    async fn abort(mut self) -> Outcome {
        let remaining_components = self.remaining();
        self.kill().await;
        let not_delivered = self.ledger.balance().held;
        tracing::error!(
            remaining_components = join(&remaining_components),
            not_delivered,
            "Ended at once, as asked."
        );
        Outcome::Aborted { not_delivered, remaining_components }
    }

    /// Drops what still runs: first the sources, so that they hear of no fate that a kill decides.
    async fn kill(&mut self) {
        self.trigger.trigger();
        for sources in [true, false] {
            let doomed = |component: &Component| (component.kind == ComponentKind::Source) == sources;
            self.components.values().filter(|component| doomed(component)).for_each(|one| one.abort.abort());
            let ended = async {
                while self.components.values().any(doomed) {
                    let Some(ended) = self.tasks.join_next_with_id().await else { break };
                    self.note(ended);
                }
            };
            if tokio::time::timeout(KILL_WAIT, ended).await.is_err() {
                tracing::warn!(
                    remaining_components = join(&self.remaining()),
                    "Some components block their threads and were left behind."
                );
            }
        }
    }
}

/// Where in its life a pipeline is.
enum Stage {
    /// Sources run.
    Running,
    /// Sources ended by themselves; the rest drains.
    Draining,
    /// Sources were told to stop.
    Stopping { deadline: Option<Instant> },
}

impl Stage {
    fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Stopping { deadline } => *deadline,
            Self::Running | Self::Draining => None,
        }
    }
}
