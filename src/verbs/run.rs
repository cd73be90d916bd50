//! `run`: a pipeline from configuration files, until its sources end or a signal comes.
//! In: files, signals. Out: log lines and a live status on standard error, one accounting line at the end.
//! Exit: 0 when everything is settled, 1 when something failed or was left, 78 for a wrong configuration.

use std::num::NonZeroU64;
use std::time::Duration;

use afluente::pipeline::accounting::Ledger;
use afluente::pipeline::component::ExtraContext;
use afluente::pipeline::config::Config;
use afluente::pipeline::topology::{StartError, Stop, Topology};
use clap::parser::ValueSource;
use clap::{ArgMatches, Args};
use futures::Stream;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use crate::api::Api;
use crate::cli::ConfigArgs;
use crate::exit::{Exit, tell};
use crate::{status, terminal};

/// Options of `run`.
#[derive(Args, Debug)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Does not start unless every health check passes.
    #[arg(short, long, env = "AFLUENTE_REQUIRE_HEALTHY", num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    require_healthy: Option<bool>,
    /// How long a stop may take before what is left is dropped and counted.
    #[arg(long, env = "AFLUENTE_GRACEFUL_SHUTDOWN_LIMIT_SECS", default_value = "60", value_name = "SECONDS")]
    graceful_shutdown_limit_secs: NonZeroU64,
    /// Lets a stop take as long as it takes.
    #[arg(
        long,
        env = "AFLUENTE_NO_GRACEFUL_SHUTDOWN_LIMIT",
        conflicts_with = "graceful_shutdown_limit_secs"
    )]
    no_graceful_shutdown_limit: bool,
}

/// Whether options of `run` stand on the command line before a verb, where nobody would read them.
pub(crate) fn given_before_the_verb(matches: &ArgMatches) -> bool {
    let ids = [
        "config",
        "config_dir",
        "config_yaml",
        "config_toml",
        "config_json",
        "require_healthy",
        "graceful_shutdown_limit_secs",
        "no_graceful_shutdown_limit",
    ];
    ids.into_iter().any(|id| matches.value_source(id) == Some(ValueSource::CommandLine))
}

/// Runs a pipeline.
pub(crate) async fn run(args: RunArgs) -> Exit {
    let mut config = match args.config.load_or_tell() {
        Ok(loaded) => loaded.config,
        Err(exit) => return exit,
    };
    if let Some(required) = args.require_healthy {
        config.healthchecks.require_healthy = required;
    }
    let limit = (!args.no_graceful_shutdown_limit)
        .then(|| Duration::from_secs(args.graceful_shutdown_limit_secs.get()));
    run_config(&config, &Ledger::default(), limit).await
}

/// Runs what was loaded; `ledger` keeps the books, `limit` is how long a stop may take.
pub(crate) async fn run_config(config: &Config, ledger: &Ledger, limit: Option<Duration>) -> Exit {
    let mut stops = match Signals::listen() {
        Ok(stops) => stops,
        Err(error) => {
            tell(format_args!("x signals cannot be listened to: {error}"));
            return Exit::Failed;
        }
    };
    // Before the topology: metrics that are made without a recorder are lost.
    let api = if config.api.enabled {
        match Api::start(config.api.address, ledger.clone()).await {
            Ok(api) => Some(api),
            Err(sentence) => {
                tell(format_args!("x {sentence}"));
                return Exit::Config;
            }
        }
    } else {
        None
    };
    let topology = match Topology::build(config, ExtraContext::default(), ledger.clone()).await {
        Ok(topology) => topology,
        Err(sentences) => {
            sentences.iter().for_each(|sentence| tell(format_args!("x {sentence}")));
            return Exit::Config;
        }
    };
    let running = tokio::select! {
        started = topology.start() => match started {
            Ok(running) => running,
            Err(StartError::Unhealthy(reports)) => {
                for report in reports {
                    if let Err(sentence) = report.result {
                        tell(format_args!("x Sink \"{}\": {sentence}", report.sink));
                    }
                }
                return Exit::Config;
            }
        },
        // Health checks that the start waits for may take a while.
        _ = stops.0.recv() => {
            tell("Stopped before the pipeline was started.");
            return Exit::Done;
        }
    };
    let live = status::show(ledger.clone());
    let outcome = running.run(stops.into_stream(api.as_ref()), limit).await;
    drop(live);
    terminal::set_status("");
    if let Some(api) = &api {
        api.stopping();
    }
    if !outcome.is_success() {
        tell(format_args!("x The pipeline failed: {outcome}."));
    }
    tell(status::accounting(&ledger.balance()));
    if outcome.is_success() { Exit::Done } else { Exit::Failed }
}

/// Signals as requests to stop.
struct Signals(mpsc::UnboundedReceiver<Stop>);

impl Signals {
    fn listen() -> std::io::Result<Self> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut quit = signal(SignalKind::quit())?;
        let mut hangup = signal(SignalKind::hangup())?;
        tokio::spawn(async move {
            loop {
                let (name, stop) = tokio::select! {
                    true = next(&mut interrupt) => ("SIGINT", Stop::Graceful),
                    true = next(&mut terminate) => ("SIGTERM", Stop::Graceful),
                    true = next(&mut quit) => ("SIGQUIT", Stop::Now),
                    true = next(&mut hangup) => {
                        tracing::warn!("SIGHUP: reloading is not supported yet; the configuration stays as it is.");
                        continue;
                    }
                    else => return,
                };
                tracing::info!(signal = name, "Signal received.");
                if sender.send(stop).is_err() {
                    return;
                }
            }
        });
        Ok(Self(receiver))
    }

    /// The first request also turns the API's health.
    fn into_stream(mut self, api: Option<&Api>) -> impl Stream<Item = Stop> {
        futures::stream::poll_fn(move |context| {
            let polled = self.0.poll_recv(context);
            if let (std::task::Poll::Ready(Some(_)), Some(api)) = (&polled, api) {
                api.stopping();
            }
            polled
        })
    }
}

async fn next(signal: &mut Signal) -> bool {
    signal.recv().await.is_some()
}
