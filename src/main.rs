//! The program: reads the command line, starts logging and a runtime, and does what the verb says.
//! In: arguments. Out: data on standard output, words on standard error, an exit code (see `exit`).
//! `cli` has the flags; `verbs` a file each; `loading` the way to a configuration; `api` what a running pipeline
//! serves; `local` the embedded Kinesis; `logging` and `terminal` standard error.

#![forbid(unsafe_code)]

mod api;
mod cli;
mod exit;
mod loading;
mod local;
mod logging;
mod status;
mod terminal;
mod verbs;

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches};

use crate::cli::{Cli, Verb};
use crate::exit::{Exit, tell, tell_of_panics};

fn main() -> ExitCode {
    afluente::link();
    tell_of_panics();
    // What panics in the verb itself; tasks of a pipeline are watched by their topology.
    std::panic::catch_unwind(start).unwrap_or(Exit::Failed).into()
}

fn start() -> Exit {
    let matches = Cli::command().get_matches();
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    if cli.verb.is_some() && verbs::run::given_before_the_verb(&matches) {
        let message = "options of a verb are written after it: `afluente run -c FILE`";
        Cli::command().error(ErrorKind::ArgumentConflict, message).exit();
    }
    // Verbs whose output is a report say less beside it.
    let level = match &cli.verb {
        None | Some(Verb::Run(_)) => 0,
        Some(Verb::LocalKinesis(_) | Verb::GenerateSchema) => 0,
        Some(Verb::Validate(_) | Verb::Check(_)) => -3,
        Some(Verb::Map(_) | Verb::Demo(_) | Verb::Redrive(_)) => -1,
        Some(Verb::Bench(_) | Verb::BenchPipeline(_) | Verb::BenchSinkHole(_)) => -1,
    };
    if let Err(sentence) = logging::start(&cli.log, level) {
        Cli::command().error(ErrorKind::InvalidValue, sentence).exit();
    }
    if let Some(Verb::Map(args)) = &cli.verb {
        return verbs::map::map(args);
    }
    if let Some(Verb::GenerateSchema) = &cli.verb {
        exit::say(format_args!("{:#}", afluente::pipeline::config::json_schema()));
        return Exit::Done;
    }
    if let Some(Verb::BenchSinkHole(args)) = &cli.verb {
        return verbs::bench::sink_hole::sink_hole(args);
    }
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = cli.log.threads {
        builder.worker_threads(threads);
    }
    let runtime = match builder.enable_all().thread_name("afluente").build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tell(format_args!("x no threads could be started: {error}"));
            return Exit::Failed;
        }
    };
    let exit = runtime.block_on(async {
        match cli.verb {
            None => verbs::run::run(cli.run).await,
            Some(Verb::Run(args)) => verbs::run::run(args).await,
            Some(Verb::Validate(args)) => verbs::validate::validate(args).await,
            Some(Verb::Check(args)) => verbs::check::check(args).await,
            // Those that need no runtime are done already.
            Some(Verb::Map(_) | Verb::GenerateSchema | Verb::BenchSinkHole(_)) => Exit::Done,
            Some(Verb::Demo(args)) => verbs::demo::demo(args).await,
            Some(Verb::Bench(args)) => verbs::bench::bench(args, cli.log.threads).await,
            Some(Verb::BenchPipeline(args)) => verbs::bench::pipeline::pipeline(args).await,
            Some(Verb::Redrive(args)) => verbs::redrive::redrive(args).await,
            Some(Verb::LocalKinesis(args)) => verbs::local_kinesis::local_kinesis(args).await,
        }
    });
    terminal::set_status("");
    // A thread that waits for standard input does not keep the process.
    runtime.shutdown_background();
    exit
}
