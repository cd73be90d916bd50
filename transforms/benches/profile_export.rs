//! Benches of the hot path of `profile_export`: one record in, one record out, against floors that no code can beat.
//! Case name = input shape. Events differ from each other, so that branch prediction cannot learn one by heart.
#![allow(clippy::print_stderr, reason = "a benchmark says what it measures")]
#![allow(missing_docs, clippy::unwrap_used)]

use std::fmt::Write;
use std::hint::black_box;

use afluente_sources::{DemoProfiles, DemoProfilesOptions};
use afluente_transforms::profile_export::{Mapper, Outcome, ProfileExportConfig, Timestamp};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

/// A seeded generator (xorshift), so that runs are alike.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.roll(from.len() as u64) as usize]
    }

    fn hex(&mut self, digits: usize) -> String {
        (0..digits).map(|_| char::from(b"0123456789abcdef"[self.roll(16) as usize])).collect()
    }

    fn digits(&mut self, digits: usize) -> String {
        (0..digits).map(|_| char::from(b'0' + self.roll(10) as u8)).collect()
    }
}

const FIRST: [&str; 8] = ["Ines", "Jo", "Maximilian", "Zo\u{eb}", "Aoife", "Bartholomew", "Li", "Svetlana"];
const LAST: [&str; 8] =
    ["Okafor", "Ng", "van der Berg", "Almeida", "Smith", "Featherstonehaugh", "Sato", "Cruz"];
const TIERS: [&str; 4] = ["silver", "gold", "basic", "platinum"];

fn segment(n: u64) -> String {
    format!("{:08x}-5f1e-4a07-9d57-2f6f0e0c{n:04x}", n.wrapping_mul(2_654_435_761) & 0xffff_ffff)
}

/// A profile event of about 1.56 KB of which about 0.93 KB are exported.
fn event(dice: &mut Dice, profile: u64, ascii: bool) -> String {
    let first =
        if ascii { dice.pick(&["Ines", "Jo", "Maximilian", "Aoife", "Li"]) } else { dice.pick(&FIRST) };
    let last = dice.pick(&LAST);
    let mut out = String::with_capacity(2048);
    write!(
        out,
        r#"{{"_id":"{}","person":{{"name":{{"firstName":"{first}","lastName":"{last}"}},"birthDate":"19{}-0{}-1{}","gender":"{}"}},"personalEmail":{{"address":"{}.{}@example.com","primary":true}},"mobilePhone":{{"number":"+1-555-{}"}},"#,
        dice.hex(16),
        50 + dice.roll(49),
        1 + dice.roll(9),
        dice.roll(9),
        dice.pick(&["female", "male", "not_specified"]),
        dice.pick(&["ines", "jo", "maximilian", "zoe", "aoife"]),
        profile,
        dice.digits(7),
    )
    .unwrap();
    write!(
        out,
        r#""consents":{{"marketing":{{"email":{{"val":"{}"}},"push":{{"val":"n","time":"2024-11-03T09:12:44Z"}}}},"collect":{{"val":"y"}}}},"homeAddress":{{"street1":"Rua do Norte 12","city":"Lisboa","postalCode":"1200-283","country":"PT","primary":false}},"loyalty":{{"tier":"{}","points":{}}},"_acme":{{"score":{}.{},"store":"{}","flags":["web","app"],"lastVisit":null}},"segmentMembership":{{"ups":{{"#,
        dice.pick(&["y", "n"]),
        dice.pick(&TIERS),
        dice.roll(100_000),
        dice.roll(100),
        dice.roll(1000),
        dice.pick(&["Lisboa", "Porto", "San Jose", "Berlin Mitte"]),
    )
    .unwrap();
    for n in 0..5 {
        let comma = if n == 0 { "" } else { "," };
        write!(
            out,
            r#"{comma}"{}":{{"lastQualificationTime":"2025-0{}-1{}T06:15:00Z","status":"{}"}}"#,
            segment(n * 7 + dice.roll(7)),
            1 + dice.roll(9),
            dice.roll(9),
            dice.pick(&["realized", "existing", "exited"]),
        )
        .unwrap();
    }
    write!(
        out,
        r#"}}}},"identityMap":{{"ECID":[{{"id":"{:038}","authenticatedState":"ambiguous","primary":true}}],"Email_LC_SHA256":[{{"id":"{}","authenticatedState":"authenticated"}}],"CRMID":[{{"id":"C-{:08}","authenticatedState":"loggedOut"}}]}}}}"#,
        profile,
        dice.hex(32),
        profile,
    )
    .unwrap();
    out
}

fn events(count: u64, profiles: u64, ascii: bool) -> Vec<Vec<u8>> {
    let mut dice = Dice(0x1234_5678_9abc_def1);
    (0..count).map(|n| event(&mut dice, n % profiles, ascii).into_bytes()).collect()
}

/// What `afluente bench` feeds.
fn demo_events(count: usize) -> Vec<Vec<u8>> {
    let mut demo = DemoProfiles::new(DemoProfilesOptions::default());
    let mut next = || {
        let mut event = Vec::new();
        demo.write_event(&mut event);
        event
    };
    (0..count).map(|_| next()).collect()
}

/// Each with a key of its own at its end: no shape comes twice.
fn unlike(records: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let more = |(n, record): (usize, &Vec<u8>)| {
        [&record[..record.len() - 1], format!(r#","only_{n}":1}}"#).as_bytes()].concat()
    };
    records.iter().enumerate().map(more).collect()
}

fn config(more: &str) -> Mapper {
    let segments: Vec<String> = (0..3).map(|n| format!("{{\"id\":\"{}\"}}", segment(n * 7))).collect();
    let text = format!(
        r#"{{"attributes":["person.name.firstName","person.name.lastName","personalEmail.address","loyalty.tier"],"segments":[{}]{more}}}"#,
        segments.join(",")
    );
    ProfileExportConfig::from_json(serde_json::from_str(&text).unwrap()).unwrap().compile().unwrap()
}

/// Runs `case` over all records, one call an iteration.
fn each(c: &mut Criterion, name: &str, records: &[Vec<u8>], mut case: impl FnMut(&[u8])) {
    let bytes: usize = records.iter().map(Vec::len).sum();
    let mut group = c.benchmark_group("profile_export");
    group.throughput(Throughput::Bytes((bytes / records.len()) as u64));
    let mut next = records.iter().cycle();
    group.bench_function(name, |b| b.iter(|| case(next.next().unwrap())));
    group.finish();
}

fn map(c: &mut Criterion, name: &str, mapper: &mut Mapper, records: &[Vec<u8>]) {
    let (mut out, mut key) = (Vec::with_capacity(1 << 16), Vec::with_capacity(1 << 16));
    each(c, name, records, |record| {
        out.clear();
        key.clear();
        black_box(mapper.map(record, Timestamp::default(), &mut out, &mut key));
    });
}

fn benches(c: &mut Criterion) {
    let records = events(1000, 1000, true);
    let mut mapper = config("");
    let (mut out, mut key) = (Vec::new(), Vec::new());
    for record in &records {
        assert_eq!(mapper.map(record, Timestamp::default(), &mut out, &mut key), Outcome::Export);
    }
    let input: usize = records.iter().map(Vec::len).sum();
    eprintln!("mean event {} B, mean output {} B", input / records.len(), out.len() / records.len());

    let mut to = vec![0; 4096];
    each(c, "floor/memcpy", &records, |record| {
        to[..record.len()].copy_from_slice(record);
        black_box(&to);
    });
    each(c, "floor/utf8", &records, |record| {
        black_box(simdutf8::basic::from_utf8(record).is_ok());
    });
    each(c, "floor/count_quotes", &records, |record| {
        black_box(memchr::memchr_iter(b'"', record).count());
    });
    each(c, "floor/serde_ignored", &records, |record| {
        black_box(serde_json::from_slice::<serde::de::IgnoredAny>(record).is_ok());
    });
    let demo = demo_events(20_000);
    map(c, "every/demo_profiles", &mut demo_config(), &demo);
    map(c, "every/demo_profiles_unlike", &mut demo_config(), &unlike(&demo));
    map(c, "every/ascii", &mut config(""), &records);
    map(c, "every/mixed", &mut config(""), &events(1000, 1000, false));
    let spaced: Vec<Vec<u8>> = records
        .iter()
        .map(|record| {
            let text = String::from_utf8(record.clone()).unwrap();
            text.replace("\":", "\": ").replace(",\"", ", \"").into_bytes()
        })
        .collect();
    map(c, "every/spaced", &mut config(""), &spaced);
    map(c, "every/objects_and_scope_mapped", &mut objects(), &records);
    map(c, "relevant/ascii", &mut config(r#","trigger":"relevant""#), &records);
    let many = events(20_000, 20_000, true);
    map(c, "every/many_events", &mut config(""), &many);
    map(c, "change/20_000_profiles", &mut config(r#","trigger":"change""#), &many);
    // A profile in a mapped segment, or it would not be remembered.
    let template = records.iter().find(|record| {
        let mut mapper = config(r#","trigger":"change""#);
        mapper.map(record, Timestamp::default(), &mut Vec::new(), &mut Vec::new());
        mapper.profiles_remembered() == 1
    });
    million(c, template.unwrap());
}

/// One event whose profile is another one each time, of a million in an order that no cache can guess; with and without
/// the memory. The difference is what the memory costs.
fn million(c: &mut Criterion, template: &[u8]) {
    const PROFILES: u64 = 1_000_000;
    let mut record = template.to_vec();
    let digits = String::from_utf8(record.clone()).unwrap().find("\"ECID\":[{\"id\":\"").unwrap() + 15;
    let mut name = move |n: u64| {
        let id = format!("{n:038}");
        record[digits..digits + id.len()].copy_from_slice(id.as_bytes());
        record.clone()
    };
    // Steps by a large odd number through all profiles.
    let mut next = (0_u64..).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % PROFILES);
    for (case, trigger) in [
        ("every/1_000_000_profiles", ""),
        ("change/1_000_000_profiles", r#","trigger":"change","state_max_profiles":1000000"#),
    ] {
        let mut mapper = config(trigger);
        let (mut out, mut key) = (Vec::with_capacity(1 << 16), Vec::with_capacity(1 << 16));
        let mut once = |record: &[u8]| {
            out.clear();
            key.clear();
            black_box(mapper.map(record, Timestamp::default(), &mut out, &mut key));
        };
        if !trigger.is_empty() {
            (0..PROFILES).for_each(|n| once(&name(n)));
        }
        let mut group = c.benchmark_group("profile_export");
        group.bench_function(case, |b| {
            b.iter_batched(|| name(next.next().unwrap()), |record| once(&record), BatchSize::SmallInput);
        });
        group.finish();
        if !trigger.is_empty() {
            let each = mapper.memory_held_bytes() / mapper.profiles_remembered();
            eprintln!("{each} bytes of memory per remembered profile");
        }
    }
}

/// The mapping of `afluente bench`.
fn demo_config() -> Mapper {
    let text = r#"{"attributes":["person.name.firstName","person.name.lastName","personalEmail.address","loyalty.tier"],
        "segments":[{"id":"72ddd79b-6b0a-4e97-a8d2-112ccd81bd02","name":"Trail runners"},
                    {"id":"7841ba61-23c1-4bb3-a495-00d3g5fe1e93","name":"Cart abandoned"}]}"#;
    ProfileExportConfig::from_json(serde_json::from_str(text).unwrap()).unwrap().compile().unwrap()
}

fn objects() -> Mapper {
    let text = r#"{"attributes":["person","personalEmail","consents","loyalty","_acme"]}"#;
    ProfileExportConfig::from_json(serde_json::from_str(text).unwrap()).unwrap().compile().unwrap()
}

criterion_group!(all, benches);
criterion_main!(all);
