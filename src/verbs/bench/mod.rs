//! `bench`: a pipeline under load, measured from outside.
//! In: a configuration (or a built-in one), how much to feed, what the service is like. Out: a report, JSON, a chart.
//! Exit: 0; 1 if the pipeline failed or lost something; 78 for a configuration that is wrong or cannot be measured.
//!
//! Three processes, so that each one's cost is its own: this one makes and feeds `events`, `pipeline` is what is measured,
//! `sink_hole` plays Kinesis. `samples` of the pipeline become a `series` over time and, with what the sink-hole has
//! taken, a `summary`.

mod bare;
mod children;
mod events;
mod feed;
pub(crate) mod pipeline;
mod plot;
mod sample;
mod series;
pub(crate) mod sink_hole;
mod summary;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use afluente::sources::DemoProfilesOptions;
use afluente::sources::demo_profiles::{EVENT_BYTES_MIN, PROFILES_MAX};
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use self::children::{Children, Heard};
use self::events::Events;
use self::feed::{Fed, Plan};
use self::pipeline::PipelineOptions;
use self::sample::Sample;
use self::series::Series;
use self::sink_hole::{SinkHoleArgs, Taken};
use self::summary::Summary;
use crate::exit::{Exit, say, tell};
use crate::status::grouped;
use crate::terminal;

/// Events if nothing says how many.
const EVENTS_DEFAULT: u64 = 1_000_000;
/// The widest that the progress bar gets.
const BAR_CHARS: usize = 24;
/// How often the progress is drawn.
const DRAW_EVERY: Duration = Duration::from_millis(250);

/// Options of `bench`.
#[derive(Args, Debug)]
pub(crate) struct BenchArgs {
    #[command(flatten)]
    pipeline: PipelineOptions,
    #[command(flatten)]
    service: SinkHoleArgs,
    /// How many events are fed. Without this or --seconds: 1,000,000, or the file to replay once.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    events: Option<u64>,
    /// How long events are fed, in seconds.
    #[arg(long, value_parser = positive)]
    seconds: Option<f64>,
    /// Events a second; without it as many as the pipeline takes.
    #[arg(long, value_name = "EVENTS", value_parser = positive)]
    rate: Option<f64>,
    /// About how long a made-up event is, in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = 1560, value_parser = clap::value_parser!(u32).range(EVENT_BYTES_MIN as i64..=1_000_000))]
    event_bytes: u32,
    /// How many different profiles, each a partition key.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=i64::from(PROFILES_MAX)))]
    keys: u32,
    /// Where made-up events come from: one seed, the same events.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Events of a file in place of made-up ones, a line each, again and again.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["event_bytes", "keys", "seed"])]
    replay: Option<PathBuf>,
    /// Prints one JSON object.
    #[arg(long)]
    json: bool,
    /// Draws rate, latency and memory over time: an SVG.
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(number) if (0.001..=1e9).contains(&number) => Ok(number),
        _ => Err("a number from 0.001 to 1,000,000,000 is meant".to_owned()),
    }
}

impl BenchArgs {
    fn load_events(&self) -> Result<Events, String> {
        if let Some(path) = &self.replay {
            return Events::of_file(path);
        }
        Ok(Events::generated(DemoProfilesOptions {
            seed: self.seed,
            profiles: self.keys,
            event_bytes: self.event_bytes as usize,
        }))
    }

    fn plan(&self, events: &Events) -> Plan {
        let once = if self.replay.is_some() { events.distinct() } else { None };
        let events = match (self.events, self.seconds) {
            (Some(events), _) => events,
            (None, Some(_)) => u64::MAX,
            (None, None) => once.unwrap_or(EVENTS_DEFAULT),
        };
        Plan { events, time: self.seconds.map(Duration::from_secs_f64), rate: self.rate }
    }
}

/// Measures. `threads` is what the pipeline gets; none: its default.
pub(crate) async fn bench(args: BenchArgs, threads: Option<usize>) -> Exit {
    match measure(&args, threads).await {
        Ok(exit) => exit,
        Err(sentence) => {
            tell(format_args!("x {sentence}"));
            Exit::Failed
        }
    }
}

async fn measure(args: &BenchArgs, threads: Option<usize>) -> Result<Exit, String> {
    let events = args.load_events()?;
    let plan = args.plan(&events);
    if let Some(path) = &args.plot {
        // Now, rather than after minutes of measuring.
        std::fs::write(path, "").map_err(|error| unwritable(path, &error))?;
    }
    let mut interrupts = signal(SignalKind::interrupt()).map_err(|error| error.to_string())?;
    let mut children = Children::start(args, threads).await?;
    let fed = Arc::new(Fed::default());
    let input = children.take_input()?;
    let feeder = std::thread::spawn({
        let fed = Arc::clone(&fed);
        move || feed::feed(events, plan, input, &fed)
    });

    tracing::info!("The pipeline is fed.");

    let mut run = Run::new(children.started);
    let mut draw = tokio::time::interval(DRAW_EVERY);
    let exit = loop {
        tokio::select! {
            heard = children.hear() => match heard {
                Heard::Sample(at, sample) => run.sample(at, sample),
                Heard::Taken(at, taken) => run.taken(at, taken),
                Heard::Ended(exit) => break exit,
            },
            _ = interrupts.recv() => {
                if fed.stop.swap(true, Relaxed) {
                    return Err("Stopped before the pipeline was done.".to_owned());
                }
                tell("Feeding stops; what was fed is still delivered. Once more ends at once.");
            }
            _ = draw.tick() => {
                if terminal::is_live() {
                    terminal::set_status(&progress(&plan, &fed, &run));
                }
            }
        }
    };
    terminal::set_status("");
    let _ = feeder.join();
    if exit != Exit::Done {
        return Ok(exit);
    }
    report(args, &fed, &run)
}

fn report(args: &BenchArgs, fed: &Fed, run: &Run) -> Result<Exit, String> {
    let summary = Summary::new(args, fed, run);
    say(if args.json { summary.json() } else { summary.text() });
    if let Some(path) = &args.plot {
        let svg = plot::svg(&summary.title(), run.series.points());
        std::fs::write(path, svg).map_err(|error| unwritable(path, &error))?;
    }
    Ok(if summary.adds_up() { Exit::Done } else { Exit::Failed })
}

fn unwritable(path: &std::path::Path, error: &std::io::Error) -> String {
    format!("{} cannot be written: {error}", path.display())
}

/// What was heard so far.
struct Run {
    started: Instant,
    last: Sample,
    taken: Taken,
    /// When the sink-hole said that it has a record.
    first_record: Option<Duration>,
    /// Sum, number and highest of the requests in flight, while there was something to send.
    in_flight: (u64, u64, u64),
    series: Series,
}

impl Run {
    fn new(started: Instant) -> Self {
        Self {
            started,
            last: Sample::default(),
            taken: Taken::default(),
            first_record: None,
            in_flight: (0, 0, 0),
            series: Series::default(),
        }
    }

    fn sample(&mut self, at: Instant, sample: Sample) {
        if sample.in_flight > 0 {
            let (sum, number, highest) = self.in_flight;
            self.in_flight = (sum + sample.in_flight, number + 1, highest.max(sample.in_flight));
        }
        self.series.add(at.saturating_duration_since(self.started), &sample);
        self.last = sample;
    }

    fn taken(&mut self, at: Instant, taken: Taken) {
        if taken.records > 0 && self.first_record.is_none() {
            self.first_record = Some(at.saturating_duration_since(self.started));
        }
        self.taken = taken;
    }
}

/// `[=====>    ]  43 %  1,234,567 delivered  345,000/s  …`
fn progress(plan: &Plan, fed: &Fed, run: &Run) -> String {
    let by_time = plan.time.map(|time| run.started.elapsed().as_secs_f64() / time.as_secs_f64());
    let by_count = fed.events.load(Relaxed) as f64 / plan.events as f64;
    let part = by_time.unwrap_or(0.0).max(by_count).min(1.0);
    let done = (part * BAR_CHARS as f64) as usize;
    let bar: String = (0..BAR_CHARS).map(|at| if at < done { '=' } else { ' ' }).collect();
    let mut line = format!("[{bar}] {:3.0} %  delivered {}", part * 100.0, grouped(run.last.delivered));
    if let Some(point) = run.series.points().last() {
        line += &format!(
            " ({}/s)  in flight {}  held {:.1} MB",
            grouped(point.events_per_second as u64),
            point.in_flight,
            point.held_bytes as f64 / 1e6
        );
        if let Some(latency) = point.p99 {
            line += &format!("  p99 {:.1} ms", latency.as_secs_f64() * 1000.0);
        }
    }
    line
}
