//! `demo_profiles`: made-up customer profiles in Adobe's XDM shape, for demos, tests and load.
//! In: a seed, a rate, a count. Out: arrays of events, each one JSON object; the same for the same seed.
//! Holds: one number a profile. Never: acknowledges, invents anything but from its seed (times are made up too).

mod generator;

use std::time::Duration;

use afluente_pipeline::SourceSender;
use afluente_pipeline::codecs::decoding::{DecodingCodec, DecodingConfig};
use afluente_pipeline::component::{
    ComponentDescription, ComponentKind, Source, SourceConfig, SourceContext, SourceOutput,
};
use afluente_pipeline::event::{EventFinalizers, LogEvent};
use afluente_pipeline::inventory;
use afluente_pipeline::shutdown::ShutdownSignal;
use async_trait::async_trait;
use bytes::Bytes;
use metrics::Counter;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

pub use generator::{DemoProfiles, DemoProfilesOptions, EVENT_BYTES_MIN, PROFILES_MAX};

use crate::faults::received_bytes;
use crate::intake::Stamp;

const NAME: &str = "demo_profiles";

/// Bytes of events in one array: those of one read of the sources that read.
const ARRAY_BYTES: usize = crate::lines::READ_BYTES;
/// Events in one array at most.
const ARRAY_EVENTS: usize = 500;
/// How often a rate is kept up: often enough to look steady, seldom enough to cost nothing.
const TICK: Duration = Duration::from_millis(10);

/// Options of `demo_profiles`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct DemoProfilesConfig {
    /// How many events; unset: without end.
    pub count: Option<u64>,
    /// Events per second; unset: as fast as they are taken.
    pub rate: Option<f64>,
    /// Where all of it comes from: one seed, one stream of events.
    pub seed: u64,
    /// How many different profiles, 1 to 16,777,216. Each takes 4 bytes of memory.
    pub profiles: u32,
    /// About how long an event is in bytes. Each has a length of its own around it; below 560 it is what it must be.
    pub event_bytes: usize,
    /// How records are read: `bytes` (default) or `json`.
    pub decoding: DecodingConfig,
}

impl Default for DemoProfilesConfig {
    fn default() -> Self {
        let options = DemoProfilesOptions::default();
        Self {
            count: None,
            rate: None,
            seed: options.seed,
            profiles: options.profiles,
            event_bytes: options.event_bytes,
            decoding: DecodingConfig::default(),
        }
    }
}

#[async_trait]
#[typetag::serde(name = "demo_profiles")]
impl SourceConfig for DemoProfilesConfig {
    async fn build(&self, context: SourceContext) -> afluente_pipeline::Result<Source> {
        self.validate_structure().map_err(|errors| errors.join("; "))?;
        let options =
            DemoProfilesOptions { seed: self.seed, profiles: self.profiles, event_bytes: self.event_bytes };
        let demo = Demo {
            generator: DemoProfiles::new(options),
            codec: self.decoding.codec,
            left: self.count.unwrap_or(u64::MAX),
            rate: self.rate,
            array_events: (ARRAY_BYTES / self.event_bytes.max(1)).clamp(1, ARRAY_EVENTS),
            received_bytes: received_bytes(NAME, context.key.id(), "none"),
            stamp: Stamp::new(NAME, &context.key),
            out: context.out,
        };
        Ok(Box::pin(demo.run(context.shutdown)))
    }

    fn outputs(&self) -> Vec<SourceOutput> {
        vec![SourceOutput::new_logs()]
    }

    fn can_acknowledge(&self) -> bool {
        false
    }

    fn validate_structure(&self) -> Result<(), Vec<String>> {
        let mut errors = Vec::new();
        if self.profiles == 0 || self.profiles > PROFILES_MAX {
            errors.push(format!("`profiles` must be from 1 to {PROFILES_MAX}, not {}", self.profiles));
        }
        if self.rate.is_some_and(|rate| !rate.is_finite() || rate <= 0.0) {
            errors.push("`rate` must be a number of events per second greater than 0".to_owned());
        }
        if self.event_bytes == 0 || self.event_bytes > crate::LINE_BYTES_MAX_DEFAULT {
            errors.push(format!(
                "`event_bytes` must be from 1 to {}, not {}",
                crate::LINE_BYTES_MAX_DEFAULT,
                self.event_bytes
            ));
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }
}

inventory::submit! {
    ComponentDescription {
        kind: ComponentKind::Source,
        name: NAME,
        summary: "Made-up customer profiles in Adobe's XDM shape, from a seed.",
        schema: |generator| generator.subschema_for::<DemoProfilesConfig>(),
    }
}

struct Demo {
    generator: DemoProfiles,
    codec: DecodingCodec,
    left: u64,
    rate: Option<f64>,
    array_events: usize,
    received_bytes: Counter,
    stamp: Stamp,
    out: SourceSender,
}

impl Demo {
    async fn run(mut self, mut shutdown: ShutdownSignal) -> Result<(), ()> {
        let started = Instant::now();
        let mut ticks = tokio::time::interval(TICK);
        let mut sent = 0u64;
        while self.left > 0 {
            let due = match self.rate {
                None => self.left,
                Some(rate) => {
                    tokio::select! {
                        biased;
                        () = &mut shutdown => return Ok(()),
                        _ = ticks.tick() => {}
                    }
                    // The event at time zero is due at once.
                    let due = (started.elapsed().as_secs_f64() * rate) as u64 + 1;
                    due.saturating_sub(sent).min(self.left)
                }
            };
            let mut due = due;
            while due > 0 {
                if shutdown.is_triggered() {
                    return Ok(());
                }
                let count = due.min(self.array_events as u64);
                let events = self.array(count as usize);
                tokio::select! {
                    biased;
                    // Nobody misses an event that was made up and not handed over.
                    () = &mut shutdown => return Ok(()),
                    result = self.out.send_event(events) => if result.is_err() { return Ok(()) },
                }
                due -= count;
                self.left -= count;
                sent += count;
            }
        }
        Ok(())
    }

    /// The next `count` events, written into one buffer.
    fn array(&mut self, count: usize) -> Vec<LogEvent> {
        let mut buffer = Vec::with_capacity(count * self.generator.event_bytes_max());
        let mut ends = Vec::with_capacity(count);
        for _ in 0..count {
            self.generator.write_event(&mut buffer);
            ends.push(buffer.len());
        }
        self.received_bytes.increment(buffer.len() as u64);
        buffer.shrink_to_fit();
        let buffer = Bytes::from(buffer);
        let metadata = self.stamp.now(EventFinalizers::DEFAULT);
        let mut start = 0;
        let event = |end| {
            let text = buffer.slice(start..end);
            start = end;
            match self.codec {
                DecodingCodec::Bytes => LogEvent::from_message_bytes(text, metadata.clone()),
                DecodingCodec::Json => LogEvent::from_json_bytes(text, metadata.clone()),
            }
        };
        ends.into_iter().map(event).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use afluente_pipeline::event::EventContainer;
    use futures::StreamExt;

    use super::*;
    use crate::testing::{context, messages};

    fn config(text: &str) -> Box<dyn SourceConfig> {
        serde_json::from_str(&format!(r#"{{"type":"demo_profiles",{text}}}"#)).unwrap()
    }

    #[tokio::test]
    async fn the_count_is_kept_and_the_source_ends() {
        for decoding in [r#""bytes""#, r#""json""#] {
            let config = config(&format!(r#""count":1234,"decoding":{{"codec":{decoding}}}"#));
            let (context, arrays) = context();
            let source = config.build(context.inner).await.unwrap();
            let (result, arrays) = tokio::join!(source, arrays.collect::<Vec<_>>());
            assert_eq!(result, Ok(()));
            assert_eq!(arrays.iter().map(EventContainer::len).sum::<usize>(), 1234);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_rate_is_kept() {
        let config = config(r#""rate":1000,"count":5000"#);
        let (context, arrays) = context();
        let started = Instant::now();
        let source = config.build(context.inner).await.unwrap();
        let (_, arrays) = tokio::join!(source, arrays.collect::<Vec<_>>());
        let took = started.elapsed();
        assert!((Duration::from_millis(4980)..Duration::from_millis(5020)).contains(&took), "{took:?}");
        assert_eq!(messages(&arrays).len(), 5000);
    }

    #[tokio::test]
    async fn an_endless_stream_stops_when_told() {
        let config = config(r#""seed":3"#);
        let (context, mut arrays) = context();
        let trigger = context.shutdown.clone();
        let source = tokio::spawn(config.build(context.inner).await.unwrap());
        assert!(arrays.next().await.is_some());
        trigger.trigger();
        assert_eq!(source.await.unwrap(), Ok(()), "though nobody takes what is queued");
    }

    #[test]
    fn options_out_of_range_are_told() {
        assert!(config(r#""profiles":0"#).validate_structure().is_err());
        assert!(config(r#""rate":0"#).validate_structure().is_err());
        assert!(config(r#""event_bytes":2000000"#).validate_structure().is_err());
        assert!(config(r#""event_bytes":562"#).validate_structure().is_ok());
    }
}
