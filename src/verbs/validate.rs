//! `validate`: is a configuration right, and would its components start?
//! In: files. Out: Vector's lines on standard output: `√` good, `~` odd, `x` wrong; all mistakes at once.
//! With `--no-environment` nothing but the files is looked at. Exit: 0, or 78.

use std::path::PathBuf;

use afluente::pipeline::accounting::Ledger;
use afluente::pipeline::component::ExtraContext;
use afluente::pipeline::config::Config;
use afluente::pipeline::topology::Topology;
use clap::Args;

use crate::cli::ConfigArgs;
use crate::exit::{Exit, say};
use crate::loading::{error_line, warning_line};

/// Options of `validate`.
#[derive(Args, Debug)]
pub(crate) struct ValidateArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// More configuration files, as with `-c`.
    paths: Vec<PathBuf>,
    /// Looks at the files alone: builds no component, asks no destination.
    #[arg(long)]
    no_environment: bool,
    /// Builds the components, but asks no destination.
    #[arg(long)]
    skip_healthchecks: bool,
    /// Takes warnings for mistakes.
    #[arg(short, long)]
    deny_warnings: bool,
}

/// Validates a configuration.
pub(crate) async fn validate(mut args: ValidateArgs) -> Exit {
    args.config.config.append(&mut args.paths);
    let names = args.config.names();
    let loaded = match args.config.load() {
        Ok(loaded) => loaded,
        Err(errors) => {
            if !args.config.is_empty() {
                say(format_args!("Failed to load {names}"));
            }
            errors.iter().for_each(|error| say(error_line(error)));
            return Exit::Config;
        }
    };
    say(format_args!("√ Loaded {names}"));
    loaded.warnings.iter().for_each(|warning| say(warning_line(warning)));
    let mut good = !args.deny_warnings || loaded.warnings.is_empty();
    if good && !args.no_environment {
        good = environment(&loaded.config, args.skip_healthchecks).await;
    }
    if !good {
        return Exit::Config;
    }
    say("Validated");
    Exit::Done
}

/// Whether the components can be built and their destinations used.
async fn environment(config: &Config, skip_healthchecks: bool) -> bool {
    let mut topology = match Topology::build(config, ExtraContext::default(), Ledger::default()).await {
        Ok(topology) => topology,
        Err(sentences) => {
            sentences.iter().for_each(|sentence| say(format_args!("x {sentence}")));
            return false;
        }
    };
    say("√ Component configuration");
    if skip_healthchecks {
        return true;
    }
    let mut good = true;
    for report in topology.check_health().await {
        match report.result {
            Ok(()) => say(format_args!("√ Health check \"{}\"", report.sink)),
            Err(sentence) => {
                good = false;
                say(format_args!("x Health check for \"{}\" failed: {sentence}", report.sink));
            }
        }
    }
    good
}
