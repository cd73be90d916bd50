//! `check`: would events arrive, and if not, what must be changed?
//! In: a configuration. Out: one sentence for each thing looked at, on standard output: `√`, `~` or `x`.
//! Never: writes to a stream. Exit: 0 only when all is well, 1 when something is wrong or cannot be known, 78 for the configuration.

use afluente::pipeline::component::{ComponentKey, NamedComponent, SinkContext};
use afluente::pipeline::config::{Config, SinkOuter};
use afluente::sink::kinesis::KinesisSinkConfig;
use afluente::sink::kinesis::health::{self, Standing, iam_policy};
use afluente::sink::kinesis::put::KinesisClient;
use clap::Args;
use futures::StreamExt;
use futures::stream::FuturesOrdered;
use serde_json::Value;

use crate::cli::ConfigArgs;
use crate::exit::{Exit, say, tell};

/// Options of `check`.
#[derive(Args, Debug)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Prints the least that the credentials must be allowed, as an IAM policy, and asks nobody.
    #[arg(long)]
    iam_policy: bool,
}

/// Checks all sinks.
pub(crate) async fn check(args: CheckArgs) -> Exit {
    let config = match args.config.load_or_tell() {
        Ok(loaded) => loaded.config,
        Err(exit) => return exit,
    };
    if args.iam_policy {
        return print_policy(&config).await;
    }
    let mut reports: FuturesOrdered<_> =
        config.sinks.iter().map(|(key, sink)| check_sink(&config, key, sink)).collect();
    let mut all_good = true;
    while let Some(lines) = reports.next().await {
        for (good, line) in lines {
            all_good &= good;
            say(line);
        }
    }
    if all_good { Exit::Done } else { Exit::Failed }
}

fn context(config: &Config, key: &ComponentKey, sink: &SinkOuter) -> SinkContext {
    SinkContext {
        key: key.clone(),
        // Whoever asks wants an answer, also from a sink that does without at start.
        healthcheck: afluente::pipeline::config::SinkHealthcheckOptions {
            enabled: true,
            ..sink.healthcheck.clone()
        },
        globals: config.global.clone(),
        proxy: sink.proxy.clone(),
        buffer: sink.buffer.clone(),
        ..SinkContext::default()
    }
}

fn kinesis(sink: &SinkOuter) -> Option<&KinesisSinkConfig> {
    sink.inner.as_any()?.downcast_ref()
}

/// What was found, as lines; whether each is good.
async fn check_sink(config: &Config, key: &ComponentKey, sink: &SinkOuter) -> Vec<(bool, String)> {
    let context = context(config, key, sink);
    let limit = context.healthcheck.timeout;
    if let Some(kinesis) = kinesis(sink) {
        let client = match KinesisClient::new(kinesis.client_settings(&context)).await {
            Ok(client) => client,
            Err(error) => return vec![(false, format!("x sinks.{key}: {error}"))],
        };
        return health::check(&client, &kinesis.stream_name, limit)
            .await
            .findings
            .into_iter()
            .map(|finding| {
                let (good, mark) = match finding.standing {
                    Standing::Well => (true, '√'),
                    Standing::Note => (true, '~'),
                    Standing::Corrected | Standing::Unproven | Standing::Wrong => (false, 'x'),
                };
                (good, format!("{mark} sinks.{key}: {}", finding.sentence))
            })
            .collect();
    }
    let name = sink.inner.get_component_name();
    let line = match sink.inner.build(context).await {
        Err(error) => (false, format!("x sinks.{key}: {error}")),
        Ok((_, check)) => match tokio::time::timeout(limit, check).await {
            Ok(Ok(())) => (true, format!("√ sinks.{key}: {name} is ready")),
            Ok(Err(error)) => (false, format!("x sinks.{key}: {error}")),
            Err(_) => (
                false,
                format!(
                    "x sinks.{key}: no answer within {} seconds; raise `healthcheck.timeout` if the destination is slow",
                    limit.as_secs_f64()
                ),
            ),
        },
    };
    vec![line]
}

/// One policy for all Kinesis sinks.
async fn print_policy(config: &Config) -> Exit {
    let mut policy: Option<Value> = None;
    for (key, sink) in &config.sinks {
        let Some(kinesis) = kinesis(sink) else { continue };
        let region = match &kinesis.region {
            Some(region) => region.clone(),
            // The environment or a profile may say it; a policy for any region is the fallback.
            None => match KinesisClient::new(kinesis.client_settings(&context(config, key, sink))).await {
                Ok(client) => client.endpoint().region.clone(),
                Err(_) => "*".to_owned(),
            },
        };
        let text = iam_policy(&kinesis.stream_name, &region, None);
        let Ok(mut one) = serde_json::from_str::<Value>(&text) else { continue };
        match &mut policy {
            None => policy = Some(one),
            Some(all) => merge(all, &mut one),
        }
    }
    match policy.and_then(|policy| serde_json::to_string_pretty(&policy).ok()) {
        Some(text) => {
            say(text);
            Exit::Done
        }
        None => {
            tell("x no sink of type aws_kinesis_streams is configured, so there is no policy to print");
            Exit::Config
        }
    }
}

/// Adds the resources of `one` to the statements of `all` that have the same name.
fn merge(all: &mut Value, one: &mut Value) {
    let statements = one["Statement"].as_array_mut().map(std::mem::take).unwrap_or_default();
    let Some(known) = all["Statement"].as_array_mut() else { return };
    for mut statement in statements {
        let Some(same) = known.iter_mut().find(|known| known["Sid"] == statement["Sid"]) else {
            known.push(statement);
            continue;
        };
        let new = statement["Resource"].as_array_mut().map(std::mem::take).unwrap_or_default();
        if let Some(resources) = same["Resource"].as_array_mut() {
            for resource in new {
                if !resources.contains(&resource) {
                    resources.push(resource);
                }
            }
        }
    }
}
