//! Time: reads the time texts of the specification (5.4) and compares them exactly.
//! In: text.  Out: nanoseconds since 1970, and whether digits were left beyond them.
//! Never: reads a clock; guesses. What cannot be read is `None`.

use std::time::{SystemTime, UNIX_EPOCH};

const NANOS_PER_SECOND: i128 = 1_000_000_000;
const SECONDS_PER_DAY: i128 = 86_400;

/// A point in time: nanoseconds since 1970-01-01T00:00:00Z, leap seconds not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i128);

impl Timestamp {
    /// From nanoseconds since 1970.
    pub const fn from_unix_nanos(nanos: i128) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since 1970.
    pub const fn unix_nanos(self) -> i128 {
        self.0
    }

    /// Reads `YYYY-MM-DDThh:mm:ss`, an optional fraction, then `Z`, `+hh:mm` or `+hhmm` (or minus). Digits of the fraction
    /// beyond nanoseconds are cut off.
    pub fn parse(text: &str) -> Option<Self> {
        read(text.as_bytes()).map(|read| Self(read.nanos))
    }

    pub(crate) fn minus_days(self, days: u64) -> Self {
        Self(self.0 - i128::from(days) * SECONDS_PER_DAY * NANOS_PER_SECOND)
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        match time.duration_since(UNIX_EPOCH) {
            Ok(after) => Self(after.as_nanos() as i128),
            Err(before) => Self(-(before.duration().as_nanos() as i128)),
        }
    }
}

/// A time as it was read: `nanos`, or a fraction of a nanosecond after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReadTime {
    nanos: i128,
    more: bool,
}

impl ReadTime {
    /// Whether this time is not later than `now`.
    pub(crate) fn has_come(self, now: Timestamp) -> bool {
        self.nanos < now.0 || self.nanos == now.0 && !self.more
    }

    /// Whether this time lies before `limit`.
    pub(crate) fn is_before(self, limit: Timestamp) -> bool {
        self.nanos < limit.0
    }
}

/// Reads a time. Not a time: anything but the forms of [`Timestamp::parse`], dates that the calendar does not have, the year
/// 0, hours from 24, minutes or seconds from 60 (a leap second too), offsets from 24 hours.
pub(crate) fn read(text: &[u8]) -> Option<ReadTime> {
    let (date_and_time, rest) = text.split_at_checked(19)?;
    let [y0, y1, y2, y3, b'-', m0, m1, b'-', d0, d1, b'T' | b't', h0, h1, b':', n0, n1, b':', s0, s1] =
        *date_and_time
    else {
        return None;
    };
    let year = i128::from(two(y0, y1)? * 100 + two(y2, y3)?);
    let (month, day) = (two(m0, m1)?, two(d0, d1)?);
    let (hour, minute, second) = (two(h0, h1)?, two(n0, n1)?, two(s0, s1)?);
    if year == 0 || !(1..=12).contains(&month) || day == 0 || day > days_in(year, month) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (fraction, more, zone) = match rest {
        [b'.', rest @ ..] => {
            let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let (digits, zone) = rest.split_at(digits);
            if digits.is_empty() {
                return None;
            }
            let (nano_digits, beyond) = digits.split_at(digits.len().min(9));
            let nanos = nano_digits.iter().chain([b'0'; 9].iter()).take(9);
            let nanos = nanos.fold(0, |nanos, digit| nanos * 10 + i128::from(digit - b'0'));
            (nanos, beyond.iter().any(|digit| *digit != b'0'), zone)
        }
        zone => (0, false, zone),
    };
    let offset = match *zone {
        [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), a, b, b':', c, d] | [sign @ (b'+' | b'-'), a, b, c, d] => {
            let (hours, minutes) = (two(a, b)?, two(c, d)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let seconds = i128::from(hours * 3600 + minutes * 60);
            if sign == b'-' { -seconds } else { seconds }
        }
        _ => return None,
    };
    let seconds = days_since_1970(year, month, day) * SECONDS_PER_DAY
        + i128::from(hour * 3600 + minute * 60 + second)
        - offset;
    Some(ReadTime { nanos: seconds * NANOS_PER_SECOND + fraction, more })
}

fn two(tens: u8, ones: u8) -> Option<u32> {
    (tens.is_ascii_digit() && ones.is_ascii_digit())
        .then(|| u32::from(tens - b'0') * 10 + u32::from(ones - b'0'))
}

fn days_in(year: i128, month: u32) -> u32 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days in the Gregorian calendar, counted in years that start in March so that the leap day comes last.
fn days_since_1970(year: i128, month: u32, day: u32) -> i128 {
    let (year, month) = if month < 3 { (year - 1, month + 9) } else { (year, month - 3) };
    let day_of_year = i128::from((153 * month + 2) / 5 + day - 1);
    let before_this_year = 365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    before_this_year + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_forms_are_read() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2020-05-25T21:24:39Z", 1_590_441_879),
            ("2019-04-15T02:41:50+0000", 1_555_296_110),
            ("2019-04-15T02:41:50.000+0000", 1_555_296_110),
            ("2018-04-26T15:52:25+00:00", 1_524_757_945),
            ("2024-02-29t23:59:59z", 1_709_251_199),
            ("2024-03-01T01:59:59+02:00", 1_709_251_199),
            ("2024-02-29T21:59:59-0200", 1_709_251_199),
            ("0001-01-01T00:00:00Z", -62_135_596_800),
            ("9999-12-31T23:59:59Z", 253_402_300_799),
        ] {
            assert_eq!(
                Timestamp::parse(text).map(Timestamp::unix_nanos),
                Some(seconds * NANOS_PER_SECOND),
                "{text}"
            );
        }
    }

    #[test]
    fn anything_else_is_not_a_time() {
        for text in [
            "",
            "yesterday",
            "2024-04-01",
            "2023-02-29T00:00:00Z",
            "1900-02-29T00:00:00Z",
            "2024-13-01T00:00:00Z",
            "2024-00-10T00:00:00Z",
            "2024-01-00T00:00:00Z",
            "2024-01-01 00:00:00Z",
            "2024-01-01T24:00:00Z",
            "2024-01-01T00:60:00Z",
            "2024-12-31T23:59:60Z",
            "2024-01-01T00:00:00",
            "2024-01-01T00:00:00.Z",
            "2024-01-01T00:00:00,5Z",
            "2024-01-01T00:00:00+1",
            "2024-01-01T00:00:00+24:00",
            "2024-01-01T00:00:00+01:60",
            "2024-01-01T00:00:00+01",
            "2024-01-01T00:00:00ZZ",
            " 2024-01-01T00:00:00Z",
            "+2024-01-01T00:00:00Z",
            "0000-01-01T00:00:00Z",
            "2024-01-01T00:00Z",
            "2024-01-01T00:00:00+١:00",
        ] {
            assert_eq!(Timestamp::parse(text), None, "{text}");
        }
    }

    #[test]
    fn fractions_count_to_the_last_digit() {
        let now = Timestamp::from_unix_nanos(500_000_000);
        let due = |text: &str| read(text.as_bytes()).map(|time| time.has_come(now));
        assert_eq!(due("1970-01-01T00:00:00.5Z"), Some(true));
        assert_eq!(due("1970-01-01T00:00:00.500000000000Z"), Some(true));
        assert_eq!(due("1970-01-01T00:00:00.5000000000001Z"), Some(false));
        assert_eq!(due("1970-01-01T00:00:00.499999999999Z"), Some(true));
    }
}
