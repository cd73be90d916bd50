//! Auth: is the request signed, by a key that this server takes, at a time that it believes?
//! In: headers, the server's clock.  Out: who asks, or the refusal that AWS would give.
//! Never: computes a signature: its presence and its credential are what the tests need.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;

use super::answer::Refusal;
use super::limits::{ACCOUNT, CLOCK_SKEW_MAX_SECS};
use super::service::Operation;
use super::stream::stream_arn;

/// What the server thinks of an access key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessKey {
    Valid,
    /// `ExpiredTokenException`.
    Expired,
    /// `UnrecognizedClientException`.
    Unknown,
    /// `InvalidSignatureException`: the secret is wrong.
    WrongSecret,
}

/// Who asks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Caller {
    pub(super) access_key: String,
    pub(super) session_token: String,
}

/// Which callers and operations the server takes.
#[derive(Debug, Default)]
pub(super) struct Doorkeeper {
    /// Keys named by the test.
    pub(super) keys: HashMap<String, AccessKey>,
    /// What unnamed keys are: `Valid` unless the test named the only ones.
    pub(super) strangers: Option<AccessKey>,
    pub(super) expired: HashSet<Caller>,
    pub(super) denied: HashSet<Operation>,
    /// The region that a signature must name.
    pub(super) region_required: bool,
    /// Refuse signatures whose time is more than 5 minutes off.
    pub(super) clock_checked: bool,
}

const WRONG_SIGNATURE: &str = "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.";
const TIME_FORMAT: &str = "%Y%m%dT%H%M%SZ";

impl Doorkeeper {
    /// Takes or refuses the signature.
    pub(super) fn admit(
        &self,
        headers: &HeaderMap,
        region: &str,
        now: DateTime<Utc>,
    ) -> Result<Caller, Refusal> {
        let (caller, signed_region) = read_signature(headers)?;
        if self.region_required && signed_region != region {
            return Err(Refusal::new(
                "InvalidSignatureException",
                format!("Credential should be scoped to a valid region, not '{signed_region}'. "),
            ));
        }
        let key = self.keys.get(&caller.access_key).copied().or(self.strangers).unwrap_or(AccessKey::Valid);
        let key = if self.expired.contains(&caller) { AccessKey::Expired } else { key };
        match key {
            AccessKey::Valid => {}
            AccessKey::Expired => {
                return Err(Refusal::new(
                    "ExpiredTokenException",
                    "The security token included in the request is expired",
                ));
            }
            AccessKey::Unknown => {
                return Err(Refusal::new(
                    "UnrecognizedClientException",
                    "The security token included in the request is invalid.",
                ));
            }
            AccessKey::WrongSecret => {
                return Err(Refusal::new("InvalidSignatureException", WRONG_SIGNATURE));
            }
        }
        if self.clock_checked {
            check_clock(headers, now)?;
        }
        Ok(caller)
    }

    /// Takes or refuses the operation; the texts are those of IAM.
    pub(super) fn allow(
        &self,
        operation: Operation,
        region: &str,
        stream: Option<&str>,
    ) -> Result<(), Refusal> {
        if self.denied.contains(&operation) { Err(denied(operation, region, stream)) } else { Ok(()) }
    }
}

pub(super) fn denied(operation: Operation, region: &str, stream: Option<&str>) -> Refusal {
    let resource = match stream {
        Some(name) if operation != Operation::ListStreams => stream_arn(region, name),
        _ => "*".to_owned(),
    };
    let action = operation.name();
    Refusal::new(
        "AccessDeniedException",
        format!(
            "User: arn:aws:iam::{ACCOUNT}:user/writer is not authorized to perform: kinesis:{action} on resource: {resource} because no identity-based policy allows the kinesis:{action} action"
        ),
    )
}

/// `AWS4-HMAC-SHA256 Credential=KEY/DATE/REGION/SERVICE/aws4_request, SignedHeaders=…, Signature=…`
fn read_signature(headers: &HeaderMap) -> Result<(Caller, String), Refusal> {
    let Some(header) = headers.get(AUTHORIZATION) else {
        return Err(Refusal::new("MissingAuthenticationTokenException", "Missing Authentication Token"));
    };
    let incomplete = |what: &str| {
        Refusal::new(
            "IncompleteSignatureException",
            format!("Authorization header requires {what} parameter."),
        )
    };
    let fields = header
        .to_str()
        .ok()
        .and_then(|text| text.strip_prefix("AWS4-HMAC-SHA256"))
        .ok_or_else(|| incomplete("'AWS4-HMAC-SHA256'"))?;
    let field = |name: &str| {
        fields
            .split(',')
            .filter_map(|field| field.trim().split_once('='))
            .find(|(key, value)| *key == name && !value.is_empty())
            .map(|(_, value)| value)
            .ok_or_else(|| incomplete(&format!("'{name}'")))
    };
    field("Signature")?;
    field("SignedHeaders")?;
    let scope: Vec<&str> = field("Credential")?.split('/').collect();
    let [access_key, _date, region, service, "aws4_request"] = scope[..] else {
        return Err(incomplete("'Credential'"));
    };
    if service != "kinesis" {
        return Err(Refusal::new(
            "InvalidSignatureException",
            format!("Credential should be scoped to correct service: 'kinesis'. Not '{service}'."),
        ));
    }
    if headers.get("x-amz-date").is_none() {
        return Err(Refusal::new(
            "IncompleteSignatureException",
            "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.",
        ));
    }
    let session_token =
        headers.get("x-amz-security-token").and_then(|token| token.to_str().ok()).unwrap_or_default();
    Ok((
        Caller { access_key: access_key.to_owned(), session_token: session_token.to_owned() },
        region.to_owned(),
    ))
}

fn check_clock(headers: &HeaderMap, now: DateTime<Utc>) -> Result<(), Refusal> {
    let signed = headers
        .get("x-amz-date")
        .and_then(|date| date.to_str().ok())
        .and_then(|date| NaiveDateTime::parse_from_str(date, TIME_FORMAT).ok())
        .map(|date| date.and_utc())
        .ok_or_else(|| {
            Refusal::new("IncompleteSignatureException", "Date must be in ISO-8601 'basic format'.")
        })?;
    let allowed = TimeDelta::seconds(CLOCK_SKEW_MAX_SECS);
    let text = |time: DateTime<Utc>| time.format(TIME_FORMAT);
    let message = if signed < now - allowed {
        format!(
            "Signature expired: {} is now earlier than {} ({} - 5 min.)",
            text(signed),
            text(now - allowed),
            text(now)
        )
    } else if signed > now + allowed {
        format!(
            "Signature not yet current: {} is still later than {} ({} + 5 min.)",
            text(signed),
            text(now + allowed),
            text(now)
        )
    } else {
        return Ok(());
    };
    Err(Refusal::new("InvalidSignatureException", message))
}
