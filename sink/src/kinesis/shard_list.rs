//! Shard list: the stream's open shards by the service's own word, where `kinesis:ListShards` is granted.
//! In: a client and a stream's name. Out: each open shard and the key hashes it owns, or nothing.
//! It only makes the start faster: answers teach the same. So a refusal is no trouble, and no word is said about it.
//! Never: retries, delays a record.

use serde::Deserialize;
use serde_json::json;
use tracing::debug;

use super::put::{Attempt, KinesisClient};

/// Pages that are read at most; a page has up to 1,000 shards.
const PAGES_MAX: usize = 20;

/// One open shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedShard {
    /// Like `shardId-000000000003`.
    pub name: String,
    /// The first key hash that it owns.
    pub low: u128,
    /// The last one.
    pub high: u128,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Page {
    shards: Vec<Shard>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Shard {
    shard_id: String,
    hash_key_range: HashKeyRange,
    #[serde(default)]
    sequence_number_range: SequenceNumberRange,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HashKeyRange {
    starting_hash_key: String,
    ending_hash_key: String,
}

/// A shard that was split or merged away has an end.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SequenceNumberRange {
    ending_sequence_number: Option<String>,
}

/// The open shards of `stream`; none if the service does not say.
pub async fn list_shards(client: &KinesisClient, stream: &str) -> Vec<ListedShard> {
    let mut open = Vec::new();
    let mut request = json!({"StreamName": stream});
    for _ in 0..PAGES_MAX {
        let page = match client.call("ListShards", request.to_string().into()).await {
            Attempt::Answer(body) => serde_json::from_slice::<Page>(&body).ok(),
            Attempt::Refused(refusal) => {
                debug!(code = refusal.code, "The stream's shards are not listed; answers will tell them.");
                None
            }
            Attempt::Failed(_) => None,
        };
        let Some(page) = page else { return Vec::new() };
        open.extend(page.shards.into_iter().filter_map(Shard::open));
        match page.next_token {
            Some(token) => request = json!({"NextToken": token}),
            None => break,
        }
    }
    open
}

impl Shard {
    fn open(self) -> Option<ListedShard> {
        if self.sequence_number_range.ending_sequence_number.is_some() {
            return None;
        }
        let range = self.hash_key_range;
        Some(ListedShard {
            name: self.shard_id,
            low: range.starting_hash_key.parse().ok()?,
            high: range.ending_hash_key.parse().ok()?,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn open_shards_are_read_and_closed_or_odd_ones_left_out() {
        let body = r#"{"Shards":[
            {"ShardId":"shardId-000000000000","HashKeyRange":{"StartingHashKey":"0","EndingHashKey":"340282366920938463463374607431768211455"},
             "SequenceNumberRange":{"StartingSequenceNumber":"1","EndingSequenceNumber":"9"}},
            {"ShardId":"shardId-000000000001","HashKeyRange":{"StartingHashKey":"0","EndingHashKey":"170141183460469231731687303715884105727"},
             "SequenceNumberRange":{"StartingSequenceNumber":"10"},"ParentShardId":"shardId-000000000000"},
            {"ShardId":"shardId-000000000002","HashKeyRange":{"StartingHashKey":"x","EndingHashKey":"y"}}]}"#;
        let page: Page = serde_json::from_str(body).unwrap();
        let open: Vec<_> = page.shards.into_iter().filter_map(Shard::open).collect();
        let high = u128::MAX / 2;
        assert_eq!(open, [ListedShard { name: "shardId-000000000001".to_owned(), low: 0, high }]);
    }
}
