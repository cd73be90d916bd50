//! Promise 5 in virtual time: twice the input that eight shards take, 15 ms away, and one shard slower than the others.
//! In: shards with the service's two buckets each. Out: what each stored and refused once pacing has settled.

use super::super::super::record::Record;
use super::super::super::shard_map::key_hash;
use super::*;

const SHARDS: usize = 8;
const ROUND_TRIP: Duration = Duration::from_millis(15);
const BUDGET: usize = 45 * 1024 * 1024;
/// Pacing has settled.
const FROM: Duration = Duration::from_secs(5);
const UNTIL: Duration = Duration::from_secs(20);

/// One shard: 1,000 records/s and 1 MB/s times `speed`, a second's worth of burst.
struct Shard {
    speed: f64,
    records: f64,
    bytes: f64,
    seen: Moment,
    stored: usize,
    refused: usize,
    stored_bytes: usize,
}

impl Shard {
    fn new(speed: f64) -> Self {
        let (records, bytes) = (1e3 * speed, 1e6 * speed);
        Self { speed, records, bytes, seen: Duration::ZERO, stored: 0, refused: 0, stored_bytes: 0 }
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
        if now >= FROM {
            self.stored += usize::from(granted);
            self.stored_bytes += if granted { weight } else { 0 };
            self.refused += usize::from(!granted);
        }
        granted
    }

    /// The share of what it can take that it stored, whichever of its two limits binds.
    fn used(&self) -> f64 {
        let secs = (UNTIL - FROM).as_secs_f64() * self.speed;
        (self.stored as f64 / (1e3 * secs)).max(self.stored_bytes as f64 / (1e6 * secs))
    }
}

fn answer(shards: &mut [Shard], core: &Core, sealed: &Sealed, now: Moment) -> Vec<Entry<'static>> {
    let width = u128::MAX / shards.len() as u128 + 1;
    let entry = |id: &RecordId| {
        let (data, key) = core.content(*id).unwrap();
        let at = (key_hash(key) / width) as usize;
        let name = format!("shardId-{at:012}");
        if shards[at].take(now, data.len() + key.len()) {
            return Entry::Stored { shard: Cow::Owned(name), sequence: Cow::Borrowed("1") };
        }
        let message = format!("Rate exceeded for shard {name} in stream s under account 1.");
        Entry::Failed {
            code: Cow::Borrowed("ProvisionedThroughputExceededException"),
            message: Cow::Owned(message),
        }
    };
    sealed.records.iter().map(entry).collect()
}

/// One sink that writes to the shards.
struct Producer {
    core: Core,
    entered: u64,
    under_way: std::collections::VecDeque<(Moment, Sealed)>,
}

/// Plays 20 seconds of records of `bytes` bytes, each of its own key, from one sink.
fn played(speeds: [f64; SHARDS], bytes: usize) -> Vec<Shard> {
    played_with(&CoreSettings::default(), 1, u64::MAX, speeds, bytes).0
}

/// Plays 20 seconds of records of `bytes` bytes and `keys` keys from several sinks, each with twice the shards' summed book rate as
/// input, as far as its budget lets it in. Returns also how many records each delivered.
fn played_with(
    settings: &CoreSettings,
    producers: usize,
    keys: u64,
    speeds: [f64; SHARDS],
    bytes: usize,
) -> (Vec<Shard>, Vec<u64>) {
    let mut shards: Vec<_> = speeds.into_iter().map(Shard::new).collect();
    let producer = |_| Producer { core: core(settings.clone()), entered: 0, under_way: Default::default() };
    let mut producers: Vec<_> = (0..producers).map(producer).collect();
    let mut now = Duration::ZERO;
    while now < UNTIL {
        for producer in &mut producers {
            producer.turn(now, &mut shards, keys, bytes);
        }
        now += Duration::from_millis(1);
    }
    (shards, producers.iter().map(|producer| producer.core.stats().delivered).collect())
}

impl Producer {
    fn turn(&mut self, now: Moment, shards: &mut [Shard], keys: u64, bytes: usize) {
        let a_second = 2e3_f64.min(2e6 / bytes as f64) * SHARDS as f64;
        let fate = self.core.open_fate(EventFinalizers::default(), now);
        while (self.entered as f64) < now.as_secs_f64() * a_second && self.core.held_bytes() < BUDGET {
            let profile = self.entered % keys;
            let (data, key) = (Bytes::from(vec![b'x'; bytes]), Bytes::from(format!("profile-{profile}")));
            self.core.accept(Record::keyed(data, key, profile, fate, now));
            self.entered += 1;
        }
        self.core.close_fate(fate);
        while let Some(sealed) = self.core.next_request(now) {
            self.under_way.push_back((now, sealed));
        }
        // The service decides half a round trip after the request was sent; that is when its buckets are asked.
        while self.under_way.front().is_some_and(|(sent, _)| now - *sent >= ROUND_TRIP) {
            let (sent, sealed) = self.under_way.pop_front().unwrap();
            let entries = answer(shards, &self.core, &sealed, sent + ROUND_TRIP / 2);
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
        let shards = played([1.0; SHARDS], bytes);
        let (used, share) = used_and_refused(&shards);
        assert!(used >= 0.97, "{bytes} bytes: {used} of the capacity used");
        assert!(share <= 0.02, "{bytes} bytes: {share} of the attempts refused");
    }
}

#[test]
fn one_shard_at_a_tenth_leaves_the_others_at_full_speed() {
    let shards = played([1.0, 1.0, 1.0, 0.1, 1.0, 1.0, 1.0, 1.0], 700);
    for (at, shard) in shards.iter().enumerate() {
        assert!(shard.used() >= 0.97, "shard {at}: {} of its capacity used", shard.used());
    }
}

#[test]
fn aggregates_carry_more_small_records_than_the_shards_take_and_are_refused_little() {
    let settings = CoreSettings { aggregate: true, ..CoreSettings::default() };
    let (shards, delivered) = played_with(&settings, 1, 200, [1.0; SHARDS], 300);
    let (used, share) = used_and_refused(&shards);
    assert!(used >= 0.97 && share <= 0.02, "{used} of the capacity used, {share} of the attempts refused");
    let by_the_book = UNTIL.as_secs() * 1000 * SHARDS as u64;
    assert!(delivered[0] > by_the_book * 3 / 2, "{delivered:?} records, {by_the_book} without aggregation");
}

#[test]
fn three_producers_share_a_stream_without_collapse() {
    let (shards, delivered) = played_with(&CoreSettings::default(), 3, u64::MAX, [1.0; SHARDS], 300);
    let (used, share) = used_and_refused(&shards);
    assert!(used >= 0.95 && share <= 0.1, "{used} of the capacity used, {share} of the attempts refused");
    let sum: u64 = delivered.iter().sum();
    assert!(delivered.iter().all(|own| own * 6 > sum), "each has at least half of its share: {delivered:?}");
}
