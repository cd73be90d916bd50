//! `demo`: the whole way in one process, in seconds: made-up profile events, the mapping, the sink, a local Kinesis.
//! In: how many events. Out: the configuration it used, three records as they landed, counts, order, rate.
//! Exit: 0; 1 if anything is lost, doubled or out of order.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use afluente::pipeline::accounting::Ledger;
use afluente::pipeline::component::ExtraContext;
use afluente::pipeline::config::{Format, LoadOptions, load_from_str};
use afluente::pipeline::topology::{Outcome, Topology};
use afluente::sources::{DemoProfiles, DemoProfilesOptions};
use clap::Args;
use serde_json::Value;

use crate::exit::{Exit, say, tell};
use crate::local::{LocalKinesis, NewStream, REGION, StoredRecord};
use crate::status::{accounting, grouped};

/// The stream of the demo.
const STREAM: &str = "profiles";
const SHARDS: u32 = 4;
/// Records that are shown.
const SHOWN: usize = 3;
/// Most characters of a record that are shown.
const SHOWN_CHARS: usize = 1200;

/// Options of `demo`.
#[derive(Args, Debug)]
pub(crate) struct DemoArgs {
    /// How many events.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    events: u64,
    /// How many different profiles.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    profiles: u32,
    /// Where the events come from: one seed, the same events.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Runs the demo.
pub(crate) async fn demo(args: DemoArgs) -> Exit {
    match show(&args).await {
        Ok(exit) => exit,
        Err(sentence) => {
            tell(format_args!("x {sentence}"));
            Exit::Failed
        }
    }
}

async fn show(args: &DemoArgs) -> Result<Exit, String> {
    let stream = NewStream { name: STREAM.to_owned(), shards: SHARDS };
    let local = LocalKinesis::start(([127, 0, 0, 1], 0).into(), &[stream]).await?;
    let text = config(args, &local.endpoint());
    say(format_args!("This is the configuration; only the endpoint is made for the demo:\n\n{text}"));

    let ledger = Ledger::default();
    let (outcome, took) = run(&text, &ledger).await?;
    let records = local.read_all(STREAM).await?;

    say(format_args!("{SHOWN} of the {} records as they landed:\n", grouped(records.len() as u64)));
    for record in records.iter().step_by((records.len() / SHOWN).max(1)).take(SHOWN) {
        say(shown(record));
    }
    let audit = Audit::of(args, &records);
    say(format_args!(
        "sent {}   stored {}   lost {}   doubled {}   out of order {}",
        grouped(args.events),
        grouped(records.len() as u64),
        grouped(audit.lost),
        grouped(audit.doubled),
        grouped(audit.out_of_order),
    ));
    say(format_args!(
        "{} profiles on {SHARDS} shards, each in the order of its events: {}",
        grouped(audit.profiles),
        if audit.out_of_order == 0 { "yes" } else { "NO" }
    ));
    say(format_args!(
        "{} events in {:.2} s: {} events/s",
        grouped(args.events),
        took.as_secs_f64(),
        grouped((args.events as f64 / took.as_secs_f64().max(0.001)) as u64)
    ));
    say(accounting(&ledger.balance()));
    if !outcome.is_success() {
        return Err(format!("The pipeline failed: {outcome}."));
    }
    Ok(if audit.is_clean() { Exit::Done } else { Exit::Failed })
}

/// The configuration, as a reader would write it.
fn config(args: &DemoArgs, endpoint: &str) -> String {
    let DemoArgs { events, profiles, seed } = args;
    format!(
        "\
sources:
  events:
    type: demo_profiles
    count: {events}
    profiles: {profiles}
    seed: {seed}

transforms:
  export:
    type: profile_export
    inputs: [events]
    attributes:
      - person.name.firstName
      - personalEmail.address
      - homeAddress.countryCode
      - loyalty.tier
      - _afluente.sequence
    segments:
      - id: 72ddd79b-6b0a-4e97-a8d2-112ccd81bd02
        name: Trail runners
      - id: 7841ba61-23c1-4bb3-a495-00d3g5fe1e93
        name: Cart abandoned
    segment_scope: mapped
    include_segment_names: true

sinks:
  kinesis:
    type: aws_kinesis_streams
    inputs: [export]
    stream_name: {STREAM}
    region: {REGION}
    endpoint: {endpoint}
    auth:
      access_key_id: demo
      secret_access_key: demo
    encoding:
      codec: json
"
    )
}

async fn run(text: &str, ledger: &Ledger) -> Result<(Outcome, Duration), String> {
    let loaded = load_from_str(text, Format::Yaml, &|_| None, &LoadOptions::default())
        .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))?;
    let started = Instant::now();
    let topology = Topology::build(&loaded.config, ExtraContext::default(), ledger.clone())
        .await
        .map_err(|sentences| sentences.join("; "))?;
    let running = topology.start().await.map_err(|error| error.to_string())?;
    let outcome = running.run(futures::stream::pending(), None).await;
    Ok((outcome, started.elapsed()))
}

fn shown(record: &StoredRecord) -> String {
    let data = match serde_json::from_slice::<Value>(&record.data) {
        Ok(value) => serde_json::to_string_pretty(&value).unwrap_or_default(),
        Err(_) => String::from_utf8_lossy(&record.data).into_owned(),
    };
    let cut: String = data.chars().take(SHOWN_CHARS).collect();
    format!("{}  sequence {}  key {}\n{cut}\n", record.shard, record.sequence_number, record.key)
}

/// What became of the events, as the shards tell it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Audit {
    profiles: u64,
    lost: u64,
    doubled: u64,
    out_of_order: u64,
}

impl Audit {
    /// Compares the records with the events of the same seed, made again.
    fn of(args: &DemoArgs, records: &[StoredRecord]) -> Self {
        let mut expected: HashMap<u32, u64> = HashMap::new();
        let options = DemoProfilesOptions {
            seed: args.seed,
            profiles: args.profiles,
            ..DemoProfilesOptions::default()
        };
        let mut generator = DemoProfiles::new(options);
        let mut event = Vec::new();
        for _ in 0..args.events {
            event.clear();
            *expected.entry(generator.write_event(&mut event).profile).or_default() += 1;
        }
        let mut audit = Self { profiles: expected.len() as u64, ..Self::default() };
        let mut seen: HashMap<u32, Vec<u64>> = HashMap::new();
        for record in records {
            if let Some((profile, sequence)) = identify(&record.data) {
                seen.entry(profile).or_default().push(sequence);
            }
        }
        for (profile, count) in expected {
            let mut sequences = seen.remove(&profile).unwrap_or_default();
            audit.out_of_order += sequences.windows(2).filter(|pair| pair[1] < pair[0]).count() as u64;
            let stored = sequences.len() as u64;
            sequences.sort_unstable();
            sequences.dedup();
            let distinct = sequences.iter().filter(|sequence| **sequence < count).count() as u64;
            audit.lost += count - distinct;
            audit.doubled += stored - distinct;
        }
        audit
    }

    fn is_clean(&self) -> bool {
        self.lost == 0 && self.doubled == 0 && self.out_of_order == 0
    }
}

/// The profile and which of its events a record is.
fn identify(data: &[u8]) -> Option<(u32, u64)> {
    let record: Value = serde_json::from_slice(data).ok()?;
    let profile = record["identityMap"]["CRMID"][0]["id"].as_str()?.strip_prefix("crm-")?.parse().ok()?;
    Some((profile, record["_afluente"]["sequence"].as_u64()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARGS: DemoArgs = DemoArgs { events: 40, profiles: 3, seed: 7 };

    fn records() -> Vec<StoredRecord> {
        let options = DemoProfilesOptions { seed: 7, profiles: 3, ..DemoProfilesOptions::default() };
        let mut generator = DemoProfiles::new(options);
        let mut record = || {
            let mut data = Vec::new();
            generator.write_event(&mut data);
            StoredRecord { shard: String::new(), sequence_number: String::new(), key: String::new(), data }
        };
        (0..40).map(|_| record()).collect()
    }

    #[test]
    fn the_audit_finds_what_is_lost_doubled_or_out_of_order() {
        assert_eq!(Audit::of(&ARGS, &records()), Audit { profiles: 3, ..Audit::default() });
        let mut lost = records();
        lost.pop();
        assert_eq!(Audit::of(&ARGS, &lost).lost, 1);
        let mut doubled = records();
        doubled.insert(0, doubled[0].clone());
        assert_eq!(Audit::of(&ARGS, &doubled), Audit { profiles: 3, doubled: 1, ..Audit::default() });
        let mut reversed = records();
        reversed.reverse();
        assert!(Audit::of(&ARGS, &reversed).out_of_order > 0);
    }
}
