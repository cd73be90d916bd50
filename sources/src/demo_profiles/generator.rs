//! The generator behind `demo_profiles`: one seed, one stream of profile events.
//! In: options. Out: JSON objects, appended to a buffer.
//! Holds: how many events each profile has had. Never: reads a clock, allocates per event, depends on the machine.
//!
//! An event is a snapshot of one profile: names, e-mail, consents, loyalty, the tenant's own fields, memberships in
//! up to six segments, identities. A membership goes realized → existing → existing → exited and again, one step an
//! event of its profile, so that a reader can tell a lost or reordered event; beside it
//! `_afluente.sequence` counts the profile's events from 0.

/// Most profiles: 64 MiB of counters.
pub const PROFILES_MAX: u32 = 1 << 24;
/// The shortest event is about this long, whatever is asked for.
pub const EVENT_BYTES_MIN: usize = 560;
/// From this size on an event has all sections.
const FULL_BYTES: usize = 1200;
/// About what one membership takes.
const MEMBERSHIP_BYTES: usize = 116;
const SEGMENTS_MAX: usize = 6;
/// 2026-01-01T00:00:00Z.
const FIRST_SECOND: u64 = 1_767_225_600;
/// Seconds between two events of one profile.
const STEP_SECONDS: u64 = 300;

const FIRST_NAMES: [&str; 16] = [
    "Ana", "Bruno", "Chloé", "Davi", "Elif", "Farid", "Greta", "Hiro", "Inês", "João", "Kwame", "Lena",
    "Miguel", "Núria", "Oskar", "Priya",
];
const LAST_NAMES: [&str; 16] = [
    "Almeida", "Brandt", "Costa", "Dubois", "Eriksen", "Ferreira", "García", "Haddad", "Ivanova", "Jansen",
    "Kowalski", "Lopes", "Müller", "Nakamura", "Okafor", "Pereira",
];
const CITIES: [&str; 8] = ["Lisboa", "Porto", "Madrid", "Paris", "Berlin", "Wien", "Recife", "Curitiba"];
const COUNTRIES: [&str; 8] = ["PT", "PT", "ES", "FR", "DE", "AT", "BR", "BR"];
const TIERS: [&str; 4] = ["bronze", "silver", "gold", "platinum"];
/// A comma, a segment's id, and its membership up to the time.
const SEGMENTS: [&str; SEGMENTS_MAX] = [
    r#","72ddd79b-6b0a-4e97-a8d2-112ccd81bd02":{"lastQualificationTime":""#,
    r#","7841ba61-23c1-4bb3-a495-00d3g5fe1e93":{"lastQualificationTime":""#,
    r#","1b9a1e3c-58a5-4e3b-9d77-2a6c1f0e7b41":{"lastQualificationTime":""#,
    r#","c2f5d7a0-0c5e-4a8e-8f0b-5f1d2b3c4d5e":{"lastQualificationTime":""#,
    r#","59bd2fkd-3c48-4b18-bf56-4f5c5e6967ae":{"lastQualificationTime":""#,
    r#","e8f1b2c3-9d4a-4f6b-a7c8-0d1e2f3a4b5c":{"lastQualificationTime":""#,
];
/// The rest of a membership, in the order of its round.
const STATUSES: [&str; 4] = [
    r#"","status":"realized"}"#,
    r#"","status":"existing"}"#,
    r#"","status":"existing"}"#,
    r#"","status":"exited"}"#,
];
/// What fills an event up to its size.
const WORDS: &str = "trail shoes, rain jacket, merino socks, head lamp, camping stove, sleeping bag, tent pegs, \
                     water filter, trekking poles, day pack, wool hat, map case, dry bag, gas canister, bike lock, ";

/// What is generated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DemoProfilesOptions {
    /// Where all of it comes from.
    pub seed: u64,
    /// How many different profiles, 1 to [`PROFILES_MAX`]; values outside are brought inside.
    pub profiles: u32,
    /// About how long an event is, in bytes; at least [`EVENT_BYTES_MIN`].
    pub event_bytes: usize,
}

impl Default for DemoProfilesOptions {
    fn default() -> Self {
        Self { seed: 1, profiles: 10_000, event_bytes: 1560 }
    }
}

/// A seeded stream of profile events. The same options give the same bytes, on every machine.
#[derive(Clone, Debug)]
pub struct DemoProfiles {
    options: DemoProfilesOptions,
    random: SplitMix,
    sequences: Vec<u32>,
    /// Events that are this long or shorter.
    longest: usize,
}

/// The profile of an event that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DemoEvent {
    /// Which profile, from 0. Its CRMID identity is `crm-` and this number with eight digits.
    pub profile: u32,
    /// Which of the profile's events, from 0; `_afluente.sequence` in the event.
    pub sequence: u32,
}

/// SplitMix64 (Steele, Lea, Flood 2014): fixed here so that a seed means the same in every version.
#[derive(Clone, Debug)]
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

impl DemoProfiles {
    /// A stream from its beginning.
    #[must_use]
    pub fn new(options: DemoProfilesOptions) -> Self {
        let profiles = options.profiles.clamp(1, PROFILES_MAX);
        let options = DemoProfilesOptions { profiles, ..options };
        Self {
            options,
            random: SplitMix(options.seed),
            sequences: vec![0; profiles as usize],
            longest: options.event_bytes.max(EVENT_BYTES_MIN) + 2 * MEMBERSHIP_BYTES,
        }
    }

    /// About the longest an event gets; for the size of buffers.
    #[must_use]
    pub fn event_bytes_max(&self) -> usize {
        self.longest
    }

    /// Appends the next event to `out`: one JSON object, no white space, no line end.
    pub fn write_event(&mut self, out: &mut Vec<u8>) -> DemoEvent {
        // The high bits, scaled: every profile about equally often.
        let profile = (((self.random.next() >> 32) * u64::from(self.options.profiles)) >> 32) as u32;
        let sequence = &mut self.sequences[profile as usize];
        let event = DemoEvent { profile, sequence: *sequence };
        *sequence = sequence.wrapping_add(1);
        // What a profile is follows from its number and the seed alone.
        let fixed = SplitMix(self.options.seed ^ (u64::from(profile) << 20)).next();
        Writer::new(out, event, fixed, self.options.event_bytes).write();
        event
    }
}

struct Writer<'a> {
    out: &'a mut Vec<u8>,
    event: DemoEvent,
    fixed: u64,
    event_bytes: usize,
    profile: [u8; 8],
    /// The day of `time`, in days since 1970.
    day: u64,
    time: [u8; 20],
}

fn two_digits(text: &mut [u8], number: u64) {
    text[0] = b'0' + (number / 10) as u8;
    text[1] = b'0' + (number % 10) as u8;
}

/// A date of the Gregorian calendar, `2026-01-01`, by eras of 400 years that begin on March 1st.
fn date(days_since_1970: u64) -> [u8; 10] {
    let days = days_since_1970 + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let shifted = (5 * day + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    let mut text = *b"0000-00-00";
    two_digits(&mut text, year / 100);
    two_digits(&mut text[2..], year % 100);
    two_digits(&mut text[5..], month);
    two_digits(&mut text[8..], day - (153 * shifted + 2) / 5 + 1);
    text
}

impl<'a> Writer<'a> {
    fn new(out: &'a mut Vec<u8>, event: DemoEvent, fixed: u64, event_bytes: usize) -> Self {
        let mut profile = [b'0'; 8];
        let mut rest = u64::from(event.profile);
        for pair in profile.chunks_exact_mut(2).rev() {
            two_digits(pair, rest % 100);
            rest /= 100;
        }
        Self { out, event, fixed, event_bytes, profile, day: u64::MAX, time: *b"0000-00-00T00:00:00Z" }
    }

    fn write(mut self) {
        let start = self.out.len();
        let full = self.event_bytes >= FULL_BYTES;
        self.person();
        if full {
            self.details();
        }
        self.tenant();
        self.memberships(start);
        self.identities();
        self.fill(self.event_bytes.saturating_sub(self.out.len() - start));
        self.text("}");
    }

    fn text(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    fn bits(&self, shift: u32, among: usize) -> usize {
        (self.fixed >> shift) as usize % among
    }

    /// Decimal digits with leading zeros up to `width`.
    fn number(&mut self, mut number: u64, width: usize) {
        let mut digits = [b'0'; 20];
        let mut at = digits.len();
        while number > 0 {
            at -= 1;
            digits[at] = b'0' + (number % 10) as u8;
            number /= 10;
        }
        let at = at.min(digits.len() - width);
        self.out.extend_from_slice(&digits[at..]);
    }

    /// The profile's number with eight digits.
    fn profile(&mut self) {
        self.out.extend_from_slice(&self.profile);
    }

    /// `2026-01-01T00:05:00Z`, the given steps of the profile after its first event.
    fn time(&mut self, step: u64) {
        let seconds = FIRST_SECOND + self.bits(8, 86_400) as u64 + step * STEP_SECONDS;
        let (day, second) = (seconds / 86_400, seconds % 86_400);
        // The times of one event mostly share their day.
        if self.day != day {
            self.day = day;
            self.time[..10].copy_from_slice(&date(day));
        }
        let mut time = self.time;
        two_digits(&mut time[11..], second / 3600);
        two_digits(&mut time[14..], second / 60 % 60);
        two_digits(&mut time[17..], second % 60);
        self.out.extend_from_slice(&time);
    }

    fn email(&mut self) {
        self.text("user");
        self.profile();
        self.text("@example.com");
    }

    fn person(&mut self) {
        self.text(r#"{"person":{"name":{"firstName":""#);
        self.text(FIRST_NAMES[self.bits(0, FIRST_NAMES.len())]);
        self.text(r#"","lastName":""#);
        self.text(LAST_NAMES[self.bits(4, LAST_NAMES.len())]);
        self.text(r#""},"birthYear":"#);
        self.number(1940 + self.bits(24, 66) as u64, 4);
        self.text(r#"},"personalEmail":{"address":""#);
        self.email();
        self.text(r#""}"#);
    }

    fn details(&mut self) {
        let city = self.bits(28, CITIES.len());
        self.text(r#","homeAddress":{"city":""#);
        self.text(CITIES[city]);
        self.text(r#"","countryCode":""#);
        self.text(COUNTRIES[city]);
        self.text(r#"","postalCode":""#);
        self.number(10_000 + self.bits(32, 89_999) as u64, 5);
        self.text(r#""},"consents":{"marketing":{"email":{"val":""#);
        self.text(if self.fixed & 1 << 40 == 0 { "y" } else { "n" });
        self.text(r#""},"push":{"val":"n"}},"metadata":{"time":""#);
        self.time(0);
        self.text(r#""}},"loyalty":{"tier":""#);
        self.text(TIERS[self.bits(42, TIERS.len())]);
        self.text(r#"","points":"#);
        self.number(self.bits(44, 5000) as u64 + 7 * u64::from(self.event.sequence), 1);
        self.text(r#","joinDate":"2021-0"#);
        self.number(1 + self.bits(48, 9) as u64, 1);
        self.text("-1");
        self.number(self.bits(52, 10) as u64, 1);
        self.text(r#""}"#);
    }

    fn tenant(&mut self) {
        self.text(r#","_tenant":{"crmId":"crm-"#);
        self.profile();
        self.text(r#"","lifetimeValue":"#);
        self.number(self.bits(16, 900) as u64 + u64::from(self.event.sequence), 1);
        self.text(".");
        self.number(self.bits(36, 100) as u64, 2);
        self.text(r#"},"_afluente":{"sequence":"#);
        self.number(u64::from(self.event.sequence), 1);
        self.text(r#"},"timestamp":""#);
        self.time(u64::from(self.event.sequence));
        self.text("\"");
    }

    fn memberships(&mut self, start: usize) {
        let identities = 180;
        let room = self.event_bytes.saturating_sub(self.out.len() - start + identities);
        let count = (room / MEMBERSHIP_BYTES).clamp(1, SEGMENTS_MAX);
        self.text(r#","segmentMembership":{"ups":{"#);
        for (index, segment) in SEGMENTS.iter().enumerate().take(count) {
            // Each segment is at another point of its round.
            let step = u64::from(self.event.sequence) + (self.bits(2 * index as u32, 4) as u64);
            let phase = step % 4;
            self.text(&segment[usize::from(index == 0)..]);
            // Since when it is so: the round's first step, or the exit.
            let since = if phase == 3 { step } else { step - phase };
            let since = since.saturating_sub(step - u64::from(self.event.sequence));
            self.time(since);
            self.text(STATUSES[phase as usize]);
        }
        self.text("}}");
    }

    fn identities(&mut self) {
        self.text(r#","identityMap":{"ECID":[{"id":""#);
        self.number(self.fixed % 10_000_000_000_000_000_000, 19);
        self.number(self.fixed.rotate_left(29) % 10_000_000_000_000_000_000, 19);
        self.text(r#"","primary":true}],"Email":[{"id":""#);
        self.email();
        self.text(r#""}],"CRMID":[{"id":"crm-"#);
        self.profile();
        self.text(r#""}]}"#);
    }

    /// Brings the event near its size: what the customer looked for grows by `missing` bytes, give or take a little.
    fn fill(&mut self, missing: usize) {
        let (open, close) = (r#","preferences":{"lastSearches":""#, "\"}");
        let jitter = (self.fixed >> 12) as usize % 32 + self.event.sequence as usize % 8;
        let Some(mut left) = (missing + jitter).checked_sub(open.len() + close.len() + 18) else { return };
        self.text(open);
        let mut from = self.event.sequence as usize % 8 * 13;
        while left > 0 {
            let part = &WORDS.as_bytes()[from..(from + left).min(WORDS.len())];
            self.out.extend_from_slice(part);
            left -= part.len();
            from = 0;
        }
        self.text(close);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::HashMap;

    use serde_json::Value;

    use super::*;

    fn events(options: DemoProfilesOptions, count: usize) -> Vec<Vec<u8>> {
        let mut generator = DemoProfiles::new(options);
        let mut next = || {
            let mut event = Vec::new();
            generator.write_event(&mut event);
            assert!(event.len() <= generator.event_bytes_max(), "{} bytes", event.len());
            event
        };
        (0..count).map(|_| next()).collect()
    }

    #[test]
    fn a_seed_gives_the_same_events_again_and_another_seed_others() {
        let options = DemoProfilesOptions::default();
        assert_eq!(events(options, 100), events(options, 100));
        assert_ne!(events(options, 100), events(DemoProfilesOptions { seed: 2, ..options }, 100));
    }

    #[test]
    fn events_are_profiles_in_json_of_about_the_size_asked_for() {
        for event_bytes in [1, 562, 800, 1560, 8000] {
            let options = DemoProfilesOptions { event_bytes, ..Default::default() };
            let events = events(options, 300);
            let mean = events.iter().map(Vec::len).sum::<usize>() / events.len();
            let target = event_bytes.max(EVENT_BYTES_MIN);
            assert!(mean.abs_diff(target) <= 60, "{mean} bytes for {event_bytes}");
            for event in events {
                let event: Value = serde_json::from_slice(&event).unwrap();
                assert!(event["personalEmail"]["address"].is_string());
                assert!(event["identityMap"]["ECID"][0]["id"].as_str().unwrap().len() == 38);
                assert!(!event["segmentMembership"]["ups"].as_object().unwrap().is_empty());
            }
        }
    }

    #[test]
    fn sequences_of_a_profile_have_no_gap_and_its_memberships_move_in_rounds() {
        let options = DemoProfilesOptions { profiles: 7, ..Default::default() };
        let mut next: HashMap<String, (u64, Option<usize>)> = HashMap::new();
        for event in events(options, 500) {
            let event: Value = serde_json::from_slice(&event).unwrap();
            let profile = event["_tenant"]["crmId"].as_str().unwrap().to_owned();
            let (sequence, phase) = next.entry(profile).or_default();
            assert_eq!(event["_afluente"]["sequence"], *sequence);
            *sequence += 1;
            let membership = &event["segmentMembership"]["ups"]["72ddd79b-6b0a-4e97-a8d2-112ccd81bd02"];
            let status = membership["status"].as_str().unwrap();
            let round = ["realized", "existing", "existing", "exited"];
            let expected = phase.map(|phase| round[(phase + 1) % 4]);
            assert!(expected.is_none_or(|expected| expected == status));
            *phase = match (status, *phase) {
                ("realized", _) => Some(0),
                ("existing", Some(phase)) => Some(phase + 1),
                ("exited", _) => Some(3),
                // The first of the two `existing` cannot be told from the second yet.
                _ => None,
            };
        }
        assert_eq!(next.len(), 7);
    }

    #[test]
    fn times_are_dates_of_the_calendar() {
        for seconds in [0, 59 * 86_400, 366 * 86_400 * 3 + 7, 1_000_000_007u64] {
            let step = seconds / STEP_SECONDS;
            let mut out = Vec::new();
            let event = DemoEvent { profile: 0, sequence: 0 };
            Writer::new(&mut out, event, 0, 0).time(step);
            let expected = chrono::DateTime::from_timestamp((FIRST_SECOND + step * STEP_SECONDS) as i64, 0);
            let expected = expected.unwrap().format("%Y-%m-%dT%H:%M:%SZ").to_string();
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
