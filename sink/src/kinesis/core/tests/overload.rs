//! Promise 5 in virtual time: twice the input that eight shards take, 15 ms away, one shard slower than the others, a stream that ignores keys.
//! In: shards with the service's two buckets each. Out: what each stored and refused once pacing has settled.

use rand::Rng;

use super::super::super::record::Record;
use super::super::super::shard_map::key_hash;
use super::*;

const SHARDS: usize = 8;
const BUDGET: usize = 45 * 1024 * 1024;
/// Pacing has settled so long after the start, or after the stream has changed; what comes then counts, for so long.
const SETTLED: Duration = Duration::from_secs(5);
const COUNTED: Duration = Duration::from_secs(15);
const UNTIL: Duration = Duration::from_secs(20);

/// One shard: 1,000 records/s and 1 MB/s times `speed`, a second's worth of burst. What it does after `from` counts.
struct Shard {
    speed: f64,
    from: Moment,
    records: f64,
    bytes: f64,
    seen: Moment,
    stored: usize,
    refused: usize,
    stored_bytes: usize,
}

impl Shard {
    fn new(speed: f64, from: Moment) -> Self {
        let (records, bytes) = (1e3 * speed, 1e6 * speed);
        Self { speed, from, records, bytes, seen: Duration::ZERO, stored: 0, refused: 0, stored_bytes: 0 }
    }

    fn take(&mut self, now: Moment, weight: usize) -> bool {
        let passed = now.saturating_sub(self.seen).as_secs_f64();
        self.seen = now;
        self.records = (self.records + 1e3 * self.speed * passed).min(1e3 * self.speed);
        self.bytes = (self.bytes + 1e6 * self.speed * passed).min(1e6 * self.speed);
        let granted = self.records >= 1.0 && self.bytes >= weight as f64;
        if granted {
            self.records -= 1.0;
            self.bytes -= weight as f64;
        }
        if now >= self.from {
            self.stored += usize::from(granted);
            self.stored_bytes += if granted { weight } else { 0 };
            self.refused += usize::from(!granted);
        }
        granted
    }

    /// The share of what it can take that it stored, whichever of its two limits binds.
    fn used(&self) -> f64 {
        let secs = COUNTED.as_secs_f64() * self.speed;
        (self.stored as f64 / (1e3 * secs)).max(self.stored_bytes as f64 / (1e6 * secs))
    }
}

/// The stream: its open shards, and a seed if it ignores keys.
struct Stream {
    shards: Vec<Shard>,
    /// The number of the first one; a split's children are new shards.
    first: usize,
    draw: Option<SmallRng>,
    silent: bool,
}

impl Stream {
    fn of(play: &Play) -> Self {
        let from = play.counted_from();
        let mut shards: Vec<_> = play.speeds.iter().map(|speed| Shard::new(*speed, from)).collect();
        if play.silent {
            shards.iter_mut().for_each(|shard| shard.records = 0.0);
        }
        let draw = play.auto.then(|| SmallRng::seed_from_u64(2));
        Self { shards, first: 0, draw, silent: play.silent }
    }

    /// Every shard becomes two of its own speed.
    fn split(&mut self, now: Moment) {
        self.first += self.shards.len();
        let child = |shard: &Shard| Shard { seen: now, ..Shard::new(shard.speed, shard.from) };
        self.shards = self.shards.iter().flat_map(|shard| [child(shard), child(shard)]).collect();
    }

    fn pick(&mut self, key: &[u8]) -> usize {
        let shards = self.shards.len();
        match &mut self.draw {
            Some(rng) => rng.random_range(0..shards),
            None => (key_hash(key) / (u128::MAX / shards as u128 + 1)) as usize,
        }
    }

    fn answer(&mut self, core: &Core, sealed: &Sealed, now: Moment) -> Vec<Entry<'static>> {
        let entry = |id: &RecordId| {
            let (data, key) = core.content(*id).unwrap();
            let at = self.pick(key);
            let name = format!("shardId-{:012}", self.first + at);
            if self.shards[at].take(now, data.len() + key.len()) {
                return Entry::Stored { shard: Cow::Owned(name), sequence: Cow::Borrowed("1") };
            }
            refused(Some(&*name).filter(|_| !self.silent))
        };
        sealed.records.iter().map(entry).collect()
    }
}

fn refused(shard: Option<&str>) -> Entry<'static> {
    let message = match shard {
        Some(name) => format!("Rate exceeded for shard {name} in stream s under account 1."),
        None => "Rate exceeded".to_owned(),
    };
    Entry::Failed {
        code: Cow::Borrowed("ProvisionedThroughputExceededException"),
        message: Cow::Owned(message),
    }
}

/// What is played.
#[derive(Clone)]
struct Play {
    settings: CoreSettings,
    producers: usize,
    keys: u64,
    /// One a shard, times the book rate.
    speeds: Vec<f64>,
    bytes: usize,
    round_trip: Duration,
    /// Input, times the shards' book rate.
    input: f64,
    /// The chance that a record is refused for a rate that it is far from.
    noise: f64,
    /// Whether these refusals name a shard, as full shards' do.
    named: bool,
    /// Whether the stream ignores keys.
    auto: bool,
    /// Whether full shards do not say which they are; they are full at the start, so that nothing is known when records are refused.
    silent: bool,
    /// When every shard is split into two that take as much each.
    split_at: Option<Moment>,
}

impl Play {
    fn counted_from(&self) -> Moment {
        self.split_at.unwrap_or_default() + SETTLED
    }
}

impl Default for Play {
    fn default() -> Self {
        Self {
            settings: CoreSettings::default(),
            producers: 1,
            keys: u64::MAX,
            speeds: vec![1.0; SHARDS],
            bytes: 300,
            round_trip: Duration::from_millis(15),
            input: 2.0,
            noise: 0.0,
            named: false,
            auto: false,
            silent: false,
            split_at: None,
        }
    }
}

/// One sink that writes to the shards.
struct Producer {
    core: Core,
    entered: u64,
    under_way: std::collections::VecDeque<(Moment, Sealed)>,
    rng: SmallRng,
}

/// Plays 20 seconds and the time before a split, each sink with that input, as far as its budget lets it in. Returns the shards and
/// how many records each sink delivered.
fn played(play: &Play) -> (Vec<Shard>, Vec<u64>) {
    let mut stream = Stream::of(play);
    let core = || Core::new(play.settings.clone(), InFlight::adaptive(8, 200));
    let producer = |_| Producer {
        core: core(),
        entered: 0,
        under_way: Default::default(),
        rng: SmallRng::seed_from_u64(1),
    };
    let mut producers: Vec<_> = (0..play.producers).map(producer).collect();
    let mut now = Duration::ZERO;
    while now < play.counted_from() + COUNTED {
        if play.split_at == Some(now) {
            stream.split(now);
        }
        for producer in &mut producers {
            producer.turn(now, &mut stream, play);
        }
        now += Duration::from_millis(1);
    }
    (stream.shards, producers.iter().map(|producer| producer.core.stats().delivered).collect())
}

impl Producer {
    fn turn(&mut self, now: Moment, stream: &mut Stream, play: &Play) {
        let a_second = 1e3_f64.min(1e6 / play.bytes as f64) * stream.shards.len() as f64 * play.input;
        let fate = self.core.open_fate(EventFinalizers::default(), now);
        while (self.entered as f64) < now.as_secs_f64() * a_second && self.core.held_bytes() < BUDGET {
            let profile = self.entered % play.keys;
            let (data, key) =
                (Bytes::from(vec![b'x'; play.bytes]), Bytes::from(format!("profile-{profile}")));
            self.core.accept(Record::keyed(data, key, profile, fate, now));
            self.entered += 1;
        }
        self.core.close_fate(fate);
        while let Some(sealed) = self.core.next_request(now) {
            self.under_way.push_back((now, sealed));
        }
        // The service decides half a round trip after the request was sent; that is when its buckets are asked.
        while self.under_way.front().is_some_and(|(sent, _)| now - *sent >= play.round_trip) {
            let (sent, sealed) = self.under_way.pop_front().unwrap();
            let mut entries = stream.answer(&self.core, &sealed, sent + play.round_trip / 2);
            for entry in &mut entries {
                match entry {
                    Entry::Stored { shard, .. } if self.rng.random_bool(play.noise) => {
                        *entry = refused(play.named.then_some(shard));
                    }
                    _ => {}
                }
            }
            self.core.on_reply(now, sealed, Reply::Entries(&entries));
        }
    }
}

/// The mean share of the shards' capacity that was used, and the share of the attempts that were refused.
fn used_and_refused(shards: &[Shard]) -> (f64, f64) {
    let used = shards.iter().map(Shard::used).sum::<f64>() / shards.len() as f64;
    let (stored, refused) = shards.iter().fold((0, 0), |(s, r), shard| (s + shard.stored, r + shard.refused));
    (used, refused as f64 / (stored + refused) as f64)
}

#[test]
fn twice_the_input_uses_nearly_all_of_eight_shards_and_is_refused_little() {
    // Limited by records, then by bytes, then by both.
    for bytes in [300, 1500, 980] {
        let (shards, _) = played(&Play { bytes, ..Play::default() });
        let (used, share) = used_and_refused(&shards);
        assert!(used >= 0.97, "{bytes} bytes: {used} of the capacity used");
        assert!(share <= 0.02, "{bytes} bytes: {share} of the attempts refused");
    }
}

#[test]
fn one_shard_at_a_tenth_leaves_the_others_at_full_speed() {
    let speeds = vec![1.0, 1.0, 1.0, 0.1, 1.0, 1.0, 1.0, 1.0];
    let (shards, _) = played(&Play { speeds, bytes: 700, ..Play::default() });
    for (at, shard) in shards.iter().enumerate() {
        assert!(shard.used() >= 0.97, "shard {at}: {} of its capacity used", shard.used());
    }
}

#[test]
fn aggregates_carry_more_small_records_than_the_shards_take_and_are_refused_little() {
    let settings = CoreSettings { aggregate: true, ..CoreSettings::default() };
    let (shards, delivered) = played(&Play { settings, keys: 200, ..Play::default() });
    let (used, share) = used_and_refused(&shards);
    assert!(used >= 0.97 && share <= 0.02, "{used} of the capacity used, {share} of the attempts refused");
    let by_the_book = UNTIL.as_secs() * 1000 * SHARDS as u64;
    assert!(delivered[0] > by_the_book * 3 / 2, "{delivered:?} records, {by_the_book} without aggregation");
}

#[test]
fn three_producers_share_a_stream_without_collapse() {
    let (shards, delivered) = played(&Play { producers: 3, ..Play::default() });
    let (used, share) = used_and_refused(&shards);
    assert!(used >= 0.95 && share <= 0.1, "{used} of the capacity used, {share} of the attempts refused");
    let sum: u64 = delivered.iter().sum();
    assert!(delivered.iter().all(|own| own * 6 > sum), "each has at least half of its share: {delivered:?}");
}

#[test]
fn a_long_way_and_few_shards_are_used_as_well() {
    for (shards, millis) in [(2, 100), (4, 200), (2, 200), (4, 300)] {
        let round_trip = Duration::from_millis(millis);
        let (played, _) = played(&Play { speeds: vec![1.0; shards], round_trip, ..Play::default() });
        let (used, share) = used_and_refused(&played);
        assert!(used >= 0.95, "{shards} shards at {millis} ms: {used} of the capacity used");
        assert!(share <= 0.03, "{shards} shards at {millis} ms: {share} of the attempts refused");
    }
}

#[test]
fn few_refusals_of_a_stream_that_is_far_from_its_rate_do_not_slow_it_down() {
    for (input, noise) in [(0.05, 0.01), (0.3, 0.01), (0.45, 0.01), (0.3, 0.02)] {
        let (_, delivered) = played(&Play { input, noise, ..Play::default() });
        let came = UNTIL.as_secs_f64() * 1e3 * SHARDS as f64 * input;
        let part = delivered[0] as f64 / came;
        assert!(part >= 0.95, "{input} of the book rate, {noise} refused: {part} delivered in time");
    }
    // Nearer to it they may mean something, but not that a shard takes less than half.
    let (_, delivered) = played(&Play { input: 1.0, noise: 0.01, ..Play::default() });
    let by_the_book = UNTIL.as_secs_f64() * 1e3 * SHARDS as f64;
    assert!(delivered[0] as f64 >= by_the_book * 0.45, "{delivered:?} of {by_the_book}");
}

#[test]
fn refusals_by_chance_cost_their_retries_and_little_more() {
    let by_the_book = UNTIL.as_secs_f64() * 1e3 * SHARDS as f64;
    for (at, noise) in [0.01, 0.02, 0.1, 0.2, 0.3].into_iter().enumerate() {
        let named = at % 2 == 0;
        for input in [0.05, 0.3, 1.0] {
            let (_, delivered) = played(&Play { input, noise, named, ..Play::default() });
            let possible = f64::min(input, 1.0 - noise);
            let part = delivered[0] as f64 / (by_the_book * possible);
            assert!(part >= 0.7, "{input} of the book rate, {noise} refused: {part} of what is possible");
        }
    }
}

#[test]
fn the_real_limit_is_found_behind_refusals_by_chance() {
    for noise in [0.01, 0.02, 0.1, 0.2] {
        for named in [true, false] {
            let (shards, _) = played(&Play { noise, named, ..Play::default() });
            let (used, share) = used_and_refused(&shards);
            assert!(used >= 0.9, "{noise} refused by chance: {used} of the capacity used");
            assert!(share <= 0.035, "{noise} refused by chance, {share} for rate");
        }
    }
}

#[test]
fn many_producers_that_share_a_stream_do_not_take_each_other_for_chance() {
    let (shards, _) = played(&Play { producers: 8, ..Play::default() });
    let (used, share) = used_and_refused(&shards);
    assert!(used >= 0.95 && share <= 0.08, "{used} of the capacity used, {share} of the attempts refused");
}

/// A stream that ignores keys and is offered twice and five times what it takes.
fn assert_auto_is_used(play: &Play) {
    for input in [2.0, 5.0] {
        let (shards, _) = played(&Play { auto: true, input, ..play.clone() });
        let (used, share) = used_and_refused(&shards);
        let told =
            format!("{} shards at {input}: {used} of the capacity used, {share} refused", shards.len());
        assert!(used >= 0.95 && share <= 0.02, "{told}");
    }
}

#[test]
fn a_stream_that_ignores_keys_is_used_nearly_in_full_whatever_its_shards() {
    for shards in [1, 2, 8, 32] {
        assert_auto_is_used(&Play { speeds: vec![1.0; shards], ..Play::default() });
    }
    assert_auto_is_used(&Play { bytes: 1500, ..Play::default() });
    assert_auto_is_used(&Play { round_trip: Duration::from_millis(200), ..Play::default() });
}

#[test]
fn a_stream_that_ignores_keys_and_doubles_in_mid_run_is_used_nearly_in_full_again() {
    assert_auto_is_used(&Play { split_at: Some(Duration::from_secs(10)), ..Play::default() });
}

#[test]
fn shards_that_nothing_is_known_of_are_used_as_well() {
    assert_auto_is_used(&Play { silent: true, ..Play::default() });
    let (shards, _) = played(&Play { silent: true, ..Play::default() });
    let (used, share) = used_and_refused(&shards);
    assert!(used >= 0.97 && share <= 0.02, "{used} of the capacity used, {share} of the attempts refused");
}
