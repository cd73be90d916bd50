//! Read: GetShardIterator and GetRecords, small: enough for a consumer that follows a shard to its end.
//! In: a JSON body.  Out: records of one shard in the order of storing, from the ledger.
//! Never: serves a ledger that keeps tags only (`InvalidArgumentException`).

use serde_json::{Value, json};

use super::answer::{Answer, Refusal};
use super::control::stream_name;
use super::ledger::Stored;
use super::put_records::not_found;
use super::state::{Shared, State};
use super::stream::{sequence_number, sequence_text, shard_number};

/// Records in one GetRecords answer, unless the client asks for fewer. The service's own maximum.
const RECORDS_MAX: u64 = 10_000;

fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::new("InvalidArgumentException", message)
}

/// `stream:shard:sequence`: records after that sequence number.
pub(super) fn get_shard_iterator(state: &mut State, body: &Value) -> Result<Answer, Refusal> {
    let name = stream_name(body).unwrap_or_default();
    let latest = state.observed.ledger.sequence();
    let stream = state.streams.get(name).ok_or_else(|| not_found(name))?;
    let shard_text = body["ShardId"].as_str().unwrap_or_default();
    let shard = shard_number(shard_text)
        .filter(|&number| (number as usize) < stream.shards.len())
        .ok_or_else(|| {
            Refusal::new(
                "ResourceNotFoundException",
                format!("Shard {shard_text} in stream {name} does not exist"),
            )
        })?;
    let sequence = || {
        body["StartingSequenceNumber"]
            .as_str()
            .and_then(sequence_number)
            .ok_or_else(|| invalid("StartingSequenceNumber is not one of this server"))
    };
    let after = match body["ShardIteratorType"].as_str() {
        Some("TRIM_HORIZON") => 0,
        Some("LATEST") => latest,
        Some("AFTER_SEQUENCE_NUMBER") => sequence()?,
        Some("AT_SEQUENCE_NUMBER") => sequence()?.saturating_sub(1),
        other => return Err(invalid(format!("ShardIteratorType {other:?} is not served"))),
    };
    let body = json!({"ShardIterator": format!("{name}:{shard}:{after}")});
    Ok(Answer::ok(body.to_string()))
}

pub(super) fn get_records(shared: &Shared, state: &mut State, body: &Value) -> Result<Answer, Refusal> {
    let iterator = body["ShardIterator"].as_str().unwrap_or_default();
    let (name, shard, after) =
        parse_iterator(iterator).ok_or_else(|| invalid("ShardIterator is not one of this server"))?;
    let limit = body["Limit"].as_u64().unwrap_or(RECORDS_MAX).min(RECORDS_MAX);
    let stream = state.streams.get(name).ok_or_else(|| not_found(name))?;
    let closed_at = stream.shards.get(shard as usize).and_then(|shard| shard.ending_sequence);
    let ledger = &state.observed.ledger;
    let start = ledger.records().partition_point(|record| record.sequence <= after);
    let mut rest = ledger.records()[start..]
        .iter()
        .filter(|record| record.stream == stream.index && record.shard == shard);
    let page: Vec<&Stored> = rest.by_ref().take(usize::try_from(limit).unwrap()).collect();
    let more = rest.next().is_some();
    let records = page
        .iter()
        .map(|record| {
            let wall = shared.clock.wall(state.skew).timestamp_millis() as f64 / 1000.0;
            record.kept().map(|kept| {
                json!({
                    "SequenceNumber": sequence_text(record.sequence),
                    "PartitionKey": kept.key,
                    "Data": base64_simd::STANDARD.encode_to_string(&kept.data),
                    "ApproximateArrivalTimestamp": wall,
                })
            })
        })
        .collect::<Option<Vec<Value>>>()
        .ok_or_else(|| invalid("The ledger of this server keeps tags only"))?;
    let next = page.last().map_or(after, |record| record.sequence);
    let mut body = json!({"Records": records, "MillisBehindLatest": i32::from(more)});
    if more || closed_at.is_none() {
        body["NextShardIterator"] = format!("{name}:{shard}:{next}").into();
    }
    Ok(Answer::ok(body.to_string()))
}

fn parse_iterator(text: &str) -> Option<(&str, u32, u64)> {
    let (rest, after) = text.rsplit_once(':')?;
    let (name, shard) = rest.rsplit_once(':')?;
    Some((name, shard.parse().ok()?, after.parse().ok()?))
}
