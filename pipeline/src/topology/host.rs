//! Host: from a configuration to the end of its pipeline in one call, for programs and tests that need no more.
//! In: a configuration or its text, requests to stop. Out: how the pipeline ended, or what kept it from starting.

use std::time::Duration;

use futures::Stream;

use super::builder::{StartError, Topology};
use super::running::{Outcome, Stop};
use crate::accounting::Ledger;
use crate::component::ExtraContext;
use crate::config::{Config, Format, LoadOptions, load_from_str};

/// Why a pipeline did not start. Each is a matter of configuration: exit code 78.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The text is no valid configuration; all mistakes, one sentence each.
    #[error("{}", .0.join("\n"))]
    Config(Vec<String>),
    /// Components could not be built; one sentence each.
    #[error("{}", .0.join("\n"))]
    Build(Vec<String>),
    /// A health check failed that was required.
    #[error(transparent)]
    Start(#[from] StartError),
}

/// How [`run`] and [`run_text`] go about it.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// What all components are handed.
    pub extra: ExtraContext,
    /// Keeps the books; clones of it can be looked at while the pipeline runs and afterwards.
    pub ledger: Ledger,
    /// The longest that a requested stop may take; `None`: no bound.
    pub shutdown_limit: Option<Duration>,
}

/// Runs the pipeline of `config` until it ends by itself or by `stops`.
///
/// # Errors
/// When it could not be started.
pub async fn run(
    config: &Config,
    options: RunOptions,
    stops: impl Stream<Item = Stop>,
) -> Result<Outcome, RunError> {
    let topology = Topology::build(config, options.extra, options.ledger).await.map_err(RunError::Build)?;
    Ok(topology.start().await?.run(stops, options.shutdown_limit).await)
}

/// As [`run`], for the text of a configuration. Environment variables are those of the process; warnings are logged.
///
/// # Errors
/// When the text has mistakes or the pipeline could not be started.
pub async fn run_text(
    text: &str,
    format: Format,
    options: RunOptions,
    stops: impl Stream<Item = Stop>,
) -> Result<Outcome, RunError> {
    let env = |name: &str| std::env::var(name).ok();
    let loaded = load_from_str(text, format, &env, &LoadOptions::default())
        .map_err(|errors| RunError::Config(errors.iter().map(ToString::to_string).collect()))?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    run(&loaded.config, options, stops).await
}
