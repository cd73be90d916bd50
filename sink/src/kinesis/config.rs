//! Config: what a user writes for `type: aws_kinesis_streams`, parsed once into settings that cannot be wrong.
//! In: a Vector stanza, unchanged, and a few keys of our own. Out: the sink, built.
//! Never: touches the network before `build`.

mod options;
#[cfg(test)]
mod tests;

use std::time::Duration;

use afluente_pipeline::codecs::compression::Compression;
use afluente_pipeline::codecs::encoding::{Encoder, EncodingConfig};
use afluente_pipeline::component::{
    ComponentDescription, ComponentKind, Input, Resource, SinkConfig, SinkContext,
};
use afluente_pipeline::config::AcknowledgementsConfig;
use afluente_pipeline::sink::{Healthcheck, VectorSink};
use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use vrl::path::{OwnedTargetPath, PathPrefix, parse_target_path};

pub use self::options::{
    AggregationOptions, BatchOptions, Concurrency, DeadLetterConfig, LongPartitionKey, Ordering,
    RequestOptions,
};
use super::auth::AwsAuthentication;
use super::health;
use super::http::{HttpOptions, TlsConfig};
use super::limits;
use super::put::{ClientSettings, KinesisClient};
use super::sink::KinesisSink;

/// Writes events to a Kinesis data stream: in order per key, nothing lost, memory bounded.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KinesisSinkConfig {
    /// The stream's name: 1 to 128 letters, digits, `_`, `.` and `-`. The stream must exist.
    pub stream_name: String,
    /// The stream's region. Unset: environment, profile, instance metadata.
    #[serde(default)]
    pub region: Option<String>,
    /// Another address than AWS's own, e.g. `http://127.0.0.1:4567`. Unset: `AWS_ENDPOINT_URL`, then AWS's own.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// The field whose value is the partition key, e.g. `user.id`. Unset: the key that a transform left in the metadata
    /// (`profile_export` does), else a random one.
    #[serde(default)]
    pub partition_key_field: Option<String>,
    /// What happens to a key longer than 256 characters.
    #[serde(default)]
    pub long_partition_key: LongPartitionKey,
    /// How an event becomes a record's data.
    pub encoding: EncodingConfig,
    /// Compression of each record's data.
    #[serde(default)]
    pub compression: Compression,
    /// When a request is full.
    #[serde(default)]
    pub batch: BatchOptions,
    /// Time limits, retries and requests in flight.
    #[serde(default)]
    pub request: RequestOptions,
    /// Accepted as in Vector; resending only the failed records is always on.
    #[serde(default)]
    pub request_retry_partial: Option<bool>,
    /// Where credentials come from.
    #[serde(default)]
    pub auth: AwsAuthentication,
    /// TLS towards the endpoint.
    #[serde(default)]
    pub tls: Option<TlsConfig>,
    /// Whether sources wait until their events are stored.
    #[serde(default)]
    pub acknowledgements: AcknowledgementsConfig,
    /// Whether records of one key keep their order. `none` sends faster where a key repeats within a round trip.
    #[serde(default)]
    pub ordering: Ordering,
    /// Of several events that wait behind one key, send only the newest: for events that are full states. Off by default.
    #[serde(default)]
    pub conflate: bool,
    /// Joining records of one key in one Kinesis record. Off by default.
    #[serde(default)]
    pub aggregation: AggregationOptions,
    /// Most bytes of one record, data and key counted: 1 MiB by default, up to 10 MiB if the stream's own limit was raised.
    #[serde(default)]
    pub record_max_bytes: Option<usize>,
    /// Where rejected records are kept. Unset: they are counted, told without content, and settled as rejected.
    #[serde(default)]
    pub dead_letter: Option<DeadLetterConfig>,
}

afluente_pipeline::inventory::submit! {
    ComponentDescription {
        kind: ComponentKind::Sink,
        name: "aws_kinesis_streams",
        summary: "Amazon Kinesis Data Streams: in order per key, accounted for, bounded",
        schema: |generator| generator.subschema_for::<KinesisSinkConfig>(),
    }
}

#[async_trait]
#[typetag::serde(name = "aws_kinesis_streams")]
impl SinkConfig for KinesisSinkConfig {
    async fn build(&self, context: SinkContext) -> afluente_pipeline::Result<(VectorSink, Healthcheck)> {
        self.validate_structure().map_err(|problems| problems.join("; "))?;
        let client = KinesisClient::new(self.client_settings(&context)).await?;
        let healthcheck = {
            let (client, stream) = (client.clone(), self.stream_name.clone());
            let (wanted, limit) = (context.healthcheck.enabled, context.healthcheck.timeout);
            Box::pin(async move {
                if !wanted {
                    return Ok(());
                }
                let health = health::check_at_start(&client, &stream, limit).await;
                let wrong: Vec<_> = health
                    .findings
                    .into_iter()
                    .filter(|finding| finding.standing == health::Standing::Wrong)
                    .map(|finding| finding.sentence)
                    .collect();
                if wrong.is_empty() { Ok(()) } else { Err(wrong.join(" ").into()) }
            })
        };
        let sink = KinesisSink::new(self, client, &context)?;
        Ok((VectorSink::from_event_streamsink(sink), healthcheck))
    }

    fn input(&self) -> Input {
        Input::log()
    }

    fn acknowledgements(&self) -> &AcknowledgementsConfig {
        &self.acknowledgements
    }

    fn resources(&self) -> Vec<Resource> {
        // Two writers would rotate the file under each other's feet.
        self.dead_letter.iter().map(|letters| Resource::rotated_file(&letters.path)).collect()
    }

    fn validate_structure(&self) -> Result<(), Vec<String>> {
        let mut problems = Vec::new();
        let name = &self.stream_name;
        let fits = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        if name.is_empty() || name.len() > 128 || !name.chars().all(fits) {
            problems.push(format!(
                "stream_name: `{name}` is not a stream's name: 1 to 128 letters, digits, `_`, `.` and `-`"
            ));
        }
        if let Some(size) = self.record_max_bytes
            && !(1024..=limits::RECORD_BYTES_MAX).contains(&size)
        {
            problems.push(format!(
                "record_max_bytes: {size} is out of range: 1024 to {} (10 MiB)",
                limits::RECORD_BYTES_MAX
            ));
        }
        if self.conflate && self.ordering == Ordering::None {
            problems
                .push("conflate: needs `ordering: per_key`, which tells what waits behind a key".to_owned());
        }
        if self.aggregation.enabled && self.ordering == Ordering::None {
            problems.push(
                "aggregation: needs `ordering: per_key`: what waits behind a key is what is joined"
                    .to_owned(),
            );
        }
        if self.aggregation.enabled && self.conflate {
            problems.push(
                "aggregation: `conflate` leaves one event waiting behind a key, so there is nothing to join: set one of the two"
                    .to_owned(),
            );
        }
        problems.extend(self.partition_key_path().err());
        problems.extend(Encoder::new(&self.encoding).err().map(|error| format!("encoding: {error}")));
        problems.extend(self.compression.compressor().err().map(|error| format!("compression: {error}")));
        problems.extend(self.batch.problems());
        problems.extend(self.request.problems());
        problems.extend(self.dead_letter.as_ref().and_then(DeadLetterConfig::problem));
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    fn notes(&self) -> Vec<String> {
        match self.request_retry_partial {
            None => Vec::new(),
            Some(_) => vec![
                "request_retry_partial is always on here: a partly failed request resends the failed records and only those"
                    .to_owned(),
            ],
        }
    }

    fn as_any(&self) -> Option<&dyn std::any::Any> {
        Some(self)
    }
}

impl KinesisSinkConfig {
    /// What the client is built from.
    #[must_use]
    pub fn client_settings(&self, context: &SinkContext) -> ClientSettings {
        ClientSettings {
            region: self.region.clone(),
            endpoint: self.endpoint.clone(),
            auth: self.auth.clone(),
            http: HttpOptions {
                tls: self.tls.clone().unwrap_or_default(),
                proxy: context.proxy.clone(),
                ..HttpOptions::default()
            },
            request_timeout: self.request.timeout(),
        }
    }

    /// The path of the partition key, checked.
    pub(super) fn partition_key_path(&self) -> Result<Option<OwnedTargetPath>, String> {
        let Some(field) = &self.partition_key_field else { return Ok(None) };
        match parse_target_path(field) {
            Ok(path) if path.prefix == PathPrefix::Event => Ok(Some(path)),
            _ => Err(format!("partition_key_field: Invalid field path `{field}`: write it as `user.id`")),
        }
    }

    /// The longest wait for company, if the user set one.
    pub(super) fn linger(&self) -> Option<Duration> {
        self.batch.timeout_secs.map(Duration::from_secs_f64)
    }

    /// Most bytes of one record.
    pub(super) fn record_bytes_max(&self) -> usize {
        self.record_max_bytes.unwrap_or(limits::RECORD_BYTES_DEFAULT)
    }
}
