//! Console: events to standard output or standard error.
//! In: arrays. Out: their frames in one write and one flush an array; delivered once the flush returns.
//! Never: blocks a worker thread, writes logs, goes on after its reader has gone.

use std::io::{self, Write};

use afluente_pipeline::Result;
use afluente_pipeline::codecs::encoding::{EncodingConfig, FramingConfig, StreamEncoder};
use afluente_pipeline::component::{
    ComponentDescription, ComponentKind, Input, Resource, SinkConfig, SinkContext,
};
use afluente_pipeline::config::AcknowledgementsConfig;
use afluente_pipeline::event::{EventArray, EventStatus, LostUnlessTaken};
use afluente_pipeline::sink::{Healthcheck, StreamSink, VectorSink};
use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::tally::{Held, Tally};

const NAME: &str = "console";

/// A buffer that one large array made bigger than this is let go again. Chosen, not measured.
const KEPT_BUFFER_BYTES: usize = 1024 * 1024;

/// Which stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ConsoleTarget {
    /// Standard output, which belongs to data.
    #[default]
    Stdout,
    /// Standard error, which logs and the live status go to as well.
    Stderr,
}

impl ConsoleTarget {
    fn name(self) -> &'static str {
        match self {
            Self::Stdout => "standard output",
            Self::Stderr => "standard error",
        }
    }
}

/// Options of the `console` sink.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ConsoleConfig {
    /// `stdout` (the default) or `stderr`. Only one sink may own each.
    #[serde(default)]
    pub target: ConsoleTarget,
    /// How events are written.
    pub encoding: EncodingConfig,
    /// How events are told apart. Unset: a line each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub framing: Option<FramingConfig>,
    /// Whether sources wait for this sink.
    #[serde(default)]
    pub acknowledgements: AcknowledgementsConfig,
}

#[async_trait]
#[typetag::serde(name = "console")]
impl SinkConfig for ConsoleConfig {
    async fn build(&self, context: SinkContext) -> Result<(VectorSink, Healthcheck)> {
        let encoder = StreamEncoder::new(&self.encoding, self.framing.as_ref())?;
        let output: Box<dyn Write + Send> = match self.target {
            ConsoleTarget::Stdout => Box::new(io::stdout()),
            ConsoleTarget::Stderr => Box::new(io::stderr()),
        };
        let writer = Writer {
            encoder,
            tally: Tally::new(&context, NAME, NAME),
            target: self.target.name(),
            output,
            frames: Vec::new(),
        };
        let sink = VectorSink::from_event_streamsink(ConsoleSink { writer: Box::new(writer) });
        Ok((sink, Box::pin(futures::future::ok(()))))
    }

    fn input(&self) -> Input {
        Input::log()
    }

    fn acknowledgements(&self) -> &AcknowledgementsConfig {
        &self.acknowledgements
    }

    fn resources(&self) -> Vec<Resource> {
        vec![Resource::Fd(match self.target {
            ConsoleTarget::Stdout => 1,
            ConsoleTarget::Stderr => 2,
        })]
    }

    fn validate_structure(&self) -> std::result::Result<(), Vec<String>> {
        StreamEncoder::new(&self.encoding, self.framing.as_ref()).map(drop).map_err(|error| vec![error])
    }
}

afluente_pipeline::inventory::submit! {
    ComponentDescription {
        kind: ComponentKind::Sink,
        name: NAME,
        summary: "Standard output or standard error.",
        schema: |generator| generator.subschema_for::<ConsoleConfig>(),
    }
}

/// What is lent to a blocking thread for each array.
struct Writer {
    encoder: StreamEncoder,
    tally: Tally,
    target: &'static str,
    output: Box<dyn Write + Send>,
    frames: Vec<u8>,
}

struct ConsoleSink {
    writer: Box<Writer>,
}

#[async_trait]
impl StreamSink<EventArray> for ConsoleSink {
    async fn run(self: Box<Self>, mut input: BoxStream<'_, EventArray>) -> std::result::Result<(), ()> {
        let mut writer = self.writer;
        while let Some(array) = input.next().await {
            // When the sink is dropped meanwhile, an array whose turn has begun is still written and settled.
            let mut array = LostUnlessTaken::new(array);
            let turn = tokio::task::spawn_blocking(move || {
                let result = writer.write(array.take().unwrap_or_default());
                (writer, result)
            });
            let result;
            (writer, result) = turn
                .await
                .map_err(|error| tracing::error!(%error, "The console sink has failed; this is a bug."))?;
            result?;
        }
        Ok(())
    }
}

impl Writer {
    /// Writes `array` and settles its events; an error when nothing more can be written.
    fn write(&mut self, array: EventArray) -> std::result::Result<(), ()> {
        let held = self.encode(array);
        if let Err(error) = self.output.write_all(&self.frames).and_then(|()| self.output.flush()) {
            let (events, target) = (held.events(), self.target);
            if error.kind() == io::ErrorKind::BrokenPipe {
                tracing::error!(events, "The reader of {target} has closed it; the sink ends.");
            } else {
                tracing::error!(events, %error, "Cannot write to {target}; the sink ends.");
            }
            self.tally.failed(held, EventStatus::Errored, "writer_failed");
            return Err(());
        }
        self.tally.delivered(held, self.frames.len());
        Ok(())
    }

    /// Puts the frames of `array` into `frames`. Events that cannot be encoded are rejected.
    fn encode(&mut self, array: EventArray) -> Held {
        self.frames.clear();
        self.frames.shrink_to(KEPT_BUFFER_BYTES);
        let mut held = Held::default();
        for mut event in array.into_logs() {
            match self.encoder.encode_to(&event, &mut self.frames) {
                Ok(()) => held.take(&mut event),
                Err(error) => {
                    tracing::error!(%error, "Event rejected: it cannot be encoded.");
                    let mut alone = Held::default();
                    alone.take(&mut event);
                    self.tally.failed(alone, EventStatus::Rejected, "encoder_failed");
                }
            }
        }
        held
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::{Arc, Mutex};

    use afluente_pipeline::codecs::encoding::Codec;
    use afluente_pipeline::event::{BatchStatus, EventMetadata, LogEvent};
    use futures::stream;
    use serde_json::json;

    use super::*;
    use crate::tally::tests::{books, context, messages, of_one_fate};

    /// What has been flushed, by others to read.
    #[derive(Clone, Default)]
    struct Flushed {
        pending: Vec<u8>,
        text: Arc<Mutex<String>>,
    }

    impl Write for Flushed {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.pending.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            let text = String::from_utf8(std::mem::take(&mut self.pending)).unwrap();
            self.text.lock().unwrap().push_str(&text);
            Ok(())
        }
    }

    /// A pipe whose reader has gone.
    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn sink(
        output: impl Write + Send + 'static,
        encoding: &EncodingConfig,
        context: &SinkContext,
    ) -> VectorSink {
        let writer = Writer {
            encoder: StreamEncoder::new(encoding, None).unwrap(),
            tally: Tally::new(context, NAME, NAME),
            target: "standard output",
            output: Box::new(output),
            frames: Vec::new(),
        };
        VectorSink::from_event_streamsink(ConsoleSink { writer: Box::new(writer) })
    }

    #[tokio::test]
    async fn each_array_is_flushed_and_then_delivered() {
        let (context, ledger) = context();
        let output = Flushed::default();
        let (sender, receiver) = futures::channel::mpsc::unbounded();
        let run = tokio::spawn(sink(output.clone(), &Codec::Text.into(), &context).run(receiver));
        for (array, expected) in [(["a", "b"], "a\nb\n"), (["", "c"], "a\nb\n\nc\n")] {
            let (array, status) = messages(&array);
            sender.unbounded_send(array).unwrap();
            assert_eq!(status.await, BatchStatus::Delivered, "while the sink runs on");
            assert_eq!(*output.text.lock().unwrap(), expected);
        }
        drop(sender);
        assert_eq!(run.await.unwrap(), Ok(()));
        assert_eq!(books(&ledger), (4, 0));
    }

    #[tokio::test]
    async fn a_closed_reader_makes_the_array_errored_and_ends_the_sink() {
        let (context, ledger) = context();
        let (array, status) = messages(&["a", "b"]);
        let sink = sink(Closed, &Codec::Text.into(), &context);
        assert_eq!(sink.run(stream::iter([array])).await, Err(()));
        assert_eq!(status.await, BatchStatus::Errored);
        assert_eq!(books(&ledger), (0, 2));
    }

    #[tokio::test]
    async fn an_event_that_cannot_be_encoded_is_rejected_alone() {
        let (context, ledger) = context();
        let options = json!({"codec": "json", "except_fields": ["b"]});
        let encoding: EncodingConfig = serde_json::from_value(options).unwrap();
        let event = |text: &'static str| {
            LogEvent::from_json_bytes(bytes::Bytes::from_static(text.as_bytes()), EventMetadata::default())
        };
        let (good, good_status) = of_one_fate(vec![event(r#"{"a":1,"b":2}"#)]);
        let (bad, bad_status) = of_one_fate(vec![event("{broken")]);
        let mixed: EventArray =
            bad.into_logs().into_iter().chain(good.into_logs()).collect::<Vec<_>>().into();
        let output = Flushed::default();
        assert_eq!(sink(output.clone(), &encoding, &context).run(stream::iter([mixed])).await, Ok(()));
        assert_eq!(*output.text.lock().unwrap(), "{\"a\":1}\n");
        assert_eq!(good_status.await, BatchStatus::Delivered);
        assert_eq!(bad_status.await, BatchStatus::Rejected);
        assert_eq!(books(&ledger), (1, 1));
    }

    #[test]
    fn options_read_as_in_vector() {
        for (options, target, fd) in [
            (json!({"type": "console", "encoding": {"codec": "json"}}), ConsoleTarget::Stdout, 1),
            (
                json!({"type": "console", "target": "stderr", "encoding": {"codec": "text"},
                    "framing": {"method": "bytes"}, "acknowledgements": true}),
                ConsoleTarget::Stderr,
                2,
            ),
        ] {
            let own: ConsoleConfig = serde_json::from_value(options.clone()).unwrap();
            assert_eq!(own.target, target);
            let config: Box<dyn SinkConfig> = serde_json::from_value(options).unwrap();
            assert_eq!(config.resources(), vec![Resource::Fd(fd)]);
            assert_eq!(config.validate_structure(), Ok(()));
        }
        for (options, expected) in [
            (json!({"type": "console"}), "missing field `encoding`"),
            (
                json!({"type": "console", "target": "file", "encoding": {"codec": "json"}}),
                "unknown variant `file`",
            ),
        ] {
            let error = serde_json::from_value::<Box<dyn SinkConfig>>(options).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn options_that_contradict_each_other_are_told_before_anything_runs() {
        let options = json!({"type": "console", "encoding":
            {"codec": "json", "only_fields": ["a"], "except_fields": ["a"]}});
        let config: Box<dyn SinkConfig> = serde_json::from_value(options).unwrap();
        let errors = config.validate_structure().unwrap_err();
        assert_eq!(errors, ["`except_fields` and `only_fields` should be mutually exclusive."]);
    }
}
