//! Control: the operations that list, describe and create streams.
//! In: a JSON body.  Out: what the service would tell about the streams of this server.
//! Never: touches records (see `put_records`, `read`).

use std::time::Duration;

use serde_json::{Value, json};

use super::answer::{Answer, Refusal};
use super::limits::{ACCOUNT, SHARDS_PAGE, STREAMS_PAGE};
use super::put_records::not_found;
use super::service::Operation;
use super::state::{Shared, State};
use super::stream::{
    Distribution, Shard, Stream, StreamSpec, sequence_text, shard_id, shard_number, stream_arn,
};

/// By `StreamName`, or the end of `StreamARN`.
pub(super) fn stream_name(body: &Value) -> Option<&str> {
    body["StreamName"].as_str().or_else(|| {
        let arn = body["StreamARN"].as_str()?;
        arn.split_once(":stream/").map(|(_, name)| name)
    })
}

/// Shards in a stream that is created `ON_DEMAND` without a count, as the service does.
const ON_DEMAND_SHARDS: u32 = 4;

pub(super) fn answer(
    shared: &Shared,
    state: &mut State,
    operation: Operation,
    body: &Value,
    now: Duration,
) -> Result<Answer, Refusal> {
    if operation == Operation::ListStreams {
        return list_streams(shared, state, body);
    }
    if operation == Operation::CreateStream {
        return create_stream(state, body, now);
    }
    // A page token names its stream, and nothing else may.
    let token = body["NextToken"].as_str().and_then(|token| token.rsplit_once(':'));
    let name = match token {
        Some((name, _)) => name,
        None => stream_name(body).ok_or_else(|| {
            Refusal::new("InvalidArgumentException", "Either StreamName or StreamARN must be provided.")
        })?,
    };
    let stream = state.streams.get(name).ok_or_else(|| not_found(name))?;
    let body = match operation {
        Operation::ListShards => {
            let after = token.and_then(|(_, after)| after.parse().ok());
            list_shards(stream, body, after)
        }
        Operation::DescribeStream => describe(shared, stream, body),
        _ => summary(shared, stream),
    };
    Ok(Answer::ok(body.to_string()))
}

fn list_streams(shared: &Shared, state: &mut State, body: &Value) -> Result<Answer, Refusal> {
    let limit = body["Limit"].as_u64().unwrap_or(STREAMS_PAGE as u64);
    if !(1..=10_000).contains(&limit) {
        return Err(Refusal::validation(format!(
            "1 validation error detected: Value '{limit}' at 'limit' failed to satisfy constraint: Member must have value between 1 and 10000"
        )));
    }
    let after =
        body["NextToken"].as_str().or_else(|| body["ExclusiveStartStreamName"].as_str()).unwrap_or_default();
    let mut names: Vec<String> = state.streams.names();
    names.retain(|name| name.as_str() > after);
    let page = usize::try_from(limit).unwrap().min(STREAMS_PAGE);
    let more = names.len() > page;
    names.truncate(page);
    let summaries: Vec<Value> = names
        .iter()
        .filter_map(|name| {
            let stream = state.streams.get(name)?;
            Some(json!({
                "StreamName": &*stream.name,
                "StreamARN": stream_arn(&shared.region, &stream.name),
                "StreamStatus": stream.status.text(),
                "StreamModeDetails": {"StreamMode": mode(stream)},
            }))
        })
        .collect();
    let mut body = json!({
        "HasMoreStreams": more,
        "StreamNames": names,
        "StreamSummaries": summaries,
    });
    if more {
        body["NextToken"] = body["StreamNames"][page - 1].clone();
    }
    Ok(Answer::ok(body.to_string()))
}

fn create_stream(state: &mut State, body: &Value, now: Duration) -> Result<Answer, Refusal> {
    let name = body["StreamName"].as_str().unwrap_or_default();
    let shards =
        body["ShardCount"].as_u64().and_then(|count| u32::try_from(count).ok()).unwrap_or(ON_DEMAND_SHARDS);
    if name.is_empty() || shards == 0 {
        return Err(Refusal::validation(
            "1 validation error detected: Value at 'streamName' or 'shardCount' failed to satisfy constraint: Member must have length greater than or equal to 1",
        ));
    }
    let sequence = state.observed.ledger.sequence();
    if state.streams.create(&StreamSpec::new(name, shards), sequence, now) {
        Ok(Answer::ok(""))
    } else {
        Err(Refusal::new(
            "ResourceInUseException",
            format!("Stream {name} under account {ACCOUNT} already exists."),
        ))
    }
}

fn mode(stream: &Stream) -> &'static str {
    match stream.distribution {
        Distribution::ByKey => "PROVISIONED",
        Distribution::AutoRoundRobin | Distribution::AutoRandom => "ON_DEMAND",
    }
}

fn shard_json(shard: &Shard) -> Value {
    let mut range = json!({"StartingSequenceNumber": sequence_text(shard.starting_sequence)});
    if let Some(ending) = shard.ending_sequence {
        range["EndingSequenceNumber"] = sequence_text(ending).into();
    }
    let mut json = json!({
        "ShardId": shard_id(shard.number),
        "HashKeyRange": {
            "StartingHashKey": shard.first_hash.to_string(),
            "EndingHashKey": shard.last_hash.to_string(),
        },
        "SequenceNumberRange": range,
    });
    if let Some(parent) = shard.parent {
        json["ParentShardId"] = shard_id(parent).into();
    }
    if let Some(parent) = shard.adjacent_parent {
        json["AdjacentParentShardId"] = shard_id(parent).into();
    }
    json
}

/// One page of shards after the number `after`, and whether more follow.
fn page(
    stream: &Stream,
    body: &Value,
    size: &str,
    after: Option<u32>,
    open_only: bool,
) -> (Vec<Value>, Option<u32>) {
    let after = after.or_else(|| shard_number(body["ExclusiveStartShardId"].as_str()?));
    let size = body[size]
        .as_u64()
        .and_then(|size| usize::try_from(size).ok())
        .unwrap_or(SHARDS_PAGE)
        .clamp(1, SHARDS_PAGE);
    let mut shards = stream
        .shards
        .iter()
        .filter(|shard| after.is_none_or(|after| shard.number > after))
        .filter(|shard| !open_only || shard.ending_sequence.is_none());
    let page: Vec<&Shard> = shards.by_ref().take(size).collect();
    let more = shards.next().and(page.last()).map(|shard| shard.number);
    (page.into_iter().map(shard_json).collect(), more)
}

fn list_shards(stream: &Stream, body: &Value, after: Option<u32>) -> Value {
    let open_only = matches!(body["ShardFilter"]["Type"].as_str(), Some("AT_LATEST"));
    let (shards, more) = page(stream, body, "MaxResults", after, open_only);
    let mut json = json!({"Shards": shards});
    if let Some(last) = more {
        json["NextToken"] = format!("{}:{last}", stream.name).into();
    }
    json
}

fn describe(shared: &Shared, stream: &Stream, body: &Value) -> Value {
    let (shards, more) = page(stream, body, "Limit", None, false);
    json!({"StreamDescription": {
        "StreamName": &*stream.name,
        "StreamARN": stream_arn(&shared.region, &stream.name),
        "StreamStatus": stream.status.text(),
        "StreamModeDetails": {"StreamMode": mode(stream)},
        "Shards": shards,
        "HasMoreShards": more.is_some(),
        "RetentionPeriodHours": 24,
        "StreamCreationTimestamp": 1_767_225_600.0,
        "EnhancedMonitoring": [{"ShardLevelMetrics": []}],
        "EncryptionType": "NONE",
    }})
}

fn summary(shared: &Shared, stream: &Stream) -> Value {
    json!({"StreamDescriptionSummary": {
        "StreamName": &*stream.name,
        "StreamARN": stream_arn(&shared.region, &stream.name),
        "StreamStatus": stream.status.text(),
        "StreamModeDetails": {"StreamMode": mode(stream)},
        "OpenShardCount": stream.open_shards().len(),
        "MaxRecordSizeInKiB": stream.record_bytes_max / 1024,
        "RetentionPeriodHours": 24,
        "StreamCreationTimestamp": 1_767_225_600.0,
        "EnhancedMonitoring": [{"ShardLevelMetrics": []}],
        "EncryptionType": "NONE",
        "ConsumerCount": 0,
    }})
}
