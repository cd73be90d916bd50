//! Blackhole: takes events and lets them go, all of them or so many a second.
//! In: arrays. Out: nothing; every event is delivered.
//! Never: reads an event.

use std::num::NonZeroU64;
use std::time::Duration;

use afluente_pipeline::Result;
use afluente_pipeline::component::{ComponentDescription, ComponentKind, Input, SinkConfig, SinkContext};
use afluente_pipeline::config::AcknowledgementsConfig;
use afluente_pipeline::event::EventArray;
use afluente_pipeline::sink::{Healthcheck, StreamSink, VectorSink};
use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, Interval, MissedTickBehavior};

use crate::tally::{Held, Tally};

const NAME: &str = "blackhole";

/// Options of the `blackhole` sink.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct BlackholeConfig {
    /// Seconds between two lines in the log that say how much was taken; 0 (the default) for none.
    pub print_interval_secs: u64,
    /// Most events a second; an array counts as a whole. Unset: as many as come.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<NonZeroU64>,
    /// Whether sources wait for this sink.
    pub acknowledgements: AcknowledgementsConfig,
}

#[async_trait]
#[typetag::serde(name = "blackhole")]
impl SinkConfig for BlackholeConfig {
    async fn build(&self, context: SinkContext) -> Result<(VectorSink, Healthcheck)> {
        let sink = BlackholeSink {
            tally: Tally::new(&context, NAME, NAME),
            print_interval: (self.print_interval_secs > 0)
                .then(|| Duration::from_secs(self.print_interval_secs)),
            rate: self.rate,
            taken: Taken::default(),
        };
        Ok((VectorSink::from_event_streamsink(sink), Box::pin(futures::future::ok(()))))
    }

    fn input(&self) -> Input {
        Input::all()
    }

    fn acknowledgements(&self) -> &AcknowledgementsConfig {
        &self.acknowledgements
    }
}

afluente_pipeline::inventory::submit! {
    ComponentDescription {
        kind: ComponentKind::Sink,
        name: NAME,
        summary: "Nowhere; every event counts as delivered.",
        schema: |generator| generator.subschema_for::<BlackholeConfig>(),
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Taken {
    events: u64,
    json_bytes: u64,
}

struct BlackholeSink {
    tally: Tally,
    print_interval: Option<Duration>,
    rate: Option<NonZeroU64>,
    taken: Taken,
}

#[async_trait]
impl StreamSink<EventArray> for BlackholeSink {
    async fn run(mut self: Box<Self>, mut input: BoxStream<'_, EventArray>) -> std::result::Result<(), ()> {
        let mut ticks = self.print_interval.map(|period| {
            let mut ticks = tokio::time::interval_at(Instant::now() + period, period);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        });
        // When the events taken so far are paid for.
        let mut paid_at = Instant::now();
        loop {
            let array = tokio::select! {
                array = input.next() => array,
                () = tick(ticks.as_mut()) => {
                    self.print();
                    continue;
                }
            };
            let Some(array) = array else { break };
            let held = hold(array);
            if let Some(rate) = self.rate {
                paid_at = paid_at.max(Instant::now()) + price(held.events(), rate);
                let paid = tokio::time::sleep_until(paid_at);
                tokio::pin!(paid);
                loop {
                    tokio::select! {
                        () = &mut paid => break,
                        () = tick(ticks.as_mut()) => self.print(),
                    }
                }
            }
            self.taken.events += held.events();
            self.taken.json_bytes += held.json_bytes();
            self.tally.delivered(held, 0);
        }
        if self.print_interval.is_some() {
            self.print();
        }
        Ok(())
    }
}

impl BlackholeSink {
    fn print(&self) {
        let Taken { events, json_bytes } = self.taken;
        tracing::info!(events, raw_bytes_collected = json_bytes, "Collected events.");
    }
}

/// The next tick; never, without an interval.
async fn tick(ticks: Option<&mut Interval>) {
    match ticks {
        Some(ticks) => {
            ticks.tick().await;
        }
        None => std::future::pending().await,
    }
}

fn hold(array: EventArray) -> Held {
    let mut held = Held::default();
    array.into_logs().iter_mut().for_each(|event| held.take(event));
    held
}

/// How long `events` take at `rate` a second.
fn price(events: u64, rate: NonZeroU64) -> Duration {
    let nanos = u128::from(events) * 1_000_000_000 / u128::from(rate.get());
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use afluente_pipeline::event::BatchStatus;
    use futures::stream;
    use serde_json::json;

    use super::*;
    use crate::tally::tests::{books, context, messages};

    async fn build(options: serde_json::Value, context: SinkContext) -> VectorSink {
        let config: Box<dyn SinkConfig> = serde_json::from_value(options).unwrap();
        config.build(context).await.unwrap().0
    }

    #[tokio::test(start_paused = true)]
    async fn every_event_is_delivered_at_once_without_a_rate() {
        let (context, ledger) = context();
        let (first, first_status) = messages(&["a", "b"]);
        let (second, second_status) = messages(&["c"]);
        let start = Instant::now();
        let sink = build(json!({"type": "blackhole"}), context).await;
        assert_eq!(sink.run(stream::iter([first, second])).await, Ok(()));
        assert_eq!(start.elapsed(), Duration::ZERO);
        assert_eq!(first_status.await, BatchStatus::Delivered);
        assert_eq!(second_status.await, BatchStatus::Delivered);
        assert_eq!(books(&ledger), (3, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_lets_so_many_events_go_a_second_and_reaches_back_to_the_source() {
        let (context, ledger) = context();
        let arrays = (0..4).map(|_| messages(&["x"; 50]).0).collect::<Vec<_>>();
        let start = Instant::now();
        let options = json!({"type": "blackhole", "rate": 100, "print_interval_secs": 1});
        let sink = build(options, context).await;
        assert_eq!(sink.run(stream::iter(arrays)).await, Ok(()));
        assert_eq!(start.elapsed(), Duration::from_secs(2));
        assert_eq!(books(&ledger), (200, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_of_the_source_is_not_made_up_for_by_a_burst() {
        let (context, _) = context();
        let (sender, receiver) = futures::channel::mpsc::unbounded();
        let sink = build(json!({"type": "blackhole", "rate": 10}), context).await;
        let run = tokio::spawn(sink.run(receiver));
        tokio::time::sleep(Duration::from_secs(60)).await;
        let start = Instant::now();
        let (array, status) = messages(&["x"; 20]);
        sender.unbounded_send(array).unwrap();
        assert_eq!(status.await, BatchStatus::Delivered);
        assert_eq!(start.elapsed(), Duration::from_secs(2));
        drop(sender);
        assert_eq!(run.await.unwrap(), Ok(()));
    }

    #[test]
    fn options_read_as_in_vector() {
        for (options, interval, rate) in [
            (json!({}), 0, None),
            (
                json!({"print_interval_secs": 10, "rate": 1000, "acknowledgements": {"enabled": true}}),
                10,
                Some(1000),
            ),
        ] {
            let config: BlackholeConfig = serde_json::from_value(options).unwrap();
            assert_eq!((config.print_interval_secs, config.rate.map(NonZeroU64::get)), (interval, rate));
        }
        assert!(serde_json::from_value::<BlackholeConfig>(json!({"rate": 0})).is_err());
    }
}
