//! Service: one request from its bytes to its answer, and the order in which faults and checks apply.
//! In: an HTTP request from `wire`.  Out: an answer, a reset, or silence.
//! Never: holds the lock across an await, reads a socket.
//!
//! The order, first match answers:
//!  1. body over the limit: 413
//!  2. stall (`FaultServer::stall`), then the script's splits and merges, `slow_request`, `hang`, `reset`, `status`
//!  3. signature: present, region, key, expiry, clock (`auth`); `credentials_expire` strikes just before
//!  4. the script's refusals (`refusal`, `expired_token`, `access_denied`, …), then denied operations
//!  5. JSON, then the shape: counts, lengths, patterns
//!  6. the script's whole-request `throttle`
//!  7. stream found, stream active, KMS key usable
//!  8. `ExplicitHashKey`, bytes of the request, bytes of each record
//!  9. `DryRun`
//! 10. per record, in order: the script's record faults, then the shard's buckets, then it is stored
//! 11. whatever the answer: `answer_lost`, `hang_after_storing`, `slow_answer`, wrong shapes

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{DATE, HeaderValue};
use hyper::{HeaderMap, Request, Response};

use super::answer::{Answer, AnswerBody, Refusal};
use super::auth::denied;
use super::ledger::Fate;
use super::limits::ACCOUNT;
use super::put_records::{self, Put};
use super::requests::End;
use super::script::{Action, AnswerShape, Asked, mix};
use super::state::{Shared, State, Visit};
use super::wire::ResetConnection;
use super::{control, read};

/// Operations that the server knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    PutRecords,
    PutRecord,
    ListStreams,
    ListShards,
    DescribeStream,
    DescribeStreamSummary,
    CreateStream,
    GetShardIterator,
    GetRecords,
}

impl Operation {
    pub const ALL: [Self; 9] = [
        Self::PutRecords,
        Self::PutRecord,
        Self::ListStreams,
        Self::ListShards,
        Self::DescribeStream,
        Self::DescribeStreamSummary,
        Self::CreateStream,
        Self::GetShardIterator,
        Self::GetRecords,
    ];

    /// As in `X-Amz-Target` and in IAM actions.
    pub fn name(self) -> &'static str {
        match self {
            Self::PutRecords => "PutRecords",
            Self::PutRecord => "PutRecord",
            Self::ListStreams => "ListStreams",
            Self::ListShards => "ListShards",
            Self::DescribeStream => "DescribeStream",
            Self::DescribeStreamSummary => "DescribeStreamSummary",
            Self::CreateStream => "CreateStream",
            Self::GetShardIterator => "GetShardIterator",
            Self::GetRecords => "GetRecords",
        }
    }

    /// PutRecords or PutRecord.
    pub fn writes(self) -> bool {
        matches!(self, Self::PutRecords | Self::PutRecord)
    }

    fn of(headers: &HeaderMap) -> Option<Self> {
        let target = headers.get("x-amz-target")?.to_str().ok()?;
        let name = target.strip_prefix("Kinesis_20131202.")?;
        Self::ALL.into_iter().find(|known| known.name() == name)
    }
}

/// A body as its operation understands it.
pub(super) enum Parsed<'a> {
    Put(Put<'a>),
    Other(serde_json::Value),
}

impl Parsed<'_> {
    fn of(operation: Operation, body: &[u8]) -> Result<Parsed<'_>, Refusal> {
        if operation.writes() {
            return put_records::parse(operation, body).map(Parsed::Put);
        }
        serde_json::from_slice(body)
            .map(Parsed::Other)
            .map_err(|_| Refusal::new("SerializationException", "Unexpected token in the request"))
    }

    /// By name, or the end of an ARN.
    fn stream(&self) -> Option<&str> {
        match self {
            Self::Put(put) => put.stream(),
            Self::Other(body) => control::stream_name(body),
        }
    }
}

/// Reads a whole body; `None` when it is over the limit (it is read to its end, so that the client hears the answer).
async fn read_body(mut body: Incoming, bytes_max: usize) -> Result<(usize, Option<Bytes>), hyper::Error> {
    let mut whole = BytesMut::new();
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        bytes += data.len();
        if bytes <= bytes_max {
            whole.extend_from_slice(&data);
        } else {
            whole = BytesMut::new();
        }
    }
    Ok((bytes, (bytes <= bytes_max).then(|| whole.freeze())))
}

/// Answers one request.
pub(super) async fn handle(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<AnswerBody>, ResetConnection> {
    let (head, body) = request.into_parts();
    // The client left in the middle of its request: nobody to answer.
    let Ok((body_bytes, body)) = read_body(body, shared.limits.body_bytes_max).await else {
        return Err(ResetConnection);
    };
    let half_trip = shared.lock().round_trip / 2;
    sleep(half_trip).await;
    let Some(operation) = Operation::of(&head.headers) else {
        let refusal = Refusal::new("UnknownOperationException", "");
        return Ok(finish(&shared, refusal.into_answer(), 0));
    };
    let mut visit = Visit::open(&shared, operation, body_bytes);
    shared.answering.pass().await;
    let Some(body) = body else {
        let log = visit.log;
        note(&shared, log, &Answer::plain(413, ""));
        visit.end(End::Answered, Fate::Answered);
        return Ok(finish(&shared, Answer::plain(413, ""), log));
    };

    let parsed = Parsed::of(operation, &body);
    let stream = parsed.as_ref().ok().and_then(Parsed::stream);
    let asked = Asked { operation, number: visit.number, arrived: visit.arrived, stream };
    let actions = {
        let mut state = shared.lock();
        let has_key = |key: &str| match &parsed {
            Ok(Parsed::Put(put)) => put.has_key(key),
            _ => false,
        };
        let actions = state.script.strike(&asked, has_key);
        if let Ok(Parsed::Put(put)) = &parsed {
            describe_put(&mut state, &mut visit, put);
        }
        reshape(&shared, &mut state, stream, &actions);
        actions
    };

    for action in &actions {
        match action {
            Action::SlowRequest(delay) => sleep(*delay).await,
            Action::HangBefore => std::future::pending().await,
            Action::ResetBefore => {
                visit.end(End::Reset, Fate::Lost);
                return Err(ResetConnection);
            }
            _ => {}
        }
    }
    let mut answer = {
        let mut state = shared.lock();
        let decided = decide(&shared, &mut state, &head.headers, &visit, &asked, &parsed, &actions);
        drop(state);
        decided.unwrap_or_else(Refusal::into_answer)
    };
    note(&shared, visit.log, &answer);
    // Stored is stored, whatever becomes of the answer.
    shared.tell();

    let mut fate = Fate::Answered;
    for action in &actions {
        match action {
            Action::SlowAnswer(delay) => sleep(*delay).await,
            Action::HangAfter => std::future::pending().await,
            Action::ResetAfter => {
                visit.end(End::Reset, Fate::Lost);
                return Err(ResetConnection);
            }
            Action::Answer(shape) => {
                answer = misshape(answer, *shape);
                fate = Fate::Lost;
            }
            _ => {}
        }
    }
    sleep(half_trip).await;
    let log = visit.log;
    visit.end(End::Answered, fate);
    Ok(finish(&shared, answer, log))
}

/// Steps 3 to 10 and, before them, the script's `status`.
fn decide(
    shared: &Shared,
    state: &mut State,
    headers: &HeaderMap,
    visit: &Visit,
    asked: &Asked<'_>,
    parsed: &Result<Parsed<'_>, Refusal>,
    actions: &[Action],
) -> Result<Answer, Refusal> {
    for action in actions {
        if let Action::Status(status) = action {
            return Ok(Answer::plain(*status, format!("<html>{status}</html>")));
        }
    }
    let (region, stream) = (shared.region.as_str(), asked.stream);
    let wall = shared.clock.wall(state.skew);
    let admitted = state.doorkeeper.admit(headers, region, wall);
    let caller = if actions.contains(&Action::ExpireCredentials)
        && let Ok(caller) = admitted
    {
        state.doorkeeper.expired.insert(caller);
        state.doorkeeper.admit(headers, region, wall)?
    } else {
        admitted?
    };
    state.observed.requests.log(visit.log).access_key = caller.access_key.as_str().into();
    for action in actions {
        match action {
            Action::Refuse { status, code, message } => {
                return Err(Refusal {
                    status: *status,
                    code: code.clone(),
                    message: message.clone().into_owned(),
                });
            }
            Action::Deny => return Err(denied(asked.operation, region, stream)),
            _ => {}
        }
    }
    state.doorkeeper.allow(asked.operation, region, stream)?;
    let now = shared.clock.elapsed();
    match parsed.as_ref().map_err(Clone::clone)? {
        Parsed::Put(put) => {
            put.check_shape(shared)?;
            if actions.contains(&Action::Throttle) {
                return Err(put_records::throttled_request(put.stream().unwrap_or_default()));
            }
            put_records::put(shared, state, visit, asked, put, now)
        }
        Parsed::Other(body) => {
            if let Some(limit) = state.call_limits.get_mut(&asked.operation)
                && !limit.take(1.0, now)
            {
                return Err(Refusal::new(
                    "LimitExceededException",
                    format!("Rate exceeded for account {ACCOUNT}."),
                ));
            }
            match asked.operation {
                Operation::GetShardIterator => read::get_shard_iterator(state, body),
                Operation::GetRecords => read::get_records(shared, state, body),
                operation => control::answer(shared, state, operation, body, now),
            }
        }
    }
}

/// The script's splits and merges: events of the stream, whatever becomes of the request.
fn reshape(shared: &Shared, state: &mut State, stream: Option<&str>, actions: &[Action]) {
    let sequence = state.observed.ledger.sequence();
    let now = shared.clock.elapsed();
    let Some(stream) = stream.and_then(|name| state.streams.get(name)) else {
        return;
    };
    for action in actions {
        match action {
            Action::SplitAll => stream.split_all(sequence, now),
            Action::MergeAll => stream.merge_all(sequence, now),
            _ => {}
        }
    }
}

/// Notes what is asked for, and which keys it holds while it is unanswered.
fn describe_put(state: &mut State, visit: &mut Visit, put: &Put<'_>) {
    let log = state.observed.requests.log(visit.log);
    log.records = put.entries.len();
    log.record_bytes = put.bytes();
    log.dry_run = put.dry_run;
    if let Some(held) = &mut state.held_keys {
        let stream = put.stream().unwrap_or_default();
        for key in put.entries.iter().filter_map(|entry| entry.key.as_deref()) {
            let key = super::ledger::tag(key, 0).key ^ super::ledger::tag(stream, 0).key;
            if held.insert(key) {
                visit.keys.push(key);
            } else {
                state.observed.requests.key_overlaps += 1;
            }
        }
    }
}

fn note(shared: &Shared, log: usize, answer: &Answer) {
    let mut state = shared.lock();
    let log = state.observed.requests.log(log);
    log.status = Some(answer.status);
    log.code.clone_from(&answer.code);
}

fn misshape(answer: Answer, shape: AnswerShape) -> Answer {
    match shape {
        AnswerShape::Garbage => Answer::ok("{\"FailedRecordCount\":0,\"Records\":[{\"Sequ"),
        AnswerShape::Empty => Answer::ok(""),
        AnswerShape::Cut => Answer { cut: true, ..answer },
        AnswerShape::TooFew | AnswerShape::TooMany | AnswerShape::LyingCount => {
            put_records::misshape(answer, shape)
        }
    }
}

fn finish(shared: &Shared, answer: Answer, log: usize) -> Response<AnswerBody> {
    let id = mix(shared.seed, &[log as u64]);
    let request_id = format!("{:08x}-0000-4000-8000-{:012x}", id >> 32, id & 0xffff_ffff);
    let mut response = answer.into_response(&request_id);
    let skew = shared.lock().skew;
    if !skew.is_zero() {
        let date = shared.clock.wall(skew).format("%a, %d %b %Y %H:%M:%S GMT");
        response.headers_mut().insert(DATE, HeaderValue::from_str(&date.to_string()).unwrap());
    }
    response
}

async fn sleep(span: std::time::Duration) {
    if !span.is_zero() {
        tokio::time::sleep(span).await;
    }
}
