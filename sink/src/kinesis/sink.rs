//! Sink: the one loop. It moves arrays into the core, requests out of it, and answers back.
//! In: event arrays; answers of `put.rs`. Out: requests as tasks; settled finalizers, by the core.
//! Holds: the byte budget. While it is used up no array is taken, and that reaches the source.
//! Never: decides about a record; see `core.rs`.

use std::sync::Arc;
use std::time::Duration;

use afluente_pipeline::codecs::encoding::Encoder;
use afluente_pipeline::component::SinkContext;
use afluente_pipeline::event::{EventArray, EventStatus};
use afluente_pipeline::sink::StreamSink;
use async_trait::async_trait;
use bytes::Bytes;
use chrono::Utc;
use futures::FutureExt;
use futures::stream::{BoxStream, StreamExt};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::error;

use super::answer::parse_put_records;
use super::bodies::Bodies;
use super::body::BodyWriter;
use super::config::{KinesisSinkConfig, Ordering};
use super::core::{Core, CoreSettings, Rejection, Reply, Sealed};
use super::dead_letter::DeadLetterFile;
use super::http::FailureKind;
use super::intake::Intake;
use super::limits;
use super::put::{Attempt, KinesisClient};
use super::record::Moment;
use super::shard_list::{ListedShard, list_shards};
use super::telemetry::Telemetry;
use super::verdict::Trouble;

/// Arrays taken in one turn before answers and sending get theirs.
const ARRAYS_A_TURN: usize = 16;
/// The share of the byte budget that requests' bodies may take while they are being written out.
const BODY_SHARE: f64 = 0.3;
/// How often gauges are set.
const GAUGES_EVERY: Duration = Duration::from_secs(2);
/// The wait before a dead letter that could not be written is tried again.
const DEAD_LETTER_RETRY: Duration = Duration::from_secs(1);

/// The sink, ready to run.
pub struct KinesisSink {
    client: KinesisClient,
    stream: String,
    core: Core,
    intake: Intake,
    writer: BodyWriter,
    telemetry: Telemetry,
    dead_letter: Option<DeadLetterFile>,
    records_budget: usize,
    bodies_budget: usize,
    rate_limit: Option<RateLimit>,
    /// As many as requests may be in flight, if that number is fixed.
    slots: Option<Arc<Semaphore>>,
}

/// `request.rate_limit_num` requests in `request.rate_limit_duration_secs`.
struct RateLimit {
    number: u64,
    span: Duration,
    began: Moment,
    used: u64,
}

impl RateLimit {
    /// Whether one more request may go in this span.
    fn has_room(&mut self, now: Moment) -> bool {
        if now.saturating_sub(self.began) >= self.span {
            self.began = now;
            self.used = 0;
        }
        self.used < self.number
    }
}

impl KinesisSink {
    /// A sink of this configuration.
    ///
    /// # Errors
    /// When the dead letter file cannot be opened, or the configuration was not checked.
    pub fn new(
        config: &KinesisSinkConfig,
        client: KinesisClient,
        context: &SinkContext,
    ) -> Result<Self, String> {
        let encoder = Encoder::new(&config.encoding)?;
        let compressor = (!config.compression.is_none())
            .then(|| config.compression.compressor())
            .transpose()
            .map_err(|error| error.to_string())?;
        let mut rng = SmallRng::from_rng(&mut rand::rng());
        let backoff = config.request.backoff();
        let settings = CoreSettings {
            ordered: config.ordering == Ordering::PerKey,
            conflate: config.conflate,
            aggregate: config.aggregation.enabled,
            request_records_max: config.batch.records_max(),
            request_bytes_max: config.batch.bytes_max(),
            record_bytes_max: config.record_bytes_max(),
            linger: config.linger(),
            backoff,
            pause_backoff: super::backoff::Backoff {
                initial: backoff.initial.max(Duration::from_millis(500)).min(backoff.max),
                ..backoff
            },
            attempts_max: config.request.attempts_max(),
            seed: rand::Rng::random(&mut rng),
            ..CoreSettings::default()
        };
        let dead_letter =
            match &config.dead_letter {
                None => None,
                Some(options) => Some(DeadLetterFile::open(options).map_err(|error| {
                    format!("dead_letter: cannot open {}: {error}", options.path.display())
                })?),
            };
        let budget =
            context.buffer.max_bytes.unwrap_or(limits::BUDGET_BYTES_DEFAULT).max(limits::BUDGET_BYTES_MIN);
        let bodies_budget = (budget as f64 * BODY_SHARE) as usize;
        let rate_limit =
            config.request.rate_limit_num.filter(|number| *number < u64::MAX / 4).map(|number| RateLimit {
                number,
                span: Duration::from_secs(config.request.rate_limit_duration_secs.unwrap_or(1)),
                began: Duration::ZERO,
                used: 0,
            });
        Ok(Self {
            client,
            stream: config.stream_name.clone(),
            core: Core::new(settings, config.request.in_flight()),
            intake: Intake::new(
                encoder,
                compressor,
                config.partition_key_path()?,
                config.long_partition_key,
                rng,
            ),
            writer: BodyWriter::new(&config.stream_name),
            telemetry: Telemetry::new(context.key.id(), &config.stream_name, context.account.clone()),
            dead_letter,
            records_budget: budget - bodies_budget,
            bodies_budget,
            rate_limit,
            slots: config.request.in_flight_fixed().map(|count| Arc::new(Semaphore::new(count))),
        })
    }
}

#[async_trait]
impl StreamSink<EventArray> for KinesisSink {
    async fn run(self: Box<Self>, input: BoxStream<'_, EventArray>) -> Result<(), ()> {
        Loop::new(*self).run(input).await;
        Ok(())
    }
}

/// A task ended that holds records: this is a bug, and going on would lose them without a word.
fn resume(error: tokio::task::JoinError, what: &str) -> ! {
    let panic =
        error.try_into_panic().unwrap_or_else(|error| Box::new(format!("{what} ended early: {error}")));
    std::panic::resume_unwind(panic)
}

/// Rejections on their way to the dead letter file, and the file itself.
type Letters = (DeadLetterFile, Vec<Rejection>, std::io::Result<()>);

struct Loop {
    sink: KinesisSink,
    started: Instant,
    requests: JoinSet<(Sealed, Attempt)>,
    /// The stream's shards, asked for at the start.
    listing: JoinSet<Vec<ListedShard>>,
    letters: JoinSet<Letters>,
    waiting_letters: Vec<Rejection>,
    letters_from: Option<Moment>,
    bodies: Bodies,
    gauges_at: Moment,
    /// When the user's own limit of requests lets the next one go, if it is what holds them back.
    limited_until: Option<Moment>,
    /// Bodies that are not written out yet hold the next one back.
    held_back: bool,
    open: bool,
}

impl Loop {
    fn new(sink: KinesisSink) -> Self {
        Self {
            sink,
            started: Instant::now(),
            requests: JoinSet::new(),
            listing: JoinSet::new(),
            letters: JoinSet::new(),
            waiting_letters: Vec::new(),
            letters_from: None,
            bodies: Bodies::default(),
            gauges_at: Duration::ZERO,
            limited_until: None,
            held_back: false,
            open: true,
        }
    }

    fn now(&self) -> Moment {
        self.started.elapsed()
    }

    async fn run(mut self, mut input: BoxStream<'_, EventArray>) {
        let (client, stream) = (self.sink.client.clone(), self.sink.stream.clone());
        self.listing.spawn(async move { list_shards(&client, &stream).await });
        loop {
            self.turn();
            if !self.open && self.sink.core.is_idle() {
                break;
            }
            let wake = self.wake_at();
            tokio::select! {
                // Answers first: they free keys, slots and memory. Then the disk, then new events; the clock last, since
                // whatever it is for is looked at in every turn.
                biased;
                Some(ended) = self.requests.join_next() => self.on_ended(ended),
                Some(Ok(shards)) = self.listing.join_next() => {
                    let now = self.now();
                    self.sink.core.shards_listed(now, &shards);
                }
                Some(letters) = self.letters.join_next() => self.on_letters(letters),
                () = self.bodies.fewer(), if self.held_back => {}
                array = input.next(), if self.open && self.has_room() => {
                    self.on_array(array);
                    self.take_more(&mut input);
                }
                () = tokio::time::sleep_until(wake) => {}
            }
            while let Some(ended) = self.requests.try_join_next() {
                self.on_ended(ended);
            }
        }
        let now = self.now();
        self.sink.telemetry.update(&mut self.sink.core, self.bodies.bytes());
        self.sink.telemetry.gauges(now, &self.sink.core, self.bodies.bytes());
    }

    /// What can be done without waiting.
    fn turn(&mut self) {
        let now = self.now();
        self.send(now);
        self.handle_rejections(now);
        for notice in self.sink.core.take_notices() {
            self.sink.telemetry.notice(&notice);
        }
        self.sink.telemetry.update(&mut self.sink.core, self.bodies.bytes());
        if now >= self.gauges_at {
            self.gauges_at = now + GAUGES_EVERY;
            self.sink.telemetry.drought(now, &self.sink.core);
            self.sink.telemetry.gauges(now, &self.sink.core, self.bodies.bytes());
        }
    }

    fn has_room(&self) -> bool {
        self.sink.core.held_bytes() < self.sink.records_budget
    }

    fn wake_at(&self) -> Instant {
        // What holds back what the core has ready says by itself when it no longer does: bodies by a word, a rate by its time.
        let core = match self.limited_until {
            Some(limited) => Some(limited),
            None => self.sink.core.wake_at().filter(|_| !self.held_back),
        };
        let wake = [core, self.letters_from].into_iter().flatten().fold(self.gauges_at, Moment::min);
        let soonest = self.now() + Duration::from_millis(1);
        self.started + wake.max(soonest)
    }

    fn on_array(&mut self, array: Option<EventArray>) {
        match array {
            Some(array) => {
                let now = self.now();
                self.sink.intake.take(now, array, &mut self.sink.core);
            }
            None => {
                self.open = false;
                self.sink.core.drain();
            }
        }
    }

    /// Takes what is there already, so that requests are filled from more than one array.
    fn take_more(&mut self, input: &mut BoxStream<'_, EventArray>) {
        for _ in 1..ARRAYS_A_TURN {
            if !self.open || !self.has_room() {
                return;
            }
            match input.next().now_or_never() {
                Some(array) => self.on_array(array),
                None => return,
            }
        }
    }

    fn send(&mut self, now: Moment) {
        self.limited_until = None;
        loop {
            let bodies = self.bodies.bytes();
            // One body may always be written, so that the sink cannot block itself.
            self.held_back =
                bodies > 0 && bodies + self.sink.core.request_bytes_max() * 4 / 3 > self.sink.bodies_budget;
            if self.held_back {
                return;
            }
            if let Some(limit) = &mut self.sink.rate_limit
                && !limit.has_room(now)
            {
                self.limited_until = Some(limit.began + limit.span);
                return;
            }
            let Some(sealed) = self.sink.core.next_request(now) else { return };
            if let Some(limit) = &mut self.sink.rate_limit {
                limit.used += 1;
            }
            let body = self.body(&sealed);
            self.sink.telemetry.request(sealed.records.len(), body.len());
            let (client, slots) = (self.sink.client.clone(), self.sink.slots.clone());
            self.requests.spawn(async move {
                let attempt = match slots {
                    Some(slots) => client.put_records_in_turn(body, &slots).await,
                    None => client.put_records(body).await,
                };
                (sealed, attempt)
            });
        }
    }

    fn body(&self, sealed: &Sealed) -> Bytes {
        let core = &self.sink.core;
        let content = sealed.records.iter().filter_map(|id| core.content(*id));
        let mut body = self.bodies.buffer();
        self.sink.writer.write(content, sealed.records.len(), sealed.weight, &mut body);
        self.bodies.wrap(body)
    }

    fn on_ended(&mut self, ended: Result<(Sealed, Attempt), tokio::task::JoinError>) {
        let now = self.now();
        let (sealed, attempt) = match ended {
            Ok(ended) => ended,
            Err(error) => resume(error, "a request"),
        };
        let core = &mut self.sink.core;
        match attempt {
            Attempt::Answer(body) => match parse_put_records(&body, sealed.records.len()) {
                Ok(answer) => core.on_reply(now, sealed, Reply::Entries(&answer.entries)),
                Err(error) => core.on_reply(now, sealed, Reply::Unreadable { problem: error.to_string() }),
            },
            Attempt::Refused(refusal) if refusal.skew.is_some() => {
                core.on_reply(now, sealed, Reply::ClockCorrected { code: &refusal.code });
            }
            Attempt::Refused(refusal) => {
                let reply = Reply::Refused {
                    status: refusal.status,
                    code: &refusal.code,
                    message: &refusal.message,
                    retry_after: refusal.retry_after,
                };
                core.on_reply(now, sealed, reply);
            }
            Attempt::Failed(failure) => {
                let trouble = match failure.kind {
                    FailureKind::Credentials | FailureKind::Signing => Trouble::Credentials,
                    _ => Trouble::Transient,
                };
                let reply =
                    Reply::Lost { may_be_stored: failure.may_be_stored, trouble, problem: &failure.message };
                core.on_reply(now, sealed, reply);
            }
        }
    }

    fn handle_rejections(&mut self, now: Moment) {
        let rejections = self.sink.core.take_rejections();
        let has_file = self.sink.dead_letter.is_some() || !self.letters.is_empty();
        if !has_file {
            self.settle(&rejections, EventStatus::Rejected, false);
            return;
        }
        self.waiting_letters.extend(rejections);
        if self.waiting_letters.is_empty() || self.letters_from.is_some_and(|from| from > now) {
            return;
        }
        let Some(mut file) = self.sink.dead_letter.take() else { return };
        let letters = std::mem::take(&mut self.waiting_letters);
        self.letters_from = None;
        let wall = Utc::now();
        self.letters.spawn_blocking(move || {
            let time_of = |moment: Moment| wall - (now.saturating_sub(moment));
            let result = file.write(&letters, time_of, wall);
            (file, letters, result)
        });
    }

    fn on_letters(&mut self, written: Result<Letters, tokio::task::JoinError>) {
        let (file, letters, result) = written.unwrap_or_else(|error| resume(error, "the dead letter file"));
        self.sink.dead_letter = Some(file);
        match result {
            Ok(()) => self.settle(&letters, EventStatus::Delivered, true),
            Err(error) => {
                error!(%error, "The dead letter file cannot be written; rejected records are held until it can.");
                self.letters_from = Some(self.now() + DEAD_LETTER_RETRY);
                let newer = std::mem::replace(&mut self.waiting_letters, letters);
                self.waiting_letters.extend(newer);
            }
        }
    }

    fn settle(&mut self, rejections: &[Rejection], status: EventStatus, dead_lettered: bool) {
        if rejections.is_empty() {
            return;
        }
        self.sink.telemetry.rejected(rejections, dead_lettered);
        for rejection in rejections {
            self.sink.core.settle_rejected(rejection, status);
        }
    }
}
