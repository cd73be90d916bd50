//! Health: would a record arrive, and if not, what must be changed?
//! In: a client and a stream's name. Out: findings, one sentence each.
//! Needs `kinesis:PutRecords` alone; `kinesis:ListStreams` only makes the sentences better.
//! Never: writes to the stream. The probe asks for a dry run, and wherever that might be unknown it also carries a
//! hash key that no shard owns. At a start nobody but AWS gets a record to refuse.
//! The words are in `sentences`; they are a pure function of what came back.

mod sentences;
#[cfg(test)]
mod tests;

use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;

use self::sentences::{Scene, judge_clock, judge_list, judge_probe};
use super::{
    http::FailureKind,
    put::{Attempt, Failure, KinesisClient, partition_name},
    verdict::{Trouble, trouble},
};

/// What PutRecords is asked; nothing of it may be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Probe {
    /// A dry run of one record.
    DryRun,
    /// The same with a hash key that no shard owns: for endpoints that may not know dry runs.
    HashKey,
    /// No record at all, which no endpoint can store. Proves the way, the clock and the key, not the right to write.
    Nothing,
}

/// 2^128: the first number that is not a hash key. Has the 39 digits that the pattern of the parameter allows, so that
/// it is refused only after the stream was found.
const HASH_KEY_OF_NO_SHARD: &str = "340282366920938463463374607431768211456";
/// The probe's partition key: what a reader would see if an endpoint stored the probe against all rules.
const PROBE_KEY: &str = "afluente-check";
/// Names that are read at most to suggest one for a stream that does not exist. A page has 100; five calls a second are
/// allowed an account.
const LIST_NAMES_MAX: usize = 1_000;

/// Waits before the probe is sent once more, while it may go better. Chosen, not measured.
const WAITS: [Duration; 3] = [Duration::ZERO, Duration::from_millis(500), Duration::from_secs(2)];

/// What was found, in the order of asking.
#[derive(Clone, Debug, PartialEq)]
pub struct Health {
    /// At least one finding.
    pub findings: Vec<Finding>,
}

impl Health {
    /// True if records will arrive, as far as can be known without writing one.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.findings.iter().all(|finding| matches!(finding.standing, Standing::Well | Standing::Note))
    }
}

/// How what was looked at stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// As it should.
    Well,
    /// Well, but the user should know about this.
    Note,
    /// Wrong, but a running sink makes up for it. A pipeline starts; a check does not pass.
    Corrected,
    /// Nothing is known to be wrong, but that records will arrive is not proven. A pipeline starts; a check does not pass.
    Unproven,
    /// Records will not arrive, or something must be put right first.
    Wrong,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// How it stands.
    pub standing: Standing,
    /// What was looked at: a right like `kinesis:PutRecords`, or `clock`.
    pub what: &'static str,
    /// One sentence for the user: what is right, or what is wrong and what to change.
    pub sentence: String,
}

/// Looks whether records would arrive in `stream`, each call bounded by `limit`.
pub async fn check(client: &KinesisClient, stream: &str, limit: Duration) -> Health {
    let endpoint = client.endpoint();
    let dry_run_alone = !endpoint.custom && partition_name(&endpoint.region) == "aws";
    look(client, stream, limit, if dry_run_alone { Probe::DryRun } else { Probe::HashKey }).await
}

/// As [`check`], for a start, where nobody has asked and nobody reads a warning: an endpoint that is not AWS's gets no record,
/// so that also one that keeps to no rule stores nothing, and less is found out.
pub async fn check_at_start(client: &KinesisClient, stream: &str, limit: Duration) -> Health {
    if client.endpoint().is_aws() {
        return check(client, stream, limit).await;
    }
    look(client, stream, limit, Probe::Nothing).await
}

async fn look(client: &KinesisClient, stream: &str, limit: Duration, probe: Probe) -> Health {
    let endpoint = client.endpoint();
    let mut scene = Scene {
        stream: stream.to_owned(),
        region: endpoint.region.clone(),
        endpoint: endpoint.uri.to_string(),
        custom: endpoint.custom,
        probe,
        streams: None,
    };
    let mut findings = Vec::new();

    let mut put = call(client, "PutRecords", request(stream, probe), limit).await;
    findings.extend(judge_clock(&put));
    for wait in WAITS {
        if !worth_another(&put) {
            break;
        }
        // With corrected time, with credentials loaded anew, or when there is room: what else is wrong shows only then.
        tokio::time::sleep(wait).await;
        put = call(client, "PutRecords", request(stream, probe), limit).await;
    }
    if matches!(put, Attempt::Failed(_)) {
        findings.push(judge_probe(&put, &scene));
        return Health { findings };
    }

    let (list, names) = list_streams(client, stream, limit).await;
    scene.streams = names;
    findings.push(judge_probe(&put, &scene));
    findings.extend(judge_list(&list, &scene));
    Health { findings }
}

fn request(stream: &str, probe: Probe) -> Bytes {
    let records = match probe {
        Probe::DryRun => json!([{"Data": "", "PartitionKey": PROBE_KEY}]),
        Probe::HashKey => {
            json!([{"Data": "", "PartitionKey": PROBE_KEY, "ExplicitHashKey": HASH_KEY_OF_NO_SHARD}])
        }
        Probe::Nothing => json!([]),
    };
    json!({"StreamName": stream, "DryRun": true, "Records": records}).to_string().into()
}

fn worth_another(attempt: &Attempt) -> bool {
    match attempt {
        Attempt::Answer(_) => false,
        Attempt::Refused(refusal) => {
            let throttled = trouble(refusal.status, &refusal.code, &refusal.message) == Trouble::Throttled;
            throttled || refusal.skew.is_some() || refusal.credentials_refused || refusal.status >= 500
        }
        Attempt::Failed(failure) => failure.kind == FailureKind::Reset,
    }
}

async fn call(client: &KinesisClient, operation: &'static str, body: Bytes, limit: Duration) -> Attempt {
    match tokio::time::timeout(limit, client.call(operation, body)).await {
        Ok(attempt) => attempt,
        Err(_) => Attempt::Failed(Failure {
            kind: FailureKind::Timeout,
            may_be_stored: true,
            message: format!("no answer within {limit:?}"),
        }),
    }
}

#[derive(Deserialize)]
struct Page {
    #[serde(rename = "StreamNames")]
    names: Vec<String>,
    #[serde(rename = "HasMoreStreams", default)]
    more: bool,
}

/// Reads names until `stream` is among them, at most [`LIST_NAMES_MAX`]; all or nothing.
async fn list_streams(
    client: &KinesisClient,
    stream: &str,
    limit: Duration,
) -> (Attempt, Option<Vec<String>>) {
    let mut names: Vec<String> = Vec::new();
    loop {
        let mut request = json!({"Limit": 100});
        if let Some(last) = names.last() {
            request["ExclusiveStartStreamName"] = last.as_str().into();
        }
        let attempt = call(client, "ListStreams", request.to_string().into(), limit).await;
        let page = match &attempt {
            Attempt::Answer(body) => serde_json::from_slice::<Page>(body).ok(),
            _ => None,
        };
        let Some(page) = page else { return (attempt, None) };
        let more = page.more && !page.names.is_empty();
        names.extend(page.names);
        if !more || names.len() >= LIST_NAMES_MAX || names.iter().any(|name| name == stream) {
            return (attempt, Some(names));
        }
    }
}

/// The least that this sink must be allowed, as an IAM policy in JSON.
///
/// One statement is needed. The other two are optional: `ListShards` makes the start faster, `ListStreams` makes the
/// check's sentences better. `ListStreams` takes no stream, so its resource must be `*`.
/// Without `account` the stream may be in any account that trusts the caller.
#[must_use]
pub fn iam_policy(stream: &str, region: &str, account: Option<&str>) -> String {
    let arn =
        format!("arn:{}:kinesis:{region}:{}:stream/{stream}", partition_name(region), account.unwrap_or("*"));
    let policy = json!({
        "Version": "2012-10-17",
        "Statement": [
            {"Sid": "Write", "Effect": "Allow", "Action": ["kinesis:PutRecords"], "Resource": [arn]},
            {"Sid": "OptionalFasterStart", "Effect": "Allow", "Action": ["kinesis:ListShards"], "Resource": [arn]},
            {"Sid": "OptionalNamesInChecks", "Effect": "Allow", "Action": ["kinesis:ListStreams"], "Resource": ["*"]}
        ]
    });
    serde_json::to_string_pretty(&policy).unwrap_or_default()
}
