//! Command line: verbs and flags, with Vector's names where Vector has them.
//! In: arguments and `AFLUENTE_*` variables. Out: typed options; usage errors are clap's (exit code 2).
//! Without a verb, `run` is meant, as in Vector.

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use crate::verbs;

/// Customer-profile and segment events into Amazon Kinesis: in order, accounted for, bounded.
#[derive(Debug, Parser)]
#[command(name = "afluente", version, about, max_term_width = 100, subcommand_precedence_over_arg = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) log: LogOptions,
    #[command(flatten)]
    pub(crate) run: verbs::run::RunArgs,
    #[command(subcommand)]
    pub(crate) verb: Option<Verb>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Runs a pipeline until its sources end or a signal comes.
    Run(verbs::run::RunArgs),
    /// Says what is wrong with configuration files, all at once.
    Validate(verbs::validate::ValidateArgs),
    /// Asks every sink's destination whether events would arrive, and says what to change if not.
    Check(verbs::check::CheckArgs),
    /// Tries a `profile_export` mapping: a record a line in, exactly one line out for each.
    Map(verbs::map::MapArgs),
    /// Shows the whole way in one process: sample events, the mapping, a local Kinesis, read back and counted.
    Demo(verbs::demo::DemoArgs),
    /// Sends the records of a dead letter file again.
    Redrive(verbs::redrive::RedriveArgs),
    /// Measures a pipeline under load: rate, CPU, latency and memory, against a Kinesis that swallows.
    Bench(verbs::bench::BenchArgs),
    /// The pipeline of `bench`, a process of its own.
    #[command(hide = true)]
    BenchPipeline(verbs::bench::pipeline::PipelineArgs),
    /// The Kinesis of `bench`, a process of its own.
    #[command(hide = true)]
    BenchSinkHole(verbs::bench::sink_hole::SinkHoleArgs),
    /// Prints the JSON Schema of configuration files, for editors.
    GenerateSchema,
    /// Serves a local Kinesis to try things with.
    LocalKinesis(verbs::local_kinesis::LocalKinesisArgs),
}

/// How much is logged, and how.
#[derive(Args, Debug)]
pub(crate) struct LogOptions {
    /// Logs more; twice logs everything.
    #[arg(short, long, action = ArgAction::Count, global = true)]
    pub(crate) verbose: u8,
    /// Logs less; twice logs errors alone, three times nothing.
    #[arg(short, long, action = ArgAction::Count, global = true)]
    pub(crate) quiet: u8,
    /// Which log lines are written, e.g. `info` or `afluente_sink=debug`; beats -v and -q.
    #[arg(long, env = "AFLUENTE_LOG", value_name = "FILTER", global = true, hide_short_help = true)]
    pub(crate) log: Option<String>,
    /// How log lines look.
    #[arg(long, env = "AFLUENTE_LOG_FORMAT", value_enum, default_value_t, global = true)]
    pub(crate) log_format: LogFormat,
    /// Whether log lines have colours.
    #[arg(long, env = "AFLUENTE_COLOR", value_enum, default_value_t, global = true)]
    pub(crate) color: Color,
    /// Threads that work; by default one per processor.
    #[arg(short, long, env = "AFLUENTE_THREADS", value_parser = threads, global = true)]
    pub(crate) threads: Option<usize>,
}

/// Most threads. Chosen: more than any machine has processors for.
const THREADS_MAX: usize = 1024;

fn threads(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(threads @ 1..=THREADS_MAX) => Ok(threads),
        _ => Err(format!("a number of threads is from 1 to {THREADS_MAX}")),
    }
}

/// Text for eyes, JSON for machines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// A line of text.
    #[default]
    Text,
    /// A JSON object a line.
    Json,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Where the configuration is.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ConfigArgs {
    /// Configuration files; globs are allowed. The extension tells the format: yaml, yml, toml, json.
    #[arg(short, long, env = "AFLUENTE_CONFIG", value_delimiter = ',', num_args = 1.., value_name = "FILE")]
    pub(crate) config: Vec<PathBuf>,
    /// Directories of configuration files, merged into one.
    #[arg(short = 'C', long, env = "AFLUENTE_CONFIG_DIR", value_delimiter = ',', value_name = "DIR")]
    pub(crate) config_dir: Vec<PathBuf>,
    /// Configuration files in YAML, whatever their extension.
    #[arg(
        long,
        env = "AFLUENTE_CONFIG_YAML",
        value_delimiter = ',',
        value_name = "FILE",
        hide_short_help = true
    )]
    pub(crate) config_yaml: Vec<PathBuf>,
    /// Configuration files in TOML, whatever their extension.
    #[arg(
        long,
        env = "AFLUENTE_CONFIG_TOML",
        value_delimiter = ',',
        value_name = "FILE",
        hide_short_help = true
    )]
    pub(crate) config_toml: Vec<PathBuf>,
    /// Configuration files in JSON, whatever their extension.
    #[arg(
        long,
        env = "AFLUENTE_CONFIG_JSON",
        value_delimiter = ',',
        value_name = "FILE",
        hide_short_help = true
    )]
    pub(crate) config_json: Vec<PathBuf>,
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_of_the_log_stand_before_or_after_the_verb() {
        for line in ["afluente -v run -c a.yaml b.yaml", "afluente run -c a.yaml -c b.yaml -v"] {
            let Ok(cli) = Cli::try_parse_from(line.split(' ')) else { panic!("{line}") };
            assert_eq!(cli.log.verbose, 1);
            let Some(Verb::Run(run)) = cli.verb else { panic!("{line}") };
            assert_eq!(run.config.config.len(), 2);
        }
    }

    #[test]
    fn without_a_verb_a_pipeline_is_run() {
        let Ok(cli) = Cli::try_parse_from(["afluente", "-c", "a.yaml"]) else { panic!() };
        assert!(cli.verb.is_none());
        assert_eq!(cli.run.config.config, [PathBuf::from("a.yaml")]);
    }

    #[test]
    fn no_thread_is_no_number_of_threads() {
        assert!(Cli::try_parse_from(["afluente", "run", "-t", "0"]).is_err());
    }
}
