//! Local Kinesis: the embedded service, on a loopback port.
//! In: an address, streams to create. Out: an endpoint that speaks Kinesis' protocol, its streams ready at once.
//! Holds: everything in memory, gone with the process. Never: fails on purpose, limits a shard's rate.

use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use axum::extract::DefaultBodyLimit;
use axum::serve::ListenerExt;
use base64_simd::STANDARD;
use ferrokinesis::actions::{Operation, dispatch};
use ferrokinesis::store::{Store, StoreOptions};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

/// The region that the service says it is in.
pub(crate) const REGION: &str = "us-east-1";
/// Most bytes of a request's body: 5 MiB of data as base64, and the JSON around it.
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Most shards of all streams together.
const SHARDS_MAX: u32 = 10_000;
/// How long a stream may take to become ready. It takes none.
const READY_WITHIN: Duration = Duration::from_secs(5);
/// Between two looks whether a stream is ready.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// A stream to create, written `NAME:SHARDS`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NewStream {
    pub(crate) name: String,
    pub(crate) shards: u32,
}

impl FromStr for NewStream {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, shards) = text.split_once(':').unwrap_or((text, "1"));
        let fits = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        if name.is_empty() || name.len() > 128 || !name.chars().all(fits) {
            return Err(format!(
                "`{name}` is not a stream's name: 1 to 128 letters, digits, `_`, `.` and `-`"
            ));
        }
        match shards.parse() {
            Ok(shards @ 1..=1000) => Ok(Self { name: name.to_owned(), shards }),
            _ => Err(format!("`{shards}` is not a number of shards from 1 to 1000: write NAME:SHARDS")),
        }
    }
}

/// One record as a reader gets it.
#[derive(Clone, Debug)]
pub(crate) struct StoredRecord {
    pub(crate) shard: String,
    pub(crate) sequence_number: String,
    pub(crate) key: String,
    pub(crate) data: Vec<u8>,
}

/// The running service. Dropping it ends it.
pub(crate) struct LocalKinesis {
    address: SocketAddr,
    store: Store,
    _server: AbortOnDropHandle<()>,
}

impl LocalKinesis {
    /// Listens and creates the streams.
    ///
    /// # Errors
    /// One sentence: the port is taken, or a stream could not be created.
    pub(crate) async fn start(address: SocketAddr, streams: &[NewStream]) -> Result<Self, String> {
        let listener = TcpListener::bind(address).await.map_err(|error| {
            format!(
                "cannot listen on {address}: {error}; choose another port with --port, 0 takes a free one"
            )
        })?;
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        let options = StoreOptions {
            create_stream_ms: 0,
            delete_stream_ms: 0,
            update_stream_ms: 0,
            shard_limit: SHARDS_MAX,
            aws_region: REGION.to_owned(),
            ..StoreOptions::default()
        };
        let (app, store) = ferrokinesis::create_app(options);
        let app = app.layer(DefaultBodyLimit::max(BODY_BYTES_MAX));
        let listener = listener.tap_io(|socket| {
            let _ = socket.set_nodelay(true);
        });
        let server = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, app).await {
                tracing::error!(%error, "The local Kinesis ended.");
            }
        });
        let local = Self { address, store, _server: AbortOnDropHandle::new(server) };
        for stream in streams {
            local.create(stream).await?;
        }
        Ok(local)
    }

    /// `http://127.0.0.1:4567`
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    async fn call(&self, operation: Operation, request: Value) -> Result<Value, String> {
        match dispatch(&self.store, operation, request).await {
            Ok(answer) => Ok(answer.unwrap_or(Value::Null)),
            Err(error) => Err(format!(
                "{}: {}",
                error.body.error_type,
                error.body.message.as_deref().unwrap_or("no message")
            )),
        }
    }

    async fn create(&self, stream: &NewStream) -> Result<(), String> {
        let told = |error| format!("stream `{}` could not be created: {error}", stream.name);
        let request = json!({"StreamName": stream.name, "ShardCount": stream.shards});
        self.call(Operation::CreateStream, request).await.map_err(told)?;
        let ready = async {
            loop {
                let request = json!({"StreamName": stream.name});
                let answer = self.call(Operation::DescribeStreamSummary, request).await?;
                if answer["StreamDescriptionSummary"]["StreamStatus"] == "ACTIVE" {
                    return Ok(());
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        match tokio::time::timeout(READY_WITHIN, ready).await {
            Ok(result) => result.map_err(told),
            Err(_) => Err(told("it did not become ready".to_owned())),
        }
    }

    /// All records of a stream, shard after shard, each in the order of its sequence numbers.
    ///
    /// # Errors
    /// What the service answered in place of records.
    pub(crate) async fn read_all(&self, stream: &str) -> Result<Vec<StoredRecord>, String> {
        let listed = self.call(Operation::ListShards, json!({"StreamName": stream})).await?;
        let mut all = Vec::new();
        for shard in listed["Shards"].as_array().into_iter().flatten() {
            let shard = shard["ShardId"].as_str().unwrap_or_default();
            let request =
                json!({"StreamName": stream, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON"});
            let mut iterator = self.call(Operation::GetShardIterator, request).await?["ShardIterator"].take();
            while iterator.is_string() {
                let mut page = self
                    .call(Operation::GetRecords, json!({"ShardIterator": iterator, "Limit": 10_000}))
                    .await?;
                let records = page["Records"].as_array().map(Vec::as_slice).unwrap_or_default();
                if records.is_empty() {
                    break;
                }
                for record in records {
                    all.push(stored(shard, record)?);
                }
                iterator = page["NextShardIterator"].take();
            }
        }
        Ok(all)
    }
}

fn stored(shard: &str, record: &Value) -> Result<StoredRecord, String> {
    let text = |name: &str| record[name].as_str().unwrap_or_default().to_owned();
    let data = STANDARD
        .decode_to_vec(text("Data"))
        .map_err(|error| format!("a record in {shard} is not base64: {error}"))?;
    Ok(StoredRecord {
        shard: shard.to_owned(),
        sequence_number: text("SequenceNumber"),
        key: text("PartitionKey"),
        data,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_written_with_its_shards() {
        let read = |text: &str| text.parse::<NewStream>();
        assert_eq!(read("profiles:4").unwrap(), NewStream { name: "profiles".to_owned(), shards: 4 });
        assert_eq!(read("profiles").unwrap().shards, 1);
        assert!(read("profiles:0").is_err());
        assert!(read("pro files:1").is_err());
    }

    #[tokio::test]
    async fn its_streams_are_ready_at_once_and_give_back_what_they_took() {
        let streams = ["a:1".parse().unwrap(), "b:12".parse().unwrap()];
        let local = LocalKinesis::start(([127, 0, 0, 1], 0).into(), &streams).await.unwrap();
        let record = |n: u32| json!({"Data": STANDARD.encode_to_string(n.to_string()), "PartitionKey": format!("k{n}")});
        let records: Vec<_> = (0..20).map(record).collect();
        let request = json!({"StreamName": "b", "Records": records});
        let answer = local.call(Operation::PutRecords, request).await.unwrap();
        assert_eq!(answer["FailedRecordCount"], 0);
        let mut read = local.read_all("b").await.unwrap();
        read.sort_by_key(|record| String::from_utf8_lossy(&record.data).parse::<u32>().unwrap());
        assert_eq!(read.len(), 20);
        assert_eq!(read[7].key, "k7");
        assert!(!read[7].sequence_number.is_empty() && read[7].shard.starts_with("shardId-"));
        assert!(local.read_all("a").await.unwrap().is_empty());
    }
}
