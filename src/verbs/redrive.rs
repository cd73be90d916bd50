//! `redrive`: sends the records of a dead letter file again.
//! In: a file that `dead_letter` of a Kinesis sink wrote, and the configuration of that sink. Out: the records in the
//! stream, with their keys and bytes as they were; counts on standard error.
//! Never: changes the file, reads a file that the sink writes to. Exit: 0 when every record was delivered, else 1.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use afluente::pipeline::accounting::Ledger;
use afluente::pipeline::component::{ComponentKey, SinkConfig, SinkContext};
use afluente::pipeline::config::{Config, SinkOuter};
use afluente::pipeline::event::{EventArray, EventMetadata, LogEvent};
use afluente::sink::kinesis::KinesisSinkConfig;
use bytes::Bytes;
use clap::Args;
use futures::{Stream, StreamExt};
use serde::Deserialize;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::ConfigArgs;
use crate::exit::{Exit, tell};
use crate::status;

/// Records in one array.
const ARRAY_RECORDS: usize = 100;

/// Options of `redrive`.
#[derive(Args, Debug)]
pub(crate) struct RedriveArgs {
    /// The dead letter file. Move it away from where the sink writes first.
    file: PathBuf,
    #[command(flatten)]
    config: ConfigArgs,
    /// The sink to send with.
    #[arg(long, value_name = "ID")]
    sink: String,
}

/// One line of the file; see `dead_letter` of the Kinesis sink.
#[derive(Deserialize)]
struct Letter {
    record: Option<String>,
    record_base64: Option<String>,
    #[serde(default)]
    partition_key: String,
}

impl Letter {
    /// The event that becomes the record again; nothing if the line kept no record.
    fn into_event(self) -> Result<LogEvent, &'static str> {
        let data = match (self.record, self.record_base64) {
            (Some(text), _) => text.into_bytes(),
            (None, Some(text)) => {
                base64_simd::STANDARD.decode_to_vec(text).map_err(|_| "its record is not base64")?
            }
            (None, None) => Vec::new(),
        };
        if data.is_empty() {
            return Err("it holds no record: the event could not be written at all");
        }
        let mut metadata = EventMetadata::default();
        if !self.partition_key.is_empty() {
            metadata.set_partition_key(Bytes::from(self.partition_key));
        }
        Ok(LogEvent::from_message_bytes(Bytes::from(data), metadata))
    }
}

/// Sends a dead letter file again.
pub(crate) async fn redrive(args: RedriveArgs) -> Exit {
    let config = match args.config.load_or_tell() {
        Ok(loaded) => loaded.config,
        Err(exit) => return exit,
    };
    let (key, outer, mut sink) = match chosen(&config, &args.sink, &args.file) {
        Ok(chosen) => chosen,
        Err(sentence) => {
            tell(format_args!("x {sentence}"));
            return Exit::Config;
        }
    };
    let file = match File::open(&args.file) {
        Ok(file) => file,
        Err(error) => {
            tell(format_args!("x {} cannot be opened: {error}", args.file.display()));
            return Exit::Failed;
        }
    };
    // The records are what the sink once made: nothing is encoded, compressed or keyed a second time.
    let Ok(encoding) = serde_json::from_value(serde_json::json!({"codec": "raw_message"})) else {
        return Exit::Failed;
    };
    sink.encoding = encoding;
    sink.compression = Default::default();
    sink.partition_key_field = None;
    let ledger = Ledger::default();
    let context = SinkContext {
        key: key.clone(),
        healthcheck: outer.healthcheck.clone(),
        globals: config.global.clone(),
        proxy: outer.proxy.clone(),
        buffer: outer.buffer.clone(),
        account: ledger.account_for(key, "aws_kinesis_streams"),
        ..SinkContext::default()
    };
    let sink = match sink.build(context).await {
        Ok((sink, _)) => sink,
        Err(error) => {
            tell(format_args!("x Sink \"{key}\": {error}"));
            return Exit::Config;
        }
    };
    let (Ok(mut interrupt), Ok(mut hurry)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::interrupt()))
    else {
        tell("x signals cannot be listened to");
        return Exit::Failed;
    };
    let live = status::show(ledger.clone());
    let bad = std::sync::atomic::AtomicU64::new(0);
    let letters = letters(file, &ledger, &bad).take_until(async move {
        interrupt.recv().await;
        tell("Reading stops; what was read is still sent. Once more ends at once.");
    });
    let sent = tokio::select! {
        sent = sink.run(letters) => sent.is_ok(),
        () = async { hurry.recv().await; hurry.recv().await; } => false,
    };
    drop(live);
    crate::terminal::set_status("");
    let balance = ledger.balance();
    tell(status::accounting(&balance));
    let bad = bad.into_inner();
    if bad > 0 {
        tell(format_args!("x {bad} lines could not be read as letters"));
    }
    if sent && bad == 0 && balance.delivered == balance.received { Exit::Done } else { Exit::Failed }
}

fn chosen<'a>(
    config: &'a Config,
    id: &str,
    file: &Path,
) -> Result<(&'a ComponentKey, &'a SinkOuter, KinesisSinkConfig), String> {
    let Some((key, outer)) = config.sinks.iter().find(|(key, _)| key.id() == id) else {
        let known: Vec<_> = config.sinks.keys().map(|key| format!("`{key}`")).collect();
        return Err(format!("no sink is called `{id}`; there is {}", known.join(", ")));
    };
    let Some(sink) = outer.inner.as_any().and_then(|sink| sink.downcast_ref::<KinesisSinkConfig>()) else {
        return Err(format!("sink `{id}` is not of type aws_kinesis_streams, which alone writes such files"));
    };
    let same = |path: &Path| match (path.canonicalize(), file.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    };
    if sink.dead_letter.as_ref().is_some_and(|options| same(&options.path)) {
        return Err(format!(
            "{} is where the sink writes: move it away first, so that what is refused again is not read again",
            file.display()
        ));
    }
    Ok((key, outer, sink.clone()))
}

/// The file's records as arrays, read when the sink has room for them.
fn letters<'a>(
    file: File,
    ledger: &'a Ledger,
    bad: &'a std::sync::atomic::AtomicU64,
) -> impl Stream<Item = EventArray> + Send + 'a {
    let mut lines = BufReader::new(file).split(b'\n').enumerate();
    futures::stream::iter(std::iter::from_fn(move || {
        let mut events = Vec::with_capacity(ARRAY_RECORDS);
        for (index, line) in lines.by_ref() {
            let event = match line {
                Ok(line) if line.trim_ascii().is_empty() => continue,
                // Messages of the parser may quote a record.
                Ok(line) => serde_json::from_slice::<Letter>(&line)
                    .map_err(|_| "it is not a letter in JSON")
                    .and_then(Letter::into_event),
                Err(_) => Err("it cannot be read"),
            };
            match event {
                Ok(event) => events.push(event),
                Err(reason) => {
                    tell(format_args!("x line {}: {reason}", index + 1));
                    bad.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                }
            }
            if events.len() == ARRAY_RECORDS {
                break;
            }
        }
        if events.is_empty() {
            return None;
        }
        ledger.add_received(events.len() as u64);
        Some(EventArray::Logs(events))
    }))
}
