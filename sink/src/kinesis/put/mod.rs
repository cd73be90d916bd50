//! Put: one attempt to call Kinesis.
//! In: a complete JSON body. Out: an `Attempt`: the answer, the service's refusal, or why there was neither.
//! With `auth`, `http` and `health` the only room that names the AWS crates or hyper.
//! Never: retries, reads a record, decides what a refusal means for one (see `verdict`).

pub(super) mod clock;
pub(super) mod complaint;
mod endpoint;
pub(super) mod sign;
#[cfg(test)]
mod tests;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use aws_smithy_async::time::{SharedTimeSource, SystemTimeSource, TimeSource};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode,
    header::{CONTENT_TYPE, DATE, RETRY_AFTER, USER_AGENT},
};

use tokio::sync::Semaphore;

use self::{
    clock::ServiceClock,
    complaint::{Complaint, complaint, http_date, service_time},
    sign::sign_request,
};
pub use self::{
    clock::Skew,
    endpoint::{Endpoint, partition_name},
};
use super::{
    answer::ServiceError,
    auth::{
        AwsAuthentication,
        cache::{CredentialsCache, Held},
        provider::{Providers, Surroundings},
    },
    http::{FailureKind, HttpBuildError, HttpClient, HttpOptions},
};

/// What a client is built from.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    /// The stream's region; `None`: environment, profile, instance metadata.
    pub region: Option<String>,
    /// The address to call; `None`: environment, profile, AWS's own for the region.
    pub endpoint: Option<String>,
    /// Where credentials come from.
    pub auth: AwsAuthentication,
    /// TLS, proxy and connection options.
    pub http: HttpOptions,
    /// Longest time for one attempt, from the first byte of a new connection to the last byte of the answer.
    /// Loading credentials is bounded apart, by `auth.load_timeout_secs`. Vector's default is 60 s.
    pub request_timeout: Duration,
}

impl Default for ClientSettings {
    fn default() -> Self {
        Self {
            region: None,
            endpoint: None,
            auth: AwsAuthentication::default(),
            http: HttpOptions::default(),
            request_timeout: Duration::from_secs(60),
        }
    }
}

/// Why a client cannot be built. The user must change something.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// Nothing names a region.
    #[error(
        "Could not determine region from Afluente configuration or default providers: \
         set the sink's `region`, AWS_REGION, or the profile's region"
    )]
    NoRegion,
    /// A region that cannot be part of a host name.
    #[error("region: `{0}` is not a region's name, like eu-west-1")]
    Region(String),
    /// The endpoint is not an address.
    #[error("endpoint: `{endpoint}` cannot be used: {problem}; write it as https://host or http://host:port")]
    Endpoint {
        /// The address, without user information.
        endpoint: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// TLS or proxy options.
    #[error(transparent)]
    Http(#[from] HttpBuildError),
}

/// What became of one call.
#[derive(Clone, Debug)]
pub enum Attempt {
    /// Status 200: the whole body. Entries may still have failed, see `answer`.
    Answer(Bytes),
    /// The service (or something in front of it) refused the whole call.
    Refused(Refusal),
    /// There was no answer.
    Failed(Failure),
}

/// A refusal of the whole call.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// The error's code without namespace, like `ExpiredTokenException`; empty if the body had none.
    pub code: String,
    /// The service's words on one line. Values that it quotes from the request are left out, as they may be personal.
    pub message: String,
    /// How long the service asks us to wait.
    pub retry_after: Option<Duration>,
    /// How far the clocks were apart, if the service refused the call for that and its time is known. The next attempt is
    /// signed with corrected time.
    pub skew: Option<Skew>,
    /// A hint of the access key that signed, like `AKIA…WXYZ`.
    pub key_hint: String,
    /// True if the credentials were refused and will be loaded anew before the next attempt.
    pub credentials_refused: bool,
}

/// A call without an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// What kind of trouble.
    pub kind: FailureKind,
    /// True if the service may have got the request: what it carried may be stored.
    pub may_be_stored: bool,
    /// One line, no secrets, nothing of the records.
    pub message: String,
}

/// Calls Kinesis. Cheap to clone; clones share connections, credentials and what was learned about the clock.
#[derive(Clone, Debug)]
pub struct KinesisClient {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    http: HttpClient,
    endpoint: Endpoint,
    credentials: CredentialsCache,
    clock: ServiceClock,
    request_timeout: Duration,
}

impl KinesisClient {
    /// Reads certificates, environment and profile, and decides where to call. Does not call Kinesis, and asks
    /// instance metadata only if nothing else names a region.
    ///
    /// # Errors
    /// See [`BuildError`]. Missing or wrong credentials are not among them: they may come later, so each attempt reports them.
    pub async fn new(settings: ClientSettings) -> Result<Self, BuildError> {
        Self::with_clock(settings, SharedTimeSource::new(SystemTimeSource::new())).await
    }

    async fn with_clock(settings: ClientSettings, machine: SharedTimeSource) -> Result<Self, BuildError> {
        let clock = ServiceClock::new(machine);
        let http = HttpClient::new(&settings.http)?;
        // `tls.server_name` belongs to the stream's endpoint, not to the services that hand out credentials.
        let for_sdk = if settings.http.tls.server_name.is_some() {
            let mut options = settings.http.clone();
            options.tls.server_name = None;
            HttpClient::new(&options)?
        } else {
            http.clone()
        };
        let (endpoint, sdk) =
            endpoint::resolve(settings.region.as_deref(), settings.endpoint.as_deref(), &for_sdk, &clock)
                .await?;
        let around =
            Surroundings { sdk, http: for_sdk, clock: clock.clone(), region: endpoint.region.clone() };
        let load_timeout = settings.auth.load_timeout();
        let credentials =
            CredentialsCache::new(Providers::new(settings.auth, around), clock.clone(), load_timeout);
        let inner = Inner { http, endpoint, credentials, clock, request_timeout: settings.request_timeout };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Where calls go.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.inner.endpoint
    }

    /// How far this machine's clock was found to be off, if the service complained about it.
    #[must_use]
    pub fn skew(&self) -> Option<Skew> {
        self.inner.clock.skew()
    }

    /// One attempt to store records. `body` is the complete JSON of a PutRecords request.
    ///
    /// Dropping the future abandons the attempt; the service may have got it all the same.
    pub async fn put_records(&self, body: Bytes) -> Attempt {
        self.call("PutRecords", body).await
    }

    /// As [`Self::put_records`], made ready at once and sent when one of `slots` is free, which it then holds until it ends.
    pub async fn put_records_in_turn(&self, body: Bytes, slots: &Semaphore) -> Attempt {
        self.inner.call("PutRecords", body, Some(slots)).await.unwrap_or_else(Attempt::Failed)
    }

    /// One attempt at any operation of the API, by its name (`ListShards`, `ListStreams`, …).
    pub async fn call(&self, operation: &'static str, body: Bytes) -> Attempt {
        self.inner.call(operation, body, None).await.unwrap_or_else(Attempt::Failed)
    }
}

impl Inner {
    async fn call(
        &self,
        operation: &'static str,
        body: Bytes,
        slots: Option<&Semaphore>,
    ) -> Result<Attempt, Failure> {
        let credentials = self.credentials.current().await.map_err(|failure| Failure {
            kind: FailureKind::Credentials,
            may_be_stored: false,
            message: failure.to_string(),
        })?;
        let signed = self.clock.now();
        let head = self.head(operation, &body, &credentials, signed).map_err(|message| Failure {
            kind: FailureKind::Signing,
            may_be_stored: false,
            message,
        })?;
        let _slot = match slots {
            // It is never closed, so this cannot fail.
            Some(slots) => slots.acquire().await.ok(),
            None => None,
        };
        let answer = self.http.send(head, body, self.request_timeout).await.map_err(|error| Failure {
            kind: error.kind,
            may_be_stored: error.sent,
            message: error.message,
        })?;
        if answer.status() == StatusCode::OK {
            return Ok(Attempt::Answer(answer.into_body()));
        }
        Ok(Attempt::Refused(self.refusal(&answer, &credentials, signed)))
    }

    fn head(
        &self,
        operation: &'static str,
        body: &[u8],
        credentials: &Held,
        time: SystemTime,
    ) -> Result<http::request::Parts, String> {
        let target =
            HeaderValue::try_from(format!("Kinesis_20131202.{operation}")).map_err(|e| e.to_string())?;
        let (mut head, ()) = Request::new(()).into_parts();
        head.method = Method::POST;
        head.uri = self.endpoint.uri.clone();
        head.headers.reserve(8);
        head.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.1"));
        head.headers.insert(HeaderName::from_static("x-amz-target"), target);
        head.headers
            .insert(USER_AGENT, HeaderValue::from_static(concat!("afluente/", env!("CARGO_PKG_VERSION"))));
        sign_request(&mut head, body, &credentials.identity, &self.endpoint.region, time)
            .map_err(|error| error.to_string())?;
        Ok(head)
    }

    fn refusal(&self, answer: &Response<Bytes>, credentials: &Held, signed: SystemTime) -> Refusal {
        let headers = answer.headers();
        let status = answer.status().as_u16();
        let error_type = headers.get("x-amzn-errortype").and_then(|value| value.to_str().ok());
        let ServiceError { code, message } = ServiceError::parse(answer.body(), error_type);
        let complaint = complaint(&code, &message);
        let skew = self.learn_skew(signed, complaint, headers.get(DATE), &message);
        // A key that was refused for the clock is a good key.
        let credentials_refused =
            skew.is_none() && complaint != Complaint::Clock && refuses_credentials(&code);
        if credentials_refused {
            self.credentials.invalidate(credentials);
        }
        Refusal {
            status,
            code,
            message,
            retry_after: retry_after(headers, self.clock.now()),
            skew,
            key_hint: credentials.key_hint(),
            credentials_refused,
        }
    }

    /// `signed`: the time that the refused signature carried.
    fn learn_skew(
        &self,
        signed: SystemTime,
        complaint: Complaint,
        date: Option<&HeaderValue>,
        message: &str,
    ) -> Option<Skew> {
        let tolerated = match complaint {
            Complaint::None => return None,
            // Signed no better it would be refused again.
            Complaint::Clock => SECONDS_ON_THE_WAY,
            // A wrong secret looks like this too: believe in the clock only if it is off by what would matter.
            Complaint::Perhaps => SKEW_SECONDS_TOLERATED,
        };
        let service = service_time(date, message)?;
        (clock::seconds_between(signed, service).abs() > tolerated).then(|| self.correct_clock(service))
    }

    /// Signs with the service's time from now on, and says so once.
    fn correct_clock(&self, service: SystemTime) -> Skew {
        let (before, skew) = self.clock.learn(service);
        // Requests of one round all complain; the time that they took is no news.
        if (skew.seconds - before.seconds).abs() > SKEW_SECONDS_TOLERATED {
            tracing::warn!(
                "This machine's clock is {skew}: set it, best with NTP. Requests are signed with corrected time."
            );
        }
        skew
    }
}

/// AWS refuses signatures more than five minutes off; a minute is left for the way.
const SKEW_SECONDS_TOLERATED: i64 = 240;

/// What a request and its answer may take of the time between signature and `Date`. Chosen, not measured.
const SECONDS_ON_THE_WAY: i64 = 30;

/// Codes that mean: these credentials are not accepted (any more), other ones might be.
fn refuses_credentials(code: &str) -> bool {
    matches!(
        code,
        "ExpiredToken"
            | "ExpiredTokenException"
            | "UnrecognizedClientException"
            | "InvalidClientTokenId"
            | "InvalidToken"
            | "InvalidSignatureException"
            | "SignatureDoesNotMatch"
            | "IncompleteSignature"
            | "MissingAuthenticationToken"
            | "MissingAuthenticationTokenException"
            | "AuthFailure"
    )
}

/// `x-amz-retry-after` in milliseconds, or `retry-after` in seconds or as a date.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let number = |value: &HeaderValue| value.to_str().ok()?.trim().parse::<u64>().ok();
    if let Some(millis) = headers.get("x-amz-retry-after").and_then(number) {
        return Some(Duration::from_millis(millis));
    }
    let value = headers.get(RETRY_AFTER)?;
    match number(value) {
        Some(seconds) => Some(Duration::from_secs(seconds)),
        None => http_date(value)?.duration_since(now).ok(),
    }
}
