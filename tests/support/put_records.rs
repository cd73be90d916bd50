//! PutRecords and PutRecord: parse, check, route, store, answer.
//! In: a JSON body and the stream.  Out: one verdict a record, or a refusal of the whole request.
//! Holds: the answer's records stand in the request's order; a record is in the ledger exactly if its verdict has a sequence number.
//! Never: waits.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;

use super::answer::{Answer, Refusal};
use super::builder::{DryRun, Naming, NotActive};
use super::ledger::Place;
use super::limits::{ACCOUNT, KEY_CHARS_MAX};
use super::script::{AnswerShape, Asked, RecordFault, mix};
use super::service::Operation;
use super::state::{Shared, State, Visit};
use super::stream::{Distribution, hash_of, sequence_text, shard_id};

/// Text that borrows from the body unless it is escaped.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawEntry<'a> {
    #[serde(borrow)]
    data: Cow<'a, str>,
    #[serde(borrow)]
    partition_key: Option<Text<'a>>,
    #[serde(borrow)]
    explicit_hash_key: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawPutRecords<'a> {
    #[serde(borrow)]
    records: Vec<RawEntry<'a>>,
    #[serde(borrow)]
    stream_name: Option<Text<'a>>,
    #[serde(borrow, rename = "StreamARN")]
    stream_arn: Option<Text<'a>>,
    dry_run: Option<bool>,
}

/// The fields of PutRecord. Not flattened: flattening would copy.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawPutRecord<'a> {
    #[serde(borrow)]
    data: Cow<'a, str>,
    #[serde(borrow)]
    partition_key: Option<Text<'a>>,
    #[serde(borrow)]
    explicit_hash_key: Option<Text<'a>>,
    #[serde(borrow)]
    stream_name: Option<Text<'a>>,
    #[serde(borrow, rename = "StreamARN")]
    stream_arn: Option<Text<'a>>,
}

/// One record as asked for.
pub(super) struct Entry<'a> {
    pub(super) key: Option<Cow<'a, str>>,
    explicit_hash: Option<Cow<'a, str>>,
    data: Bytes,
}

impl Entry<'_> {
    fn key(&self) -> &str {
        self.key.as_deref().unwrap_or_default()
    }

    /// Data and UTF-8 key.
    fn bytes(&self) -> usize {
        self.data.len() + self.key().len()
    }
}

/// A whole request; PutRecord is one of a single record that answers differently.
pub(super) struct Put<'a> {
    operation: Operation,
    stream: Option<Cow<'a, str>>,
    pub(super) entries: Vec<Entry<'a>>,
    pub(super) dry_run: bool,
}

/// Reads the JSON and the base64 in it.
pub(super) fn parse(operation: Operation, body: &[u8]) -> Result<Put<'_>, Refusal> {
    let broken = |error: serde_json::Error| {
        Refusal::new(
            "SerializationException",
            format!("Start of structure or map found where not expected ({:?})", error.classify()),
        )
    };
    let raw = if operation == Operation::PutRecords {
        serde_json::from_slice(body).map_err(broken)?
    } else {
        let one: RawPutRecord<'_> = serde_json::from_slice(body).map_err(broken)?;
        RawPutRecords {
            records: vec![RawEntry {
                data: one.data,
                partition_key: one.partition_key,
                explicit_hash_key: one.explicit_hash_key,
            }],
            stream_name: one.stream_name,
            stream_arn: one.stream_arn,
            dry_run: None,
        }
    };
    let stream = raw.stream_name.map(|text| text.0).or_else(|| {
        let arn = raw.stream_arn?.0;
        arn.split_once(":stream/").map(|(_, name)| Cow::Owned(name.to_owned()))
    });
    // One buffer for the data of all records: each of them is a slice of it.
    let mut decoded = Vec::with_capacity(body.len() / 4 * 3);
    let mut ends = Vec::with_capacity(raw.records.len());
    for record in &raw.records {
        base64_simd::STANDARD.decode_append(record.data.as_bytes(), &mut decoded).map_err(|_| {
            Refusal::new(
                "SerializationException",
                "Blob is not valid base64: check the length and the alphabet",
            )
        })?;
        ends.push(decoded.len());
    }
    let decoded = Bytes::from(decoded);
    let mut start = 0;
    let entries = raw
        .records
        .into_iter()
        .zip(ends)
        .map(|(record, end)| Entry {
            key: record.partition_key.map(|text| text.0),
            explicit_hash: record.explicit_hash_key.map(|text| text.0),
            data: decoded.slice(std::mem::replace(&mut start, end)..end),
        })
        .collect();
    Ok(Put { operation, stream, entries, dry_run: raw.dry_run.unwrap_or(false) })
}

impl Put<'_> {
    pub(super) fn stream(&self) -> Option<&str> {
        self.stream.as_deref()
    }

    pub(super) fn has_key(&self, key: &str) -> bool {
        self.entries.iter().any(|entry| entry.key.as_deref() == Some(key))
    }

    /// Data and UTF-8 keys of all records.
    pub(super) fn bytes(&self) -> usize {
        self.entries.iter().map(Entry::bytes).sum()
    }

    /// What can be checked without the stream: counts, lengths, patterns. All violations in one message, as the service does.
    pub(super) fn check_shape(&self, shared: &Shared) -> Result<(), Refusal> {
        let mut violations = Violations::new(self, shared);
        match self.stream() {
            None => {
                return Err(Refusal::new(
                    "InvalidArgumentException",
                    "Either StreamName or StreamARN must be provided.",
                ));
            }
            Some(name) if !is_stream_name(name) => violations.add_plain(
                "streamName",
                "Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+ and have length between 1 and 128",
            ),
            Some(_) => {}
        }
        let records_max = shared.limits.request_records_max;
        if self.entries.is_empty() {
            violations.add_plain("records", "Member must have length greater than or equal to 1");
        } else if self.entries.len() > records_max {
            violations.add_plain(
                "records",
                &format!("Member must have length less than or equal to {records_max}"),
            );
        }
        for (index, entry) in self.entries.iter().enumerate() {
            // The common case is told by the length in bytes alone.
            if let Some(key) = &entry.key
                && (key.is_empty() || (key.len() > KEY_CHARS_MAX && key.chars().count() > KEY_CHARS_MAX))
            {
                let constraint = if key.is_empty() {
                    "Member must have length greater than or equal to 1".to_owned()
                } else {
                    format!("Member must have length less than or equal to {KEY_CHARS_MAX}")
                };
                violations.add(index, "partitionKey", Some(key), &constraint);
            }
            if let Some(hash) = &entry.explicit_hash
                && !is_hash_key_text(hash)
            {
                violations.add(
                    index,
                    "explicitHashKey",
                    Some(hash),
                    "Member must satisfy regular expression pattern: 0|([1-9]\\d{0,38})",
                );
            }
        }
        violations.into_result()
    }

    /// What needs the stream: hash keys in range, bytes of the request, bytes of each record.
    fn check_limits(
        &self,
        shared: &Shared,
        record_bytes_max: usize,
        distribution: Distribution,
    ) -> Result<(), Refusal> {
        for entry in &self.entries {
            if let Some(hash) = &entry.explicit_hash
                && hash.parse::<u128>().is_err()
            {
                return Err(Refusal::new(
                    "InvalidArgumentException",
                    format!(
                        "Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1]. Specified value was {hash}"
                    ),
                ));
            }
        }
        let bytes_max = shared.limits.request_bytes_max;
        if self.bytes() > bytes_max {
            return Err(Refusal::new(
                "InvalidArgumentException",
                format!("Records size exceeds {} MB limit", bytes_max / (1024 * 1024)),
            ));
        }
        let mut violations = Violations::new(self, shared);
        for (index, entry) in self.entries.iter().enumerate() {
            // Only a stream that ignores keys does without.
            if entry.key.is_none() && distribution == Distribution::ByKey {
                violations.add(index, "partitionKey", None, "Member must not be null");
            }
            if entry.bytes() > record_bytes_max {
                violations.add(
                    index,
                    "data",
                    None,
                    &format!("Member must have length less than or equal to {record_bytes_max}"),
                );
            }
        }
        violations.into_result()
    }
}

fn is_stream_name(name: &str) -> bool {
    (1..=128).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

/// `0` or up to 39 digits without a leading zero.
fn is_hash_key_text(text: &str) -> bool {
    text == "0"
        || ((1..=39).contains(&text.len())
            && !text.starts_with('0')
            && text.bytes().all(|byte| byte.is_ascii_digit()))
}

/// `N validation errors detected: …; …`
struct Violations<'a> {
    shared: &'a Shared,
    operation: Operation,
    texts: Vec<String>,
    count: usize,
}

/// More violations than this are counted, not told.
const VIOLATIONS_TOLD_MAX: usize = 10;

impl<'a> Violations<'a> {
    fn new(put: &Put<'_>, shared: &'a Shared) -> Self {
        Self { shared, operation: put.operation, texts: Vec::new(), count: 0 }
    }

    fn add_plain(&mut self, path: &str, constraint: &str) {
        self.push(format!("Value at '{path}' failed to satisfy constraint: {constraint}"));
    }

    fn add(&mut self, index: usize, field: &str, value: Option<&str>, constraint: &str) {
        let wording = &self.shared.wording;
        let path = match (self.operation, wording.naming) {
            (Operation::PutRecord, _) => field.to_owned(),
            (_, Naming::FromOne) => format!("records.{}.member.{field}", index + 1),
            (_, Naming::FromZero) => format!("records.{index}.member.{field}"),
            (_, Naming::Unnamed) => {
                self.push(format!("A value failed to satisfy constraint: {constraint}"));
                return;
            }
            (_, Naming::Silent) => {
                self.push("The request is not valid.".to_owned());
                return;
            }
        };
        let value = match value {
            Some(value) if wording.echo_values => format!(" '{value}'"),
            _ => String::new(),
        };
        self.push(format!("Value{value} at '{path}' failed to satisfy constraint: {constraint}"));
    }

    fn push(&mut self, text: String) {
        self.count += 1;
        if self.texts.len() < VIOLATIONS_TOLD_MAX {
            self.texts.push(text);
        }
    }

    fn into_result(self) -> Result<(), Refusal> {
        if self.count == 0 {
            return Ok(());
        }
        if self.shared.wording.naming == Naming::Silent {
            return Err(Refusal::validation("The request is not valid."));
        }
        let plural = if self.count == 1 { "" } else { "s" };
        Err(Refusal::validation(format!(
            "{} validation error{plural} detected: {}",
            self.count,
            self.texts.join("; ")
        )))
    }
}

/// The text of a throttled record, or of a throttled request when no shard is known.
fn throttle_text(shard: &str, stream: &str) -> String {
    format!("Rate exceeded for shard {shard} in stream {stream} under account {ACCOUNT}.")
}

pub(super) fn throttled_request(stream: &str) -> Refusal {
    Refusal::new(
        "ProvisionedThroughputExceededException",
        format!("Rate exceeded for stream {stream} under account {ACCOUNT}."),
    )
}

pub(super) fn not_found(stream: &str) -> Refusal {
    Refusal::new("ResourceNotFoundException", format!("Stream {stream} under account {ACCOUNT} not found."))
}

enum Verdict {
    Stored { shard: u32, sequence: u64 },
    Failed { code: Cow<'static, str>, message: String },
}

/// Steps 7 to 10 of `service`.
pub(super) fn put(
    shared: &Shared,
    state: &mut State,
    visit: &Visit,
    asked: &Asked<'_>,
    put: &Put<'_>,
    now: Duration,
) -> Result<Answer, Refusal> {
    let name = put.stream().unwrap_or_default();
    let State { observed, streams, script, .. } = state;
    let stream = streams.get(name).ok_or_else(|| not_found(name))?;
    if !stream.status.takes_records() {
        return Err(match shared.not_active {
            NotActive::InUse => Refusal::new(
                "ResourceInUseException",
                format!(
                    "Stream {name} under account {ACCOUNT} not ACTIVE, instead in state {}",
                    stream.status.text()
                ),
            ),
            NotActive::NotFound => not_found(name),
        });
    }
    if let Some(kms) = stream.kms {
        return Err(Refusal::new(kms.code(), kms.message(&shared.region)));
    }
    put.check_limits(shared, stream.record_bytes_max, stream.distribution)?;
    if put.dry_run && shared.dry_run == DryRun::Known {
        return Err(Refusal::new(
            "DryRunOperationException",
            "Request would have succeeded, but DryRun flag is set.",
        ));
    }

    let strike_records = script.may_strike_records(asked);
    let log_index = visit.log as u64;
    let mut order: Vec<usize> = (0..put.entries.len()).collect();
    if shared.shuffle {
        order.sort_by_cached_key(|&index| mix(shared.seed, &[log_index, index as u64]));
    }
    let mut verdicts: Vec<Option<Verdict>> = Vec::new();
    verdicts.resize_with(put.entries.len(), || None);
    let (mut stored, mut throttled, mut failed) = (0, 0, 0);
    for index in order {
        let entry = &put.entries[index];
        let hash = match (&entry.explicit_hash, &entry.key) {
            (Some(hash), _) => hash.parse().ok(),
            (None, Some(key)) => Some(hash_of(key)),
            (None, None) => None,
        };
        let shard = stream.route(hash, mix(shared.seed, &[!log_index, index as u64]));
        let fault =
            if strike_records { script.strike_record(asked, index, shard, entry.key()) } else { None };
        let fault =
            fault.or_else(|| (!stream.take(shard, entry.bytes(), now)).then_some(RecordFault::Throttle));
        verdicts[index] = Some(match fault {
            None => {
                stored += 1;
                let place = Place {
                    stream: stream.index,
                    shard,
                    request: visit.write.unwrap_or_default(),
                    position: index,
                    at: now,
                };
                let sequence = observed.ledger.store(&place, entry.key(), entry.data.clone());
                Verdict::Stored { shard, sequence }
            }
            Some(RecordFault::Throttle) => {
                throttled += 1;
                let message = if shared.wording.throttles_name_shard {
                    throttle_text(&shard_id(shard), name)
                } else {
                    throttled_request(name).message
                };
                Verdict::Failed { code: "ProvisionedThroughputExceededException".into(), message }
            }
            Some(RecordFault::Failure) => {
                failed += 1;
                Verdict::Failed {
                    code: "InternalFailure".into(),
                    message: "Internal service failure.".to_owned(),
                }
            }
            Some(RecordFault::Code(code, message)) => {
                failed += 1;
                Verdict::Failed { code, message: message.into_owned() }
            }
        });
    }
    let log = observed.requests.log(visit.log);
    (log.stored, log.throttled, log.failed) = (stored, throttled, failed);
    let verdicts: Vec<Verdict> = verdicts.into_iter().flatten().collect();
    if put.operation == Operation::PutRecords {
        Ok(Answer::ok(answer_text(&verdicts, throttled + failed)))
    } else {
        answer_one(verdicts)
    }
}

fn answer_text(verdicts: &[Verdict], failed: usize) -> String {
    let mut text = String::with_capacity(64 + verdicts.len() * 140);
    let _ = write!(text, "{{\"FailedRecordCount\":{failed},\"Records\":[");
    for (index, verdict) in verdicts.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        write_verdict(&mut text, verdict);
    }
    text.push_str("]}");
    text
}

fn write_verdict(text: &mut String, verdict: &Verdict) {
    let _ = match verdict {
        Verdict::Stored { shard, sequence } => write!(
            text,
            "{{\"SequenceNumber\":\"{}\",\"ShardId\":\"{}\"}}",
            sequence_text(*sequence),
            shard_id(*shard)
        ),
        Verdict::Failed { code, message } => {
            write!(text, "{}", serde_json::json!({"ErrorCode": code, "ErrorMessage": message}))
        }
    };
}

/// PutRecord has no verdict per record: a failure is the request's.
fn answer_one(verdicts: Vec<Verdict>) -> Result<Answer, Refusal> {
    let verdict = verdicts.into_iter().next().unwrap();
    match verdict {
        Verdict::Failed { code, message } => {
            Err(Refusal { status: if code == "InternalFailure" { 500 } else { 400 }, code, message })
        }
        stored => {
            let mut text = String::new();
            write_verdict(&mut text, &stored);
            Ok(Answer::ok(text))
        }
    }
}

/// A PutRecords answer of the wrong length, or with a count that is one off. Refusals stay as they are.
pub(super) fn misshape(answer: Answer, shape: AnswerShape) -> Answer {
    let Ok(mut body) = serde_json::from_slice::<serde_json::Value>(&answer.body) else {
        return answer;
    };
    let Some(records) = body.get_mut("Records").and_then(|records| records.as_array_mut()) else {
        return answer;
    };
    match shape {
        AnswerShape::TooFew => {
            records.pop();
        }
        AnswerShape::TooMany => {
            let last = records.last().cloned();
            records.extend(last);
        }
        _ => {
            let count = body["FailedRecordCount"].as_u64().unwrap_or_default();
            // Failures called none, or a failure called where there is none.
            body["FailedRecordCount"] = u64::from(count == 0).into();
        }
    }
    Answer { body: body.to_string().into(), ..answer }
}
