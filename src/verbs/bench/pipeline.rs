//! Pipeline: the process that is measured: `run`, with its sinks pointed at the sink-hole.
//! In: a configuration, the user's or a built-in one; events on standard input. Out: samples of itself, a JSON object a line, to who asked.
//! Never: sends anything elsewhere than to the sink-hole: address and credentials of every Kinesis sink are replaced.

use std::fmt::Write as _;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use afluente::pipeline::accounting::Ledger;
use afluente::pipeline::component::NamedComponent;
use afluente::pipeline::config::{Config, Format, LoadOptions, load_from_str};
use afluente::sink::kinesis::KinesisSinkConfig;
use afluente::transforms::profile_export::{Mapper, ProfileExportConfig};
use clap::Args;
use serde_json::json;

use super::bare::Bare;
use super::sample::{Process, Sample};
use crate::cli::ConfigArgs;
use crate::exit::{Exit, tell};
use crate::loading::error_line;
use crate::verbs::run::run_config;

/// How often a sample is taken.
const SAMPLE_EVERY: Duration = Duration::from_millis(100);
/// How long the end of a run may take once its input has ended on request.
const DRAIN_LIMIT: Duration = Duration::from_secs(60);
const REGION: &str = "us-east-1";

/// Which pipeline.
#[derive(Args, Clone, Debug)]
pub(crate) struct PipelineOptions {
    #[command(flatten)]
    config: ConfigArgs,
    /// Without a mapping: lines go to the sink as they are.
    #[arg(long, conflicts_with_all = ["config", "config_dir", "config_yaml", "config_toml", "config_json"])]
    sink_only: bool,
    /// The field of an event that is its partition key. Without it and without a mapping, keys are random.
    #[arg(long, value_name = "FIELD", requires = "sink_only")]
    key_field: Option<String>,
    /// Requests in flight, at most. Without it the sink adapts them.
    #[arg(
        long,
        value_name = "REQUESTS",
        value_parser = clap::value_parser!(u32).range(1..=1024),
        conflicts_with_all = ["config", "config_dir", "config_yaml", "config_toml", "config_json"]
    )]
    in_flight: Option<u32>,
    /// In place of the pipeline the unavoidable steps alone, on one thread and without any promise: the floor of this machine.
    #[arg(
        long,
        conflicts_with_all = ["config", "config_dir", "config_yaml", "config_toml", "config_json", "key_field", "in_flight"]
    )]
    bare: bool,
}

/// Options of the process.
#[derive(Args, Debug)]
pub(crate) struct PipelineArgs {
    #[command(flatten)]
    options: PipelineOptions,
    /// Where the sink-hole listens.
    #[arg(long)]
    endpoint: SocketAddr,
    /// Who wants samples.
    #[arg(long)]
    samples_to: SocketAddr,
}

impl PipelineOptions {
    /// The same as arguments of the process.
    pub(super) fn as_args(&self) -> Vec<std::ffi::OsString> {
        let mut args = self.config.as_args();
        if self.sink_only {
            args.push("--sink-only".into());
        }
        if let Some(field) = &self.key_field {
            args.extend(["--key-field".into(), field.into()]);
        }
        if let Some(requests) = self.in_flight {
            args.extend(["--in-flight".into(), requests.to_string().into()]);
        }
        if self.bare {
            args.push("--bare".into());
        }
        args
    }

    /// What is measured, in words.
    pub(super) fn name(&self) -> String {
        match (self.config.is_empty(), self.sink_only) {
            _ if self.bare => format!("the bare steps{}", if self.sink_only { " of a sink" } else { "" }),
            (false, _) => self.config.names(),
            (true, true) => "stdin, aws_kinesis_streams".to_owned(),
            (true, false) => "stdin, profile_export, aws_kinesis_streams".to_owned(),
        }
    }

    /// The built-in configuration, as a reader would write it.
    fn built_in(&self) -> String {
        let mut text = "sources:\n  in:\n    type: stdin\n".to_owned();
        if self.key_field.is_some() {
            text.push_str("    decoding: {codec: json}\n");
        }
        if !self.sink_only {
            // JSON is YAML as well. Writing to a string cannot fail.
            let _ = write!(
                text,
                "transforms:\n  export:\n    type: profile_export\n    inputs: [in]\n    \
                 attributes: {ATTRIBUTES}\n    segments: {SEGMENTS}\n"
            );
        }
        let (input, codec) = match (self.sink_only, &self.key_field) {
            (false, _) => ("export", "json"),
            (true, Some(_)) => ("in", "json"),
            (true, None) => ("in", "text"),
        };
        let _ = write!(
            text,
            "sinks:\n  kinesis:\n    type: aws_kinesis_streams\n    inputs: [{input}]\n    \
             stream_name: bench\n    encoding: {{codec: {codec}}}\n"
        );
        if let Some(field) = &self.key_field {
            let _ = writeln!(text, "    partition_key_field: {}", json!(field));
        }
        if let Some(requests) = self.in_flight {
            let _ = writeln!(text, "    request: {{concurrency: {requests}}}");
        }
        text
    }

    fn load(&self) -> Result<Config, Exit> {
        let mut config = if self.config.is_empty() {
            load_from_str(&self.built_in(), Format::Yaml, &|_| None, &LoadOptions::default())
                .map_err(|errors| {
                    errors.iter().for_each(|error| tell(error_line(error)));
                    Exit::Config
                })?
                .config
        } else {
            self.config.load_or_tell()?.config
        };
        match fed(&config) {
            Ok(()) => {}
            Err(sentence) => {
                tell(format_args!("x {sentence}"));
                return Err(Exit::Config);
            }
        }
        // Nobody but the bench looks at this process.
        config.api.enabled = false;
        Ok(config)
    }
}

/// A mapping of about the weight that users have: of 1.56 KB 0.97 KB come out. Its options, in JSON.
const ATTRIBUTES: &str =
    r#"["person.name.firstName", "person.name.lastName", "personalEmail.address", "loyalty.tier"]"#;
const SEGMENTS: &str = r#"[{"id": "72ddd79b-6b0a-4e97-a8d2-112ccd81bd02", "name": "Trail runners"}, {"id": "7841ba61-23c1-4bb3-a495-00d3g5fe1e93", "name": "Cart abandoned"}]"#;

fn mapper() -> Result<Mapper, String> {
    let options = format!(r#"{{"attributes": {ATTRIBUTES}, "segments": {SEGMENTS}}}"#);
    let options = serde_json::from_str(&options).map_err(|error| error.to_string())?;
    ProfileExportConfig::from_json(options)
        .and_then(|config| config.compile())
        .map_err(|error| error.to_string())
}

/// Whether the bench can feed the pipeline.
fn fed(config: &Config) -> Result<(), String> {
    let types: Vec<_> =
        config.sources.iter().map(|(key, source)| (key.id(), source.inner.get_component_name())).collect();
    match types.as_slice() {
        [(_, "stdin")] => Ok(()),
        _ => {
            let found: Vec<_> = types.iter().map(|(key, kind)| format!("`{key}` of type {kind}")).collect();
            Err(format!(
                "bench feeds standard input, so the only source must be of type stdin; there is {}",
                found.join(", ")
            ))
        }
    }
}

/// Points every Kinesis sink at the sink-hole.
fn redirect(config: &mut Config, endpoint: SocketAddr) -> Result<(), String> {
    let auth = serde_json::from_value(json!({"access_key_id": "bench", "secret_access_key": "bench"}))
        .map_err(|error| error.to_string())?;
    let mut redirected = 0;
    for sink in config.sinks.values_mut() {
        let Some(kinesis) = sink.inner.as_any().and_then(|any| any.downcast_ref::<KinesisSinkConfig>())
        else {
            continue;
        };
        let kinesis = KinesisSinkConfig {
            endpoint: Some(format!("http://{endpoint}")),
            region: kinesis.region.clone().or_else(|| Some(REGION.to_owned())),
            auth: Clone::clone(&auth),
            tls: None,
            ..kinesis.clone()
        };
        sink.inner = Box::new(kinesis);
        sink.proxy.enabled = false;
        redirected += 1;
    }
    if redirected == 0 {
        return Err("bench measures sinks of type aws_kinesis_streams, and there is none".to_owned());
    }
    Ok(())
}

/// Runs the pipeline until its input ends.
pub(crate) async fn pipeline(args: PipelineArgs) -> Exit {
    if args.options.bare {
        return bare(&args).unwrap_or_else(|error| {
            tell(format_args!("x the bare steps cannot be measured: {error}"));
            Exit::Failed
        });
    }
    let mut config = match args.options.load() {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    if let Err(sentence) = redirect(&mut config, args.endpoint) {
        tell(format_args!("x {sentence}"));
        return Exit::Config;
    }
    let mut samples = match TcpStream::connect(args.samples_to) {
        Ok(samples) => samples,
        Err(error) => {
            tell(format_args!("x nobody takes samples at {}: {error}", args.samples_to));
            return Exit::Failed;
        }
    };
    let ledger = Ledger::default();
    let sampler = tokio::spawn({
        let (ledger, samples) = (ledger.clone(), samples.try_clone());
        async move {
            let Ok(mut samples) = samples else { return };
            let mut ticks = tokio::time::interval(SAMPLE_EVERY);
            loop {
                ticks.tick().await;
                if send(&Sample::take(&ledger), &mut samples).is_err() {
                    // Whoever started this has gone, and with it the sink-hole.
                    std::process::exit(1);
                }
            }
        }
    });
    let exit = run_config(&config, &ledger, Some(DRAIN_LIMIT)).await;
    sampler.abort();
    let _ = sampler.await;
    let _ = send(&Sample { ended: true, ..Sample::take(&ledger) }, &mut samples);
    exit
}

/// Runs the unavoidable steps alone until their input ends.
fn bare(args: &PipelineArgs) -> std::io::Result<Exit> {
    let mapper = if args.options.sink_only { None } else { Some(mapper().map_err(std::io::Error::other)?) };
    let mut bare = Bare::new(mapper, args.endpoint)?;
    bare.run(&mut std::io::stdin().lock())?;
    let sample = Sample {
        received: bare.sent + bare.skipped,
        delivered: bare.sent,
        skipped: bare.skipped,
        process: Process::read(),
        ended: true,
        ..Sample::default()
    };
    send(&sample, &mut TcpStream::connect(args.samples_to)?)?;
    Ok(Exit::Done)
}

fn send(sample: &Sample, to: &mut TcpStream) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(sample)?;
    line.push(b'\n');
    to.write_all(&line)
}
