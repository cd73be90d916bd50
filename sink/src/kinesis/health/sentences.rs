//! Sentences: what an attempt's outcome means for the user.
//! In: an attempt and what is known around it. Out: a finding whose sentence says what to change.
//! Never: calls anything, prints a secret.

use serde::de::IgnoredAny;

use super::{Finding, Probe, Standing};
use crate::kinesis::{
    answer::{Entry, parse_put_records},
    http::FailureKind,
    put::{
        Attempt, Failure, Refusal, Skew,
        complaint::{Complaint, complaint},
    },
};

const PUT: &str = "kinesis:PutRecords";
const LIST: &str = "kinesis:ListStreams";

/// What is known besides the attempt.
#[derive(Clone, Debug)]
pub(super) struct Scene {
    pub(super) stream: String,
    pub(super) region: String,
    pub(super) endpoint: String,
    /// The endpoint is not AWS's own for the region.
    pub(super) custom: bool,
    /// What was asked.
    pub(super) probe: Probe,
    /// The account's streams, if they may be listed; the first [`LIST_NAMES_MAX`](super::LIST_NAMES_MAX) of them.
    pub(super) streams: Option<Vec<String>>,
}

impl Scene {
    /// ``stream `x` in eu-west-1``, with the endpoint where that is not obvious.
    fn place(&self) -> String {
        if self.custom {
            format!("stream `{}` at {} (region {})", self.stream, self.endpoint, self.region)
        } else {
            format!("stream `{}` in {}", self.stream, self.region)
        }
    }

    /// `None` if that is not known.
    fn lists_the_stream(&self) -> Option<bool> {
        let names = self.streams.as_ref()?;
        let listed = names.contains(&self.stream);
        (listed || names.len() < super::LIST_NAMES_MAX).then_some(listed)
    }

    /// The listed name that is most like ours, if it is like it at all.
    fn nearest(&self) -> Option<&str> {
        let wanted = self.stream.to_lowercase();
        let distance = |name: &str| strsim::osa_distance(&name.to_lowercase(), &wanted);
        let (name, found) = self
            .streams
            .iter()
            .flatten()
            .filter(|name| **name != self.stream)
            .map(|name| (name.as_str(), distance(name)))
            .min_by_key(|(_, found)| *found)?;
        let alike = found <= (wanted.chars().count() / 3).max(2);
        alike.then_some(name)
    }
}

fn good(what: &'static str, sentence: String) -> Finding {
    Finding { standing: Standing::Well, what, sentence }
}

fn note(what: &'static str, sentence: String) -> Finding {
    Finding { standing: Standing::Note, what, sentence }
}

fn unproven(what: &'static str, sentence: String) -> Finding {
    Finding { standing: Standing::Unproven, what, sentence }
}

fn bad(what: &'static str, sentence: String) -> Finding {
    Finding { standing: Standing::Wrong, what, sentence }
}

/// A finding about the clock, if the service complained about it.
pub(super) fn judge_clock(attempt: &Attempt) -> Option<Finding> {
    let Attempt::Refused(Refusal { skew: Some(skew), .. }) = attempt else { return None };
    Some(Finding { standing: Standing::Corrected, what: "clock", sentence: clock_sentence(*skew) })
}

fn clock_sentence(skew: Skew) -> String {
    format!(
        "this machine's clock is {skew}: set it, best with NTP (a running sink signs with corrected time meanwhile)"
    )
}

fn unknown_skew() -> String {
    "the service refuses the time of the signature and does not say what time it is: set this machine's clock, best with NTP"
        .to_owned()
}

/// What the answer to the probe means.
pub(super) fn judge_probe(attempt: &Attempt, scene: &Scene) -> Finding {
    match attempt {
        Attempt::Answer(body) => judge_answer(body, scene),
        Attempt::Refused(refusal) => judge_refusal(refusal, scene),
        Attempt::Failed(failure) => judge_failure(failure, scene),
    }
}

/// A 200 must be impossible, but for a probe without a record.
fn judge_answer(body: &[u8], scene: &Scene) -> Finding {
    let place = scene.place();
    if serde_json::from_slice::<IgnoredAny>(body).is_err() {
        return bad(
            PUT,
            format!(
                "{} answered with HTTP 200, but not as Kinesis does: check `endpoint`, and that no proxy or captive \
                 portal is in the way",
                scene.endpoint
            ),
        );
    }
    if scene.probe == Probe::Nothing {
        return unproven(PUT, format!("{place} answers; whether it takes records is not proven"));
    }
    let is_failure = |entry: &Entry<'_>| matches!(entry, Entry::Failed { .. });
    bad(
        PUT,
        match parse_put_records(body, 1) {
            Ok(answer) if answer.entries.iter().all(is_failure) => format!(
                "{place} answered a dry run as if it were a real request, and did not store the probe: \
                 this endpoint does not keep to Kinesis' rules, so nothing can be promised about it"
            ),
            _ => format!(
                "ATTENTION: {place} ignored both the dry run and an impossible hash key, so an empty record with the \
                 partition key `{}` MAY HAVE BEEN WRITTEN to it; this endpoint does not keep to Kinesis' rules, \
                 do not check it again",
                super::PROBE_KEY
            ),
        },
    )
}

fn judge_refusal(refusal: &Refusal, scene: &Scene) -> Finding {
    let place = scene.place();
    let (message, key) = (refusal.message.as_str(), refusal.key_hint.as_str());
    let lower = message.to_ascii_lowercase();
    match refusal.code.as_str() {
        "DryRunOperationException" => {
            good(PUT, format!("records may be written to {place} (dry run, nothing was written)"))
        }
        "InvalidArgumentException"
            if scene.probe == Probe::HashKey
                && lower.contains("hash")
                && scene.lists_the_stream() != Some(false) =>
        {
            good(
                PUT,
                format!(
                    "records may be written to {place} (the probe was refused for its hash key as intended, nothing was written)"
                ),
            )
        }
        "ValidationException" if lower.contains("streamname") => bad(
            PUT,
            format!(
                "stream_name: `{}` is not a stream's name: 1 to 128 letters, digits, `_`, `.` and `-`",
                scene.stream
            ),
        ),
        "InvalidArgumentException" | "ValidationException" | "SerializationException"
            if scene.probe != Probe::DryRun =>
        {
            match scene.lists_the_stream() {
                Some(true) => unproven(
                    PUT,
                    format!(
                        "{place} exists, but the endpoint refused the probe itself ({message}), so the right to write is not proven"
                    ),
                ),
                Some(false) => missing(scene),
                None => unproven(
                    PUT,
                    format!(
                        "{place}: the endpoint refused the probe itself ({message}), so neither the stream nor the right to write is proven"
                    ),
                ),
            }
        }
        "ResourceNotFoundException" => missing(scene),
        "ResourceInUseException" => bad(
            PUT,
            format!("{place} is being created, changed or deleted: wait until it is ACTIVE ({message})"),
        ),
        code if code.starts_with("KMS") => judge_kms(code, message, &place),
        "AccessDeniedException" | "AccessDenied" | "UnauthorizedOperation" | "NotAuthorized" => {
            if lower.contains("kms:") {
                return judge_kms("KMSAccessDeniedException", message, &place);
            }
            let denied = if lower.contains("explicit deny") {
                "a policy denies it explicitly: remove that statement, since no Allow can beat it"
            } else if lower.contains("session policy") {
                "the session's own policy does not allow it: widen the policy that the role is assumed with"
            } else if lower.contains("vpc endpoint policy") {
                "the VPC endpoint's policy does not allow it: add it there"
            } else if lower.contains("service control policy") {
                "the organization's service control policy does not allow it"
            } else {
                "allow it in the policy of that user or role (the minimal policy: `afluente check --iam-policy`)"
            };
            bad(PUT, format!("the right {PUT} on {place} is missing: {denied} (key {key}: {message})"))
        }
        "UnrecognizedClientException" | "InvalidClientTokenId" | "InvalidAccessKeyId" => bad(
            PUT,
            format!(
                "the access key {key} is not known in {}: it is mistyped, deleted, inactive, of another partition, or \
                 temporary and lacks its session token; correct `auth`",
                scene.region
            ),
        ),
        "InvalidSignatureException" | "SignatureDoesNotMatch" | "AuthFailure" | "IncompleteSignature" => {
            judge_signature(refusal, scene)
        }
        "RequestExpired" | "RequestTimeTooSkewed" | "RequestInTheFuture" => {
            bad(PUT, refusal.skew.map_or_else(unknown_skew, clock_sentence))
        }
        "ExpiredTokenException" | "ExpiredToken" => bad(
            PUT,
            format!(
                "the session token of the key {key} has ended: get new temporary credentials, or use a source that renews them (a role, a profile with SSO)"
            ),
        ),
        "MissingAuthenticationTokenException" | "MissingAuthenticationToken" | "InvalidToken" => bad(
            PUT,
            format!(
                "the endpoint found no valid credentials in the request (key {key}): check auth.session_token, and that no proxy removes headers"
            ),
        ),
        "SubscriptionRequiredException" | "OptInRequired" | "AccountProblem" => bad(
            PUT,
            format!(
                "the account of the key {key} cannot use Kinesis in {}: enable the region or the account ({message})",
                scene.region
            ),
        ),
        "LimitExceededException"
        | "ProvisionedThroughputExceededException"
        | "ThrottlingException"
        | "Throttling"
        | "TooManyRequestsException" => {
            unproven(PUT, format!("{place} was found but is busy, so the dry run did not finish: {message}"))
        }
        "UnknownOperationException" | "InvalidAction" => bad(
            PUT,
            format!(
                "{} does not know PutRecords, so it is not Kinesis Data Streams: check `endpoint`",
                scene.endpoint
            ),
        ),
        "" => judge_stranger(refusal, scene),
        code if refusal.status >= 500 => bad(
            PUT,
            format!(
                "{place}: the service is in trouble (HTTP {}, {code}: {message}); try again later",
                refusal.status
            ),
        ),
        code => {
            bad(PUT, format!("{place} refused the dry run with {code} (HTTP {}): {message}", refusal.status))
        }
    }
}

fn missing(scene: &Scene) -> Finding {
    let place = scene.place();
    bad(
        PUT,
        match (scene.nearest(), &scene.streams) {
            (Some(name), _) => format!("{place} was not found; did you mean `{name}`?"),
            (None, Some(names)) if names.is_empty() => {
                format!(
                    "{place} was not found; this account has no stream there: create it, or correct region or credentials"
                )
            }
            (None, _) => format!(
                "{place} was not found: create it, or correct stream_name, region, or the account that the credentials belong to"
            ),
        },
    )
}

fn judge_kms(code: &str, message: &str, place: &str) -> Finding {
    let advice = match code {
        "KMSAccessDeniedException" => {
            "the stream is encrypted and its KMS key may not be used: allow kms:GenerateDataKey on that key, in the \
             caller's policy and in the key's"
        }
        "KMSDisabledException" => {
            "the stream's KMS key is disabled: enable it, or change the stream's encryption"
        }
        "KMSInvalidStateException" => {
            "the stream's KMS key is not usable in its state (pending deletion or import?): restore it, or change the \
             stream's encryption"
        }
        "KMSNotFoundException" => {
            "the stream's KMS key does not exist: change the stream's encryption to a key that does"
        }
        "KMSOptInRequired" => {
            "the account is not signed up for KMS: sign up, or change the stream's encryption"
        }
        "KMSThrottlingException" => {
            return unproven(PUT, format!("{place}: KMS is throttling the stream's key for now ({message})"));
        }
        _ => "KMS refused the stream's key",
    };
    bad(PUT, format!("{place}: {advice} ({message})"))
}

fn judge_signature(refusal: &Refusal, scene: &Scene) -> Finding {
    if let Some(skew) = refusal.skew {
        return bad(PUT, clock_sentence(skew));
    }
    let (key, message) = (&refusal.key_hint, &refusal.message);
    if complaint(&refusal.code, message) == Complaint::Clock {
        return bad(PUT, unknown_skew());
    }
    if message.contains("scoped to") {
        return bad(
            PUT,
            format!(
                "requests are signed for region {}, but {} belongs to another: correct `region` or `endpoint` ({message})",
                scene.region, scene.endpoint
            ),
        );
    }
    bad(
        PUT,
        format!(
            "the signature does not match: the secret does not belong to the access key {key}; correct \
             auth.secret_access_key or where it comes from"
        ),
    )
}

/// An answer without an error code does not come from Kinesis.
fn judge_stranger(refusal: &Refusal, scene: &Scene) -> Finding {
    let Refusal { status, message, .. } = refusal;
    let said = if message.is_empty() { "no text".to_owned() } else { format!("\"{message}\"") };
    let advice = match status {
        407 => {
            "a proxy asks for a name and password: put them into proxy.http or proxy.https as http://name:password@host:port"
        }
        301 | 302 | 303 | 307 | 308 => {
            "something redirects: check `endpoint`, and that no captive portal is in the way"
        }
        401 | 403 => "a firewall, proxy or gateway refused, not Kinesis: check `proxy` and `endpoint`",
        404 | 405 => "there is no Kinesis at this address: check `endpoint`",
        500.. => "the endpoint, or a balancer in front of it, is in trouble: try again later",
        _ => "this is no answer of Kinesis: check `endpoint` and `proxy`",
    };
    bad(PUT, format!("{} answered HTTP {status} with {said}: {advice}", scene.endpoint))
}

fn judge_failure(failure: &Failure, scene: &Scene) -> Finding {
    let (to, message) = (&scene.endpoint, &failure.message);
    let sentence = match failure.kind {
        FailureKind::Credentials | FailureKind::Signing => message.clone(),
        FailureKind::Dns => {
            format!("{message}: check `region` (`{}`), `endpoint` and this machine's DNS", scene.region)
        }
        FailureKind::Connect => format!(
            "{to} cannot be reached: {message}; check `endpoint`, the firewall, and whether a proxy or VPC endpoint is needed"
        ),
        FailureKind::Proxy => {
            format!("{to} cannot be reached: {message}; check `proxy` and what the proxy allows")
        }
        FailureKind::Tls => format!(
            "no secure connection to {to}: {message}; check tls.ca_file, tls.server_name, the scheme of `endpoint`, and \
             whether a proxy breaks TLS open"
        ),
        FailureKind::Timeout => {
            format!(
                "{to} did not answer: {message}; check `endpoint`, the firewall, and whether a proxy or VPC endpoint is needed"
            )
        }
        FailureKind::Reset => format!("{to} hung up: {message}; check the scheme and port of `endpoint`"),
        FailureKind::Protocol => format!("{to} does not speak HTTP as Kinesis does: {message}"),
    };
    bad("connection", sentence)
}

/// What the answer to ListStreams means. It is never needed to write.
pub(super) fn judge_list(attempt: &Attempt, scene: &Scene) -> Option<Finding> {
    match attempt {
        // Not a list: something else answered, and the probe has said so.
        Attempt::Answer(_) if scene.streams.is_none() => None,
        Attempt::Answer(_) => Some(good(LIST, "streams may be listed".to_owned())),
        Attempt::Refused(refusal) if refusal.code.starts_with("AccessDenied") => Some(note(
            LIST,
            format!(
                "the right {LIST} (on `*`) is missing; writing works without it, only this check knows less about names"
            ),
        )),
        // Whatever else went wrong with it, the probe has said more.
        Attempt::Refused(_) | Attempt::Failed(_) => None,
    }
}
