//! Complaint: does a refusal blame the clock, and what time is it there?
//! In: a refusal's code, words and `Date`. Out: a `Complaint`; the service's time, if either states it.
//! Never: decides what to do about it.

use std::time::SystemTime;

use aws_smithy_types::{DateTime, date_time::Format};
use chrono::NaiveDateTime;
use http::HeaderValue;

/// Whether a refusal is about the time of the signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kinesis) enum Complaint {
    /// It is about something else.
    None,
    /// The signature does not match: a wrong secret, or a wrong clock.
    Perhaps,
    /// It is.
    Clock,
}

pub(in crate::kinesis) fn complaint(code: &str, message: &str) -> Complaint {
    match code {
        "RequestTimeTooSkewed" | "RequestExpired" | "RequestInTheFuture" => Complaint::Clock,
        "InvalidSignatureException" | "SignatureDoesNotMatch" | "AuthFailure" | "IncompleteSignature" => {
            let message = message.to_ascii_lowercase();
            if message.contains("signature expired") || message.contains("not yet current") {
                Complaint::Clock
            } else {
                Complaint::Perhaps
            }
        }
        _ => Complaint::None,
    }
}

/// The service's time: its `Date`, or else what the complaint itself states.
pub(super) fn service_time(date: Option<&HeaderValue>, message: &str) -> Option<SystemTime> {
    date.and_then(http_date).or_else(|| stated_time(message))
}

pub(super) fn http_date(value: &HeaderValue) -> Option<SystemTime> {
    let date = DateTime::from_str(value.to_str().ok()?, Format::HttpDate).ok()?;
    SystemTime::try_from(date).ok()
}

/// `Signature expired: … is now earlier than … (20260101T001000Z - 5 min.)`
fn stated_time(message: &str) -> Option<SystemTime> {
    let (_, rest) = message.rsplit_once('(')?;
    let time = NaiveDateTime::parse_from_str(rest.get(..16)?, "%Y%m%dT%H%M%SZ").ok()?;
    Some(time.and_utc().into())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_services_time_is_its_date_or_stands_in_the_complaint() {
        let words = "Signature not yet current: 20260101T010000Z is still later than 20260101T000500Z (20260101T000000Z + 5 min.)";
        let at = |seconds| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        let date = HeaderValue::from_static("Thu, 01 Jan 2026 00:10:00 GMT");
        assert_eq!(service_time(Some(&date), words), at(1_767_226_200));
        assert_eq!(service_time(None, words), at(1_767_225_600));
        assert_eq!(service_time(Some(&HeaderValue::from_static("now")), words), at(1_767_225_600));
        for words in
            ["", "(", "Signature expired", "Signature expired (ää 60101T000000Z)", "(20269901T000000Z"]
        {
            assert_eq!(service_time(None, words), None, "{words}");
        }
    }
}
