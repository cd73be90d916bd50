//! AWS stand-ins: the endpoints that hand out credentials, on loopback.
//! In: AssumeRole and AssumeRoleWithWebIdentity (STS), IMDSv2, the container endpoint.
//! Out: the credentials that the test said, and a record of what was asked.
//! Never: checks a signature, hands out anything that works elsewhere.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response};
use serde_json::json;
use tokio::sync::watch;

use super::answer::AnswerBody;
use super::limits::ACCOUNT;
use super::wire::{Handler, ResetConnection, Site};

/// The role that IMDS names.
pub const IMDS_ROLE: &str = "worker";
/// The token that IMDSv2 gives and wants back.
const IMDS_TOKEN: &str = "imds-session-token";

/// Credentials to hand out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    pub access_key: String,
    pub secret_key: String,
    pub session_token: String,
    pub expires: DateTime<Utc>,
}

impl Credentials {
    /// Named by their access key, for an hour.
    pub fn named(access_key: &str) -> Self {
        Self {
            access_key: access_key.to_owned(),
            secret_key: format!("secret-of-{access_key}"),
            session_token: format!("token-of-{access_key}"),
            expires: Utc::now() + TimeDelta::hours(1),
        }
    }

    /// Valid this long from now; zero gives expired ones.
    pub fn lasting(mut self, span: Duration) -> Self {
        self.expires = Utc::now() + TimeDelta::from_std(span).unwrap();
        self
    }

    fn expires_text(&self) -> String {
        self.expires.to_rfc3339_opts(SecondsFormat::Secs, true)
    }
}

/// One question.
#[derive(Debug, Clone)]
pub struct Question {
    pub method: Method,
    pub path: String,
    /// Of STS: `Action`, `RoleArn`, `RoleSessionName`, `ExternalId`, `WebIdentityToken`, …
    pub form: HashMap<String, String>,
    /// The header as it came: a signature for STS, the token for the container endpoint.
    pub authorization: Option<String>,
    /// The status that was answered.
    pub status: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Sts,
    Imds,
    Container,
}

struct Said {
    credentials: Credentials,
    /// Take the place of `credentials` one by one, each after an answer that held some.
    next: VecDeque<Credentials>,
    /// Answered in place of credentials while set.
    refusal: Option<u16>,
    region: String,
    container_token: Option<String>,
    asked: Vec<Question>,
}

/// A running stand-in; ends when dropped.
pub struct CredentialServer {
    site: Site,
    said: Arc<Mutex<Said>>,
    changed: Arc<watch::Sender<()>>,
}

impl CredentialServer {
    /// STS: set it as `AWS_ENDPOINT_URL_STS`, or as the endpoint of an STS client.
    pub async fn sts(credentials: Credentials) -> Self {
        Self::start(Kind::Sts, credentials)
    }

    /// IMDSv2: set it as `AWS_EC2_METADATA_SERVICE_ENDPOINT`.
    pub async fn imds(credentials: Credentials) -> Self {
        Self::start(Kind::Imds, credentials)
    }

    /// The container endpoint: set `endpoint()` + a path as `AWS_CONTAINER_CREDENTIALS_FULL_URI`.
    pub async fn container(credentials: Credentials) -> Self {
        Self::start(Kind::Container, credentials)
    }

    fn start(kind: Kind, credentials: Credentials) -> Self {
        let said = Arc::new(Mutex::new(Said {
            credentials,
            next: VecDeque::new(),
            refusal: None,
            region: "us-east-1".to_owned(),
            container_token: None,
            asked: Vec::new(),
        }));
        let changed = Arc::new(watch::Sender::new(()));
        let handler: Handler = {
            let (said, changed) = (Arc::clone(&said), Arc::clone(&changed));
            Arc::new(move |request| Box::pin(answer(kind, Arc::clone(&said), Arc::clone(&changed), request)))
        };
        Self { site: Site::open(handler, Arc::clone(&changed)).unwrap(), said, changed }
    }

    /// `http://127.0.0.1:PORT`
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.site.address())
    }

    pub fn address(&self) -> SocketAddr {
        self.site.address()
    }

    /// From now on, these.
    pub fn give(&self, credentials: Credentials) {
        self.said.lock().unwrap().credentials = credentials;
    }

    /// After the next answer that holds credentials, these; repeat to add more.
    pub fn then_give(&self, credentials: Credentials) {
        self.said.lock().unwrap().next.push_back(credentials);
    }

    /// From now on this status; `None` ends it.
    pub fn refuse(&self, status: Option<u16>) {
        self.said.lock().unwrap().refusal = status;
    }

    /// The region that IMDS tells.
    pub fn set_region(&self, region: &str) {
        self.said.lock().unwrap().region = region.to_owned();
    }

    /// The container endpoint wants this in `Authorization`, else it answers 401.
    pub fn require_token(&self, token: &str) {
        self.said.lock().unwrap().container_token = Some(token.to_owned());
    }

    /// Everything asked so far, in order.
    pub fn asked(&self) -> Vec<Question> {
        self.said.lock().unwrap().asked.clone()
    }

    /// Waits until this many questions were answered.
    pub async fn wait_for_questions(&self, count: usize) {
        let mut changed = self.changed.subscribe();
        while self.said.lock().unwrap().asked.len() < count {
            changed.changed().await.unwrap();
        }
    }
}

async fn answer(
    kind: Kind,
    said: Arc<Mutex<Said>>,
    changed: Arc<watch::Sender<()>>,
    request: Request<Incoming>,
) -> Result<Response<AnswerBody>, ResetConnection> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| ResetConnection)?.to_bytes();
    let header = |name: &str| {
        let value = head.headers.get(name)?.to_str().ok()?;
        Some(value.to_owned())
    };
    let form = if kind == Kind::Sts { read_form(&body) } else { HashMap::new() };
    let mut question = Question {
        method: head.method.clone(),
        path: head.uri.path().to_owned(),
        form,
        authorization: header(AUTHORIZATION.as_str()),
        status: 200,
    };
    let response = {
        let mut said = said.lock().unwrap();
        let response = match (kind, said.refusal) {
            (Kind::Sts, refusal) => sts(&said, &question.form, refusal),
            (_, Some(status)) => respond(status, "text/plain", "refused"),
            (Kind::Imds, None) => {
                let token = header("x-aws-ec2-metadata-token");
                imds(&said, &head.method, head.uri.path(), token.as_deref())
            }
            (Kind::Container, None) => container(&said, question.authorization.as_deref()),
        };
        question.status = response.status().as_u16();
        let gave = question.status == 200 && (kind != Kind::Imds || question.path.ends_with(IMDS_ROLE));
        if gave && let Some(next) = said.next.pop_front() {
            said.credentials = next;
        }
        said.asked.push(question);
        response
    };
    changed.send_replace(());
    Ok(response)
}

fn respond(status: u16, kind: &'static str, body: impl Into<Bytes>) -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::whole(body));
    *response.status_mut() = status.try_into().unwrap();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn sts(said: &Said, form: &HashMap<String, String>, refusal: Option<u16>) -> Response<AnswerBody> {
    let action = form.get("Action").map(String::as_str).unwrap_or_default();
    let role = form.get("RoleArn").map(String::as_str).unwrap_or_default();
    let known = matches!(action, "AssumeRole" | "AssumeRoleWithWebIdentity");
    let refusal = refusal.or((!known).then_some(400));
    if let Some(status) = refusal {
        let (code, message) = if known {
            (
                "AccessDenied",
                format!(
                    "User: arn:aws:iam::{ACCOUNT}:user/writer is not authorized to perform: sts:{action} on resource: {role}"
                ),
            )
        } else {
            ("InvalidAction", format!("Could not find operation {action}"))
        };
        return respond(
            status,
            "text/xml",
            format!(
                "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error><RequestId>0</RequestId></ErrorResponse>"
            ),
        );
    }
    let Credentials { access_key, secret_key, session_token, .. } = &said.credentials;
    let expires = said.credentials.expires_text();
    let session = form.get("RoleSessionName").map(String::as_str).unwrap_or_default();
    respond(
        200,
        "text/xml",
        format!(
            "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result><AssumedRoleUser><Arn>{role}/{session}</Arn><AssumedRoleId>AROA0000:{session}</AssumedRoleId></AssumedRoleUser><Credentials><AccessKeyId>{access_key}</AccessKeyId><SecretAccessKey>{secret_key}</SecretAccessKey><SessionToken>{session_token}</SessionToken><Expiration>{expires}</Expiration></Credentials></{action}Result><ResponseMetadata><RequestId>0</RequestId></ResponseMetadata></{action}Response>"
        ),
    )
}

fn imds(said: &Said, method: &Method, path: &str, token: Option<&str>) -> Response<AnswerBody> {
    const ROLES: &str = "/latest/meta-data/iam/security-credentials/";
    if method == Method::PUT && path == "/latest/api/token" {
        let mut response = respond(200, "text/plain", IMDS_TOKEN);
        response
            .headers_mut()
            .insert("x-aws-ec2-metadata-token-ttl-seconds", HeaderValue::from_static("21600"));
        return response;
    }
    if token != Some(IMDS_TOKEN) {
        return respond(401, "text/plain", "");
    }
    match path.strip_prefix(ROLES) {
        Some("") => respond(200, "text/plain", IMDS_ROLE),
        Some(IMDS_ROLE) => {
            let mut body = credentials_json(&said.credentials);
            body["Code"] = "Success".into();
            body["Type"] = "AWS-HMAC".into();
            body["LastUpdated"] = Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true).into();
            respond(200, "application/json", body.to_string())
        }
        None if path == "/latest/meta-data/placement/region" => {
            respond(200, "text/plain", said.region.clone())
        }
        _ => respond(404, "text/plain", ""),
    }
}

fn container(said: &Said, authorization: Option<&str>) -> Response<AnswerBody> {
    if said.container_token.is_some() && said.container_token.as_deref() != authorization {
        return respond(401, "application/json", "{\"code\":\"Unauthorized\"}");
    }
    respond(200, "application/json", credentials_json(&said.credentials).to_string())
}

fn credentials_json(credentials: &Credentials) -> serde_json::Value {
    json!({
        "AccessKeyId": credentials.access_key,
        "SecretAccessKey": credentials.secret_key,
        "Token": credentials.session_token,
        "Expiration": credentials.expires_text(),
    })
}

/// `application/x-www-form-urlencoded`; a broken escape stays as it is.
fn read_form(body: &[u8]) -> HashMap<String, String> {
    String::from_utf8_lossy(body)
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| (unescape(key), unescape(value)))
        .collect()
}

fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let escaped = after
            .get(..2)
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (byte, escaped) {
            (b'%', Some(value)) => {
                bytes.push(value);
                rest = &after[2..];
                continue;
            }
            (b'+', _) => bytes.push(b' '),
            _ => bytes.push(byte),
        }
        rest = after;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
