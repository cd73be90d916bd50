//! Logging: structured log lines on standard error, with repeats held back.
//! In: `tracing` events of all crates. Out: text or JSON lines, at most [`REPEATS_MAX`] a place and component in
//! [`WINDOW`]; then a note, and later how many were held back.
//! Never: writes to standard output, which belongs to data.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber, callsite};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

use crate::cli::{Color, LogFormat, LogOptions};
use crate::terminal::LogWriter;

/// Lines of one place and component in one window. Chosen: enough to see a pattern, few enough to read.
const REPEATS_MAX: u32 = 5;
/// Vector's `--internal-log-rate-limit`.
const WINDOW: Duration = Duration::from_secs(10);
/// Places that are remembered at once; more than all of ours together.
const PLACES_MAX: usize = 2048;
/// The target of notes about repeats, which are never held back themselves.
const NOTES: &str = "afluente::repeats";
/// Libraries that talk about their insides at our levels.
const QUIET: &str = "ferrokinesis=warn,kinesis=warn,hyper=info,hyper_util=info,h2=info,rustls=info,tower=info,\
                     aws_config=warn,aws_smithy_runtime=warn,aws_smithy_runtime_api=warn,aws_credential_types=warn,mio=info";

/// Starts logging for the whole process. A second call changes nothing.
///
/// # Errors
/// A filter that cannot be read, in one sentence.
pub(crate) fn start(options: &LogOptions, level_by_default: i8) -> Result<(), String> {
    let filter = match &options.log {
        Some(text) => EnvFilter::try_new(text).map_err(|error| {
            format!(
                "AFLUENTE_LOG: `{text}` is no filter ({error}): write e.g. `info` or `afluente_sink=debug`"
            )
        })?,
        None => {
            let steps = i16::from(options.verbose) - i16::from(options.quiet) + i16::from(level_by_default);
            let level = match steps {
                i16::MIN..=-3 => "off",
                -2 => "error",
                -1 => "warn",
                0 => "info",
                1 => "debug",
                2.. => "trace",
            };
            let filter = if steps <= -1 { level.to_owned() } else { format!("{level},{QUIET}") };
            EnvFilter::try_new(filter).map_err(|error| error.to_string())?
        }
    };
    let ansi = match options.color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
    };
    let layer = match options.log_format {
        LogFormat::Text => fmt::layer().with_writer(LogWriter).with_ansi(ansi).boxed(),
        LogFormat::Json => fmt::layer()
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .with_writer(LogWriter)
            .boxed(),
    };
    let _ = tracing_subscriber::registry().with(Repeats::new(layer)).with(filter).try_init();
    Ok(())
}

/// A layer that hands on events until one place has said enough.
struct Repeats<L> {
    inner: L,
    places: Mutex<HashMap<Place, Count>>,
}

/// A callsite inside a component's span: one loud sink does not silence another.
type Place = (callsite::Identifier, Option<Id>);

struct Count {
    since: Instant,
    told: u32,
    held_back: u32,
}

enum Verdict {
    Tell,
    /// Tell, after a word about those that were held back.
    TellAfter(u32),
    HoldBack,
    /// The first one that is held back.
    Note,
}

impl<L> Repeats<L> {
    fn new(inner: L) -> Self {
        Self { inner, places: Mutex::default() }
    }

    fn judge(&self, place: Place, now: Instant) -> Verdict {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if places.len() >= PLACES_MAX {
            places.retain(|_, count| now.duration_since(count.since) < WINDOW);
        }
        let count = places.entry(place).or_insert(Count { since: now, told: 0, held_back: 0 });
        if now.duration_since(count.since) >= WINDOW {
            let held_back = std::mem::take(&mut count.held_back);
            (count.since, count.told) = (now, 1);
            return if held_back > 0 { Verdict::TellAfter(held_back) } else { Verdict::Tell };
        }
        if count.told < REPEATS_MAX {
            count.told += 1;
            return Verdict::Tell;
        }
        count.held_back += 1;
        if count.held_back == 1 { Verdict::Note } else { Verdict::HoldBack }
    }
}

impl<S, L> Layer<S> for Repeats<L>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    L: Layer<S>,
{
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let metadata = event.metadata();
        if metadata.target() == NOTES {
            return self.inner.on_event(event, context);
        }
        let span = context.event_span(event).map(|span| span.id());
        match self.judge((metadata.callsite(), span), Instant::now()) {
            Verdict::Tell => self.inner.on_event(event, context),
            Verdict::HoldBack => {}
            Verdict::Note => {
                tracing::warn!(
                    target: NOTES,
                    "Internal log [{}] is being suppressed to avoid flooding.",
                    message_of(event)
                );
            }
            Verdict::TellAfter(times) => {
                tracing::warn!(
                    target: NOTES,
                    "Internal log [{}] has been suppressed {times} times.",
                    message_of(event)
                );
                self.inner.on_event(event, context);
            }
        }
    }

    fn on_layer(&mut self, subscriber: &mut S) {
        self.inner.on_layer(subscriber);
    }

    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> tracing::subscriber::Interest {
        self.inner.register_callsite(metadata)
    }

    fn enabled(&self, metadata: &Metadata<'_>, context: Context<'_, S>) -> bool {
        self.inner.enabled(metadata, context)
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        self.inner.on_new_span(attributes, id, context);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        self.inner.on_record(id, values, context);
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        self.inner.on_enter(id, context);
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        self.inner.on_exit(id, context);
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        self.inner.on_close(id, context);
    }
}

fn message_of(event: &Event<'_>) -> String {
    struct Message(String);
    impl Visit for Message {
        fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
            if field.name() == "message" {
                let _ = write!(self.0, "{value:?}");
            }
        }
    }
    let mut message = Message(String::new());
    event.record(&mut message);
    message.0
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use tracing::Callsite;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Lines {
        fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(line);
            Ok(line.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_place_that_repeats_itself_is_told_a_few_times_and_counted_afterwards() {
        let repeats = Repeats::new(());
        let place = (
            tracing::callsite!(name: "x", kind: tracing::metadata::Kind::EVENT, fields: message)
                .metadata()
                .callsite(),
            None,
        );
        let start = Instant::now();
        for _ in 0..REPEATS_MAX {
            assert!(matches!(repeats.judge(place.clone(), start), Verdict::Tell));
        }
        assert!(matches!(repeats.judge(place.clone(), start), Verdict::Note));
        assert!(matches!(repeats.judge(place.clone(), start), Verdict::HoldBack));
        assert!(matches!(repeats.judge((place.0.clone(), Some(Id::from_u64(1))), start), Verdict::Tell));
        assert!(matches!(repeats.judge(place.clone(), start + WINDOW), Verdict::TellAfter(2)));
        assert!(matches!(repeats.judge(place, start + WINDOW), Verdict::Tell));
    }

    #[test]
    fn what_is_told_carries_the_fields_of_its_component() {
        let lines = Lines::default();
        let writer = lines.clone();
        let layer = fmt::layer().with_ansi(false).with_writer(move || writer.clone());
        let subscriber = tracing_subscriber::registry().with(Repeats::new(layer));
        tracing::subscriber::with_default(subscriber, || {
            let _inside = tracing::error_span!("sink", component_id = "out").entered();
            tracing::warn!(code = 7, "Something is odd.");
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert!(text.contains("Something is odd. code=7") && text.contains("component_id=\"out\""), "{text}");
    }
}
