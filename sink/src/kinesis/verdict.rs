//! Verdict: what an answer means, for a record and for a whole request.
//! In: the service's codes and texts. Out: a class, a shard's name, a limit, an index, as far as they can be read.
//! Wording is no contract: what cannot be read is `None`, and an unknown code counts as failed, never as delivered.

/// Why one record was not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setback {
    /// Its shard is at its rate.
    Throttled,
    /// The service stumbled, or said something we do not know.
    Transient,
}

/// The verdict on a failed record.
#[must_use]
pub fn setback(code: &str) -> Setback {
    match code {
        "ProvisionedThroughputExceededException" | "KMSThrottlingException" | "ThrottlingException" => {
            Setback::Throttled
        }
        _ => Setback::Transient,
    }
}

/// Why a whole request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Trouble {
    /// The stream or the account is at its rate.
    Throttled,
    /// 5xx, a timeout, a lost connection, a wrong answer: time heals it.
    Transient,
    /// The credentials are expired or wrong: new ones are fetched, then time or a person heals it.
    Credentials,
    /// A right, a stream or a key is missing: a person heals it.
    Pause,
    /// The service refuses the content: some record is guilty.
    Poison,
    /// The request is too large as a whole.
    TooLarge,
}

impl Trouble {
    /// Whether one such failure means that no other request will do better.
    #[must_use]
    pub fn stops_everything(self) -> bool {
        matches!(self, Self::Credentials | Self::Pause)
    }

    /// As in metrics and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Throttled => "throttled",
            Self::Transient => "transient",
            Self::Credentials => "credentials",
            Self::Pause => "pause",
            Self::Poison => "poison",
            Self::TooLarge => "too_large",
        }
    }
}

/// The class of a request that was answered with an error.
#[must_use]
pub fn trouble(status: u16, code: &str, message: &str) -> Trouble {
    match code {
        "ProvisionedThroughputExceededException"
        | "LimitExceededException"
        | "ThrottlingException"
        | "Throttling"
        | "RequestLimitExceeded"
        | "TooManyRequestsException"
        | "SlowDown"
        | "KMSThrottlingException" => Trouble::Throttled,
        "ExpiredTokenException"
        | "ExpiredToken"
        | "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "InvalidSignatureException"
        | "SignatureDoesNotMatch"
        | "IncompleteSignature"
        | "IncompleteSignatureException"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException"
        | "RequestExpired"
        | "RequestInTheFuture"
        | "RequestTimeTooSkewed"
        | "AuthFailure"
        | "InvalidAccessKeyId"
        | "InvalidToken"
        | "OptInRequired"
        | "NotAuthorized" => Trouble::Credentials,
        "AccessDeniedException"
        | "AccessDenied"
        | "ResourceNotFoundException"
        | "ResourceInUseException"
        | "KMSAccessDeniedException"
        | "KMSDisabledException"
        | "KMSInvalidStateException"
        | "KMSNotFoundException"
        | "KMSOptInRequired"
        | "UnknownOperationException" => Trouble::Pause,
        "RequestTimeout"
        | "RequestTimeoutException"
        | "InternalFailure"
        | "InternalFailureException"
        | "ServiceUnavailable"
        | "ServiceUnavailableException" => Trouble::Transient,
        // The stream's own name is at fault, not a record.
        "ValidationException" if names_stream(message) => Trouble::Pause,
        "ValidationException" | "InvalidArgumentException" | "SerializationException" if status < 500 => {
            Trouble::Poison
        }
        _ => match status {
            413 => Trouble::TooLarge,
            408 | 425 => Trouble::Transient,
            429 => Trouble::Throttled,
            401 | 403 => Trouble::Credentials,
            404 | 405 => Trouble::Pause,
            400 if code.is_empty() => Trouble::Transient,
            // An error we do not know about the request as a whole: nobody is rejected for it.
            400..=499 => Trouble::Pause,
            _ => Trouble::Transient,
        },
    }
}

fn names_stream(message: &str) -> bool {
    ["streamName", "streamARN", "StreamName", "StreamARN"].iter().any(|name| message.contains(name))
        && !message.contains("records.")
}

/// The shard that a throttle text names.
#[must_use]
pub fn shard_in(message: &str) -> Option<&str> {
    let start = message.find("shardId-")?;
    let name = &message[start..];
    let end = name.find(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_')).unwrap_or(name.len());
    (end > "shardId-".len()).then_some(&name[..end])
}

/// The number of the record that a refusal names, as it stands there: reports count from 1, but nothing promises it.
#[must_use]
pub fn index_in(message: &str) -> Option<usize> {
    let lower = message.find("records.").or_else(|| message.find("Records."))?;
    digits_at(&message[lower + "records.".len()..]).map(|(number, _)| number)
}

/// The record limit that a refusal states, in bytes: a number from 1 KiB to 10 MiB after words that state a limit.
#[must_use]
pub fn record_limit_in(message: &str) -> Option<usize> {
    ["less than or equal to ", "limit of ", "maximum of ", "maximum record size of ", "at most "]
        .iter()
        .find_map(|words| {
            let at = message.find(words)? + words.len();
            let (number, _) = digits_at(&message[at..])?;
            (1024..=super::limits::RECORD_BYTES_MAX).contains(&number).then_some(number)
        })
}

fn digits_at(text: &str) -> Option<(usize, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, &text[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_throttle_text_names_its_shard_if_it_does() {
        for (text, shard) in [
            (
                "Rate exceeded for shard shardId-000000000003 in stream s under account 111122223333.",
                Some("shardId-000000000003"),
            ),
            ("rate exceeded: shardId-7", Some("shardId-7")),
            ("shardId-", None),
            ("Rate exceeded", None),
            ("", None),
        ] {
            assert_eq!(shard_in(text), shard, "{text}");
        }
    }

    #[test]
    fn a_refusal_names_index_and_limit_if_it_does() {
        let text = "1 validation error detected: Value 'java.nio.HeapByteBuffer[pos=0 lim=1200000 cap=1200000]' at \
                    'records.3.member.data' failed to satisfy constraint: Member must have length less than or equal to 1048576";
        assert_eq!(index_in(text), Some(3));
        assert_eq!(record_limit_in(text), Some(1_048_576));
        assert_eq!(index_in("Value at 'records..member'"), None);
        assert_eq!(
            record_limit_in("must have length less than or equal to 256"),
            None,
            "that is a key's limit"
        );
        assert_eq!(record_limit_in("less than or equal to 99999999999999999999999"), None);
    }

    #[test]
    fn unknown_words_are_never_a_success_and_never_anyones_guilt() {
        assert_eq!(setback("SomethingNew"), Setback::Transient);
        assert_eq!(trouble(400, "SomethingNewException", ""), Trouble::Pause);
        assert_eq!(trouble(418, "", ""), Trouble::Pause);
        assert_eq!(trouble(500, "ValidationException", ""), Trouble::Transient);
        assert_eq!(trouble(413, "", ""), Trouble::TooLarge);
        assert_eq!(
            trouble(400, "ValidationException", "Value '' at 'streamName' failed to satisfy constraint"),
            Trouble::Pause
        );
        assert_eq!(
            trouble(400, "ValidationException", "Value at 'records.1.member.data' …"),
            Trouble::Poison
        );
    }
}
