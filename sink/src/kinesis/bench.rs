//! Bench: the steps of a record's way, one at a time and without I/O, for `benches/`. No part of the crate's interface.
//! In: what a step takes. Out: what it makes. Never: anything of its own; it calls what the sink calls, in the sink's order.

use std::time::{Duration, SystemTime};

use afluente_pipeline::codecs::encoding::Encoder;
use afluente_pipeline::event::EventArray;
use aws_credential_types::Credentials;
use aws_smithy_runtime_api::client::identity::Identity;
use bytes::Bytes;
use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::answer::parse_put_records;
use super::body::BodyWriter;
use super::config::LongPartitionKey;
use super::core::{Core, CoreSettings, Reply, Sealed};
use super::gate::Gate;
use super::inflight::InFlight;
use super::intake::Intake;
use super::put::sign::sign_request;
use super::record::{Moment, Record, RecordId, Records};
use super::shard_map::key_hash;

/// Where in time all of this begins.
const NOW: Moment = Duration::from_secs(1);

/// A sink that sends nothing.
pub struct Steps {
    intake: Intake,
    core: Core,
    writer: BodyWriter,
    now: Moment,
}

impl Steps {
    /// A sink of events in JSON, which are written as they came.
    ///
    /// # Errors
    /// One sentence; none is known.
    pub fn new() -> Result<Self, String> {
        let encoding = serde_json::from_str(r#"{"codec":"json"}"#).map_err(|error| error.to_string())?;
        let encoder = Encoder::new(&encoding)?;
        let rng = SmallRng::seed_from_u64(1);
        Ok(Self {
            intake: Intake::new(encoder, None, None, LongPartitionKey::default(), rng),
            core: Core::new(CoreSettings::default(), InFlight::fixed(8)),
            writer: BodyWriter::new("profiles"),
            now: NOW,
        })
    }

    /// Events become records: encoded, keyed, past the gate, in their lane.
    pub fn take(&mut self, array: EventArray) {
        self.now += Duration::from_micros(1);
        self.intake.take(self.now, array, &mut self.core);
    }

    /// The next request.
    pub fn seal(&mut self) -> Option<Sealed> {
        self.core.next_request(self.now)
    }

    /// The request's body.
    #[must_use]
    pub fn body(&self, sealed: &Sealed) -> Vec<u8> {
        let content = sealed.records.iter().filter_map(|id| self.core.content(*id));
        let mut body = Vec::new();
        self.writer.write(content, sealed.records.len(), sealed.weight, &mut body);
        body
    }

    /// What the answer says is done; returns how many records are held afterwards.
    pub fn settle(&mut self, sealed: Sealed, answer: &[u8]) -> usize {
        if let Ok(answer) = parse_put_records(answer, sealed.records.len()) {
            self.core.on_reply(self.now, sealed, Reply::Entries(&answer.entries));
        }
        self.core.take_latencies().for_each(drop);
        self.core.held_records()
    }
}

/// The gate alone.
#[derive(Default)]
pub struct Turnstile {
    gate: Gate,
    records: Records,
}

impl Turnstile {
    /// Records of these keys enter, and all leave again in the same order; returns how many had to wait.
    pub fn pass(&mut self, keys: &[u64]) -> usize {
        for (id, key) in keys.iter().enumerate() {
            self.gate.enter(*key, id as RecordId, &mut self.records);
        }
        let waiting = self.gate.waiting();
        for key in keys {
            self.gate.leave(
                *key,
                Some("49590338271490256608559692538361571095921575989136588898"),
                &mut self.records,
            );
        }
        waiting
    }

    /// A gate that knows `records` records.
    #[must_use]
    pub fn with_records(records: usize) -> Self {
        let mut turnstile = Self::default();
        for _ in 0..records {
            turnstile.records.insert(Record::new(Bytes::new(), Bytes::new(), None, 0, NOW));
        }
        turnstile
    }
}

/// The number that decides a key's shard.
#[must_use]
pub fn shard_number(key: &[u8]) -> u128 {
    key_hash(key)
}

/// Signs a request with this body; returns its signature's header.
///
/// # Errors
/// What cannot be signed.
pub fn sign(identity: &Identity, body: &[u8]) -> Result<http::HeaderValue, String> {
    let request = http::Request::post("https://kinesis.eu-west-1.amazonaws.com/")
        .header(http::header::CONTENT_TYPE, "application/x-amz-json-1.1")
        .header("x-amz-target", "Kinesis_20131202.PutRecords")
        .body(())
        .map_err(|error| error.to_string())?;
    let (mut head, ()) = request.into_parts();
    sign_request(&mut head, body, identity, "eu-west-1", SystemTime::UNIX_EPOCH)
        .map_err(|error| error.to_string())?;
    head.headers.remove(http::header::AUTHORIZATION).ok_or_else(|| "it was not signed".to_owned())
}

/// A key to sign with.
#[must_use]
pub fn identity() -> Identity {
    Credentials::new("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", None, None, "bench").into()
}
