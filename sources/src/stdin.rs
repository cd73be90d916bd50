//! `stdin`: standard input, a record a line.
//! In: bytes of descriptor 0, read by one thread of its own. Out: arrays of events, as soon as there is one line.
//! Holds: one read that waits for the pipeline; then the thread stops reading.
//! Never: acknowledges (there is nobody to tell), waits for company, cuts a line.
//!
//! It ends with its input. On shutdown it sends on what was read already, since nobody could read that again; the
//! thread may stay in its read, which does not keep the process alive.

use std::borrow::Cow;
use std::os::fd::{AsFd, OwnedFd};

use afluente_pipeline::SourceSender;
use afluente_pipeline::codecs::decoding::{DecodingConfig, Framing, FramingConfig};
use afluente_pipeline::component::{
    ComponentDescription, ComponentKind, Resource, Source, SourceConfig, SourceContext, SourceOutput,
};
use afluente_pipeline::event::EventFinalizers;
use afluente_pipeline::inventory;
use afluente_pipeline::shutdown::ShutdownSignal;
use async_trait::async_trait;
use metrics::Counter;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::LINE_BYTES_MAX_DEFAULT;
use crate::faults::{Faults, received_bytes};
use crate::intake::{Intake, Place, Stamp, check_field_name, field_name, host};
use crate::lines::{Chunk, Delimiter, LineBuffer, LineRules, ReadBuffers};

const NAME: &str = "stdin";

/// Reads that may wait for the pipeline: one, so that reading goes on while an array is handed over. More would only grow old there; what is
/// small is read together with what comes meanwhile. Measured at full speed: with four the 99th percentile is a quarter higher, the CPU the same.
const WAITING_CHUNKS: usize = 1;

/// Bytes a pipe on standard input is asked to hold: what Linux grants anyone. A writer and this source then
/// change places a few times per MiB in place of every 64 KiB.
#[cfg(target_os = "linux")]
const PIPE_BYTES: usize = 1024 * 1024;

/// Options of `stdin`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct StdinConfig {
    /// The longest line in bytes, its end not counted. A longer one is dropped, counted and told with its
    /// number and length. Default 1,048,576 (Vector: 102,400): the size that Kinesis takes without being asked.
    pub max_length: Option<usize>,
    /// The field for the name of this machine, in events made of plain bytes. Default `host`; empty: none.
    pub host_key: Option<String>,
    /// How records are found: `newline_delimited` (default) or `character_delimited`.
    pub framing: FramingConfig,
    /// How records are read: `bytes` (default) or `json`.
    pub decoding: DecodingConfig,
}

impl StdinConfig {
    fn rules(&self) -> Result<LineRules, String> {
        match self.framing.build()? {
            Framing::Lines { delimiter, max_length } => Ok(LineRules {
                delimiter: Delimiter::byte(delimiter),
                max_line_bytes: max_length.or(self.max_length).unwrap_or(LINE_BYTES_MAX_DEFAULT),
            }),
            Framing::Whole => Err("`framing.method: bytes` has no meaning for `stdin`, which has no end \
                                   until its writer ends: use `newline_delimited` or `character_delimited`"
                .to_owned()),
        }
    }

    /// Reads `input` in place of standard input.
    ///
    /// # Errors
    /// One sentence about an option that cannot be.
    pub(crate) fn build_on(
        &self,
        input: OwnedFd,
        context: SourceContext,
    ) -> afluente_pipeline::Result<Source> {
        let rules = self.rules()?;
        let id = context.key.id();
        let faults = Faults::new(NAME, id, &context.out);
        let host_key = field_name(self.host_key.as_deref(), Some("host"));
        let stdin = Stdin {
            intake: Intake::new(rules.clone(), self.decoding.build(), faults),
            stamp: Stamp::new(NAME, &context.key).with_field(host_key, host()),
            received_bytes: received_bytes(NAME, id, "none"),
            line: 0,
            expected: 0,
            out: context.out,
        };
        let shutdown = context.shutdown;
        Ok(Box::pin(async move {
            let (sender, chunks) = mpsc::channel(WAITING_CHUNKS);
            let reader = std::thread::Builder::new().name("stdin".to_owned());
            if let Err(error) = reader.spawn(move || read(&input, rules, &sender)) {
                tracing::error!("Standard input cannot be read: no thread could be started: {error}.");
                return Err(());
            }
            stdin.run(chunks, shutdown).await
        }))
    }
}

#[async_trait]
#[typetag::serde(name = "stdin")]
impl SourceConfig for StdinConfig {
    async fn build(&self, context: SourceContext) -> afluente_pipeline::Result<Source> {
        let input = std::io::stdin().as_fd().try_clone_to_owned()?;
        self.build_on(input, context)
    }

    fn outputs(&self) -> Vec<SourceOutput> {
        vec![SourceOutput::new_logs()]
    }

    fn can_acknowledge(&self) -> bool {
        false
    }

    fn resources(&self) -> Vec<Resource> {
        vec![Resource::Fd(0)]
    }

    fn validate_structure(&self) -> Result<(), Vec<String>> {
        let mut errors = Vec::new();
        errors.extend(self.rules().err());
        errors.extend(check_field_name("host_key", self.host_key.as_deref()).err());
        if self.max_length == Some(0) {
            errors.push("`max_length` must be greater than 0".to_owned());
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }
}

inventory::submit! {
    ComponentDescription {
        kind: ComponentKind::Source,
        name: NAME,
        summary: "Standard input, a record a line.",
        schema: |generator| generator.subschema_for::<StdinConfig>(),
    }
}

/// Reads `input` to its end; whole lines go to `chunks`, which blocks while the pipeline is full.
fn read(input: &OwnedFd, rules: LineRules, chunks: &mpsc::Sender<Chunk>) {
    #[cfg(target_os = "linux")]
    // Refused when it is no pipe, or when the user's pipes hold too much already: then it stays as it is.
    let _ = rustix::pipe::fcntl_setpipe_size(input, PIPE_BYTES);
    let (mut buffer, mut buffers) = (LineBuffer::new(rules, 0), ReadBuffers::default());
    loop {
        let space = buffer.space(&mut buffers);
        match rustix::io::read(input, rustix::buffer::spare_capacity(space)) {
            Ok(0) => break,
            Ok(_) => {
                if let Some(chunk) = buffer.take(&mut buffers)
                    && chunks.blocking_send(chunk).is_err()
                {
                    return;
                }
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::AGAIN) => {
                // Someone who shares the descriptor made it non-blocking.
                let mut waiting = [rustix::event::PollFd::new(input, rustix::event::PollFlags::IN)];
                let _ = rustix::event::poll(&mut waiting, None);
            }
            Err(error) => {
                let error = std::io::Error::from(error);
                tracing::error!("Standard input cannot be read after byte {}: {error}.", buffer.end());
                break;
            }
        }
    }
    if let Some(chunk) = buffer.take_last() {
        let _ = chunks.blocking_send(chunk);
    }
}

/// The part that runs in the pipeline.
struct Stdin {
    intake: Intake,
    stamp: Stamp,
    received_bytes: Counter,
    /// The number of the line it is at.
    line: u64,
    /// Events of the last array.
    expected: usize,
    out: SourceSender,
}

impl Stdin {
    async fn run(
        mut self,
        mut chunks: mpsc::Receiver<Chunk>,
        mut shutdown: ShutdownSignal,
    ) -> Result<(), ()> {
        loop {
            tokio::select! {
                // Shutdown first: an endless input is always ready.
                biased;
                () = &mut shutdown, if !chunks.is_closed() => chunks.close(),
                chunk = chunks.recv() => {
                    let Some(chunk) = chunk else { return Ok(()) };
                    if self.send(chunk).await.is_err() {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Sends the lines of a chunk, which may need several arrays.
    async fn send(&mut self, mut chunk: Chunk) -> Result<(), afluente_pipeline::SendError> {
        // About as many as last time: no growing step by step on a steady stream.
        let mut events = Vec::with_capacity(self.expected);
        let metadata = self.stamp.now(EventFinalizers::DEFAULT);
        self.received_bytes.increment(chunk.len() as u64);
        let place = || Cow::Borrowed(&metadata);
        while self.intake.fill(&mut chunk, &mut events, Place::Numbered(&mut self.line), |_| place()) {
            self.out.send_event(std::mem::take(&mut events)).await?;
        }
        self.expected = events.len();
        self.out.send_event(events).await
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Write;

    use afluente_pipeline::event::{EventArray, EventContainer};
    use futures::StreamExt;

    use super::*;
    use crate::testing::{context, messages};

    fn config(text: &str) -> StdinConfig {
        serde_json::from_str(text).unwrap()
    }

    /// All arrays of a source that is given `input`, and the ledger's line.
    async fn run(config: &StdinConfig, input: Vec<u8>) -> (Vec<EventArray>, String) {
        let (read, mut write) = std::io::pipe().unwrap();
        let writer = std::thread::spawn(move || write.write_all(&input));
        let (context, arrays) = context();
        let source = config.build_on(read.into(), context.inner).unwrap();
        let (result, arrays) = tokio::join!(source, arrays.collect::<Vec<_>>());
        assert_eq!(result, Ok(()));
        writer.join().unwrap().unwrap();
        (arrays, context.ledger.balance().to_string())
    }

    #[tokio::test]
    async fn every_line_arrives_in_order_and_the_source_ends_with_its_input() {
        let lines: Vec<_> =
            (0..20_000).map(|number| format!("{number}: {}", "x".repeat(number % 300))).collect();
        let (arrays, _) = run(&config("{}"), lines.join("\n").into_bytes()).await;
        assert_eq!(messages(&arrays), lines);
        assert!(arrays.iter().all(|array| (1..=1000).contains(&array.len())));
    }

    #[tokio::test]
    async fn a_lone_line_goes_out_at_once() {
        let (read, mut write) = std::io::pipe().unwrap();
        let (context, mut arrays) = context();
        let source = tokio::spawn(config("{}").build_on(read.into(), context.inner).unwrap());
        for text in ["one", "two"] {
            write.write_all(format!("{text}\nhalf").as_bytes()).unwrap();
            let array = arrays.next().await.unwrap();
            assert!(messages([&array])[0].ends_with(text), "the half line stays for its end");
        }
        drop(write);
        assert_eq!(messages([&arrays.next().await.unwrap()]), ["half"]);
        assert_eq!(source.await.unwrap(), Ok(()));
    }

    #[tokio::test]
    async fn shutdown_ends_the_source_though_its_input_has_no_end() {
        let (read, mut write) = std::io::pipe().unwrap();
        let (context, mut arrays) = context();
        let source = tokio::spawn(config("{}").build_on(read.into(), context.inner).unwrap());
        write.write_all(b"one\n").unwrap();
        arrays.next().await.unwrap();
        context.shutdown.trigger();
        assert_eq!(source.await.unwrap(), Ok(()));
        drop(write);
    }

    #[tokio::test]
    async fn lines_that_are_no_event_are_counted_and_the_rest_goes_on() {
        let config = config(r#"{"max_length":20,"decoding":{"codec":"json"}}"#);
        let input =
            b"{\"a\":1}\r\n\n{\"broken\n{\"long\":\"xxxxxxxxxxxxxxxxxx\"}\n[{\"b\":2},{\"c\":3}]\n7".to_vec();
        let (arrays, balance) = run(&config, input).await;
        assert_eq!(messages(&arrays), [r#"{"a":1}"#, r#"{"b":2}"#, r#"{"c":3}"#]);
        assert!(balance.starts_with("received 6 = ") && balance.contains("dropped 3"), "{balance}");
    }

    #[tokio::test]
    async fn plain_lines_have_the_fields_that_vector_adds_and_json_has_only_its_own() {
        let plain = config(r#"{"host_key":"machine"}"#);
        let (arrays, _) = run(&plain, b"hello".to_vec()).await;
        let log = &arrays[0].as_logs()[0];
        let keys: Vec<_> = log.keys().map(|key| key.to_string()).collect();
        assert_eq!(keys, ["machine", "message", "source_type", "timestamp"]);
        let json = config(r#"{"decoding":{"codec":"json"}}"#);
        let (arrays, _) = run(&json, b"{\"a\":1}".to_vec()).await;
        let log = &arrays[0].as_logs()[0];
        assert_eq!(log.keys().map(|key| key.to_string()).collect::<Vec<_>>(), ["a"]);
        assert_eq!(log.metadata().source_type(), Some("stdin"));
    }

    #[test]
    fn options_that_cannot_be_are_told() {
        let errors = |text| config(text).validate_structure().unwrap_err().join("; ");
        assert!(errors(r#"{"framing":{"method":"bytes"}}"#).contains("no meaning for `stdin`"));
        assert!(errors(r#"{"max_length":0}"#).contains("max_length"));
        assert!(errors(r#"{"host_key":"a.b"}"#).contains("host_key"));
        assert!(config(r#"{"host_key":""}"#).validate_structure().is_ok());
    }
}
