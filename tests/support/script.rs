//! Script: which fault strikes which request.
//! In: a request's operation, number, time, stream and keys.  Out: the faults that strike it, and those of its records.
//! Holds: chance is a function of (seed, fault, request number, record), so a seed replays whatever the order of arrival.
//! Never: acts (see `service` for when each fault applies), reads a clock.

use std::borrow::Cow;
use std::time::Duration;

use super::limits::ACCOUNT;
use super::service::Operation;

/// A wrong answer to a request that was handled (and stored) as asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerShape {
    /// One record too few in `Records`.
    TooFew,
    /// One record too many.
    TooMany,
    /// `FailedRecordCount` is one off.
    LyingCount,
    /// 200 with a body that is no JSON.
    Garbage,
    /// 200 with an empty body.
    Empty,
    /// 200 whose body ends before its announced length.
    Cut,
}

/// What happens to one record in place of being stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordFault {
    /// `InternalFailure`.
    Failure,
    /// `ProvisionedThroughputExceededException` with the shard's name, whatever its bucket holds.
    Throttle,
    /// Any other code: the service documents none.
    Code(Cow<'static, str>, Cow<'static, str>),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Action {
    SlowRequest(Duration),
    ResetBefore,
    HangBefore,
    /// Status with a body that is no JSON, as load balancers answer.
    Status(u16),
    /// The credentials of this request are expired from now on.
    ExpireCredentials,
    Refuse {
        status: u16,
        code: Cow<'static, str>,
        message: Cow<'static, str>,
    },
    /// Answered after authentication, with the text for the operation.
    Deny,
    /// Whole-request throttle.
    Throttle,
    SplitAll,
    MergeAll,
    Record(RecordFault),
    ResetAfter,
    HangAfter,
    SlowAnswer(Duration),
    Answer(AnswerShape),
}

/// One line of the script: what, and when. All conditions must hold; without any it strikes every write.
#[derive(Debug, Clone)]
pub struct Fault {
    pub(super) name: &'static str,
    pub(super) action: Action,
    operations: Option<Vec<Operation>>,
    from: u64,
    to: u64,
    after: Duration,
    until: Duration,
    chance: f64,
    times: u64,
    stream: Option<String>,
    shard: Option<u32>,
    key: Option<String>,
}

/// What: constructors.
impl Fault {
    fn new(name: &'static str, action: Action) -> Self {
        Self {
            name,
            action,
            operations: None,
            from: 1,
            to: u64::MAX,
            after: Duration::ZERO,
            until: Duration::MAX,
            chance: 1.0,
            times: u64::MAX,
            stream: None,
            shard: None,
            key: None,
        }
    }

    /// The record is answered `InternalFailure`; `chance` is drawn per record.
    pub fn record_failure() -> Self {
        Self::record("record_failure", RecordFault::Failure)
    }

    /// The record is throttled though its shard has room; `chance` is drawn per record.
    pub fn record_throttle() -> Self {
        Self::record("record_throttle", RecordFault::Throttle)
    }

    /// The record is answered a code that nobody knows; `chance` is drawn per record.
    pub fn record_code(code: impl Into<Cow<'static, str>>, message: impl Into<Cow<'static, str>>) -> Self {
        Self::record("record_code", RecordFault::Code(code.into(), message.into()))
    }

    fn record(name: &'static str, fault: RecordFault) -> Self {
        Self::new(name, Action::Record(fault))
    }

    /// An HTTP status (500, 503, …) with a body that is no JSON; nothing is stored.
    pub fn status(status: u16) -> Self {
        Self::new("status", Action::Status(status))
    }

    /// 500 with the service's own `InternalFailure` body; nothing is stored.
    pub fn internal_failure() -> Self {
        Self::refusal(500, "InternalFailure", "Internal service failure.").named("internal_failure")
    }

    /// Any whole-request error; nothing is stored.
    pub fn refusal(
        status: u16,
        code: impl Into<Cow<'static, str>>,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::new("refusal", Action::Refuse { status, code: code.into(), message: message.into() })
    }

    /// The whole request is throttled: 400 `ProvisionedThroughputExceededException`.
    pub fn throttle() -> Self {
        Self::new("throttle", Action::Throttle)
    }

    /// 400 `LimitExceededException`.
    pub fn limit_exceeded() -> Self {
        Self::refusal(400, "LimitExceededException", format!("Rate exceeded for account {ACCOUNT}."))
            .named("limit_exceeded")
    }

    /// 400 `ExpiredTokenException` for this request alone. See also [`Fault::credentials_expire`].
    pub fn expired_token() -> Self {
        Self::refusal(400, "ExpiredTokenException", "The security token included in the request is expired")
            .named("expired_token")
    }

    /// The credentials of this request are expired from now on: `ExpiredTokenException` until the client changes them.
    pub fn credentials_expire() -> Self {
        Self::new("credentials_expire", Action::ExpireCredentials)
    }

    /// 400 `UnrecognizedClientException`.
    pub fn unrecognized_client() -> Self {
        Self::refusal(
            400,
            "UnrecognizedClientException",
            "The security token included in the request is invalid.",
        )
        .named("unrecognized_client")
    }

    /// 400 `InvalidSignatureException`.
    pub fn invalid_signature() -> Self {
        Self::refusal(
            400,
            "InvalidSignatureException",
            "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.",
        )
        .named("invalid_signature")
    }

    /// 400 `AccessDeniedException`. To deny an operation for good see `FaultServer::deny`.
    pub fn access_denied() -> Self {
        Self::new("access_denied", Action::Deny)
    }

    /// Never answered, nothing stored.
    pub fn hang() -> Self {
        Self::new("hang", Action::HangBefore)
    }

    /// Stored, never answered.
    pub fn hang_after_storing() -> Self {
        Self::new("hang_after_storing", Action::HangAfter)
    }

    /// Connection reset, nothing stored.
    pub fn reset() -> Self {
        Self::new("reset", Action::ResetBefore)
    }

    /// Stored, then the connection is reset: the client cannot know.
    pub fn answer_lost() -> Self {
        Self::new("answer_lost", Action::ResetAfter)
    }

    /// Handled late: the delay is before anything is stored.
    pub fn slow_request(delay: Duration) -> Self {
        Self::new("slow_request", Action::SlowRequest(delay))
    }

    /// Answered late: the delay is after the records are stored.
    pub fn slow_answer(delay: Duration) -> Self {
        Self::new("slow_answer", Action::SlowAnswer(delay))
    }

    /// Stored, then answered wrongly.
    pub fn answer(shape: AnswerShape) -> Self {
        Self::new("answer", Action::Answer(shape))
    }

    /// Every open shard of the stream is split before the records of this request are routed.
    pub fn split_all() -> Self {
        Self::new("split_all", Action::SplitAll)
    }

    /// The open shards of the stream are merged pair by pair before the records of this request are routed.
    pub fn merge_all() -> Self {
        Self::new("merge_all", Action::MergeAll)
    }

    /// See [`Fault::named`].
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The name that `FaultServer::fired` counts under; by default the constructor's.
    pub fn named(mut self, name: &'static str) -> Self {
        self.name = name;
        self
    }
}

/// When: conditions, all of which must hold.
impl Fault {
    /// With chance `p` per request (per record for record faults), drawn from the server's seed.
    pub fn chance(mut self, p: f64) -> Self {
        assert!((0.0..=1.0).contains(&p), "a chance is between 0 and 1");
        self.chance = p;
        self
    }

    /// Only request `n` of its operation, counted from 1.
    pub fn at_request(self, n: u64) -> Self {
        self.requests(n, n)
    }

    /// Only requests `first` to `last` of their operation, counted from 1.
    pub fn requests(mut self, first: u64, last: u64) -> Self {
        self.from = first;
        self.to = last;
        self
    }

    /// From request `n` on.
    pub fn since_request(self, n: u64) -> Self {
        self.requests(n, u64::MAX)
    }

    /// Only requests that arrive from `from` to `to` since the server's start.
    pub fn between(mut self, from: Duration, to: Duration) -> Self {
        self.after = from;
        self.until = to;
        self
    }

    /// At most `n` times (records counted for record faults).
    pub fn times(mut self, n: u64) -> Self {
        self.times = n;
        self
    }

    /// Only this operation. Without it: PutRecords and PutRecord. Repeat to add one.
    pub fn on(mut self, operation: Operation) -> Self {
        self.operations.get_or_insert_default().push(operation);
        self
    }

    /// Every operation.
    pub fn on_any(mut self) -> Self {
        self.operations = Some(Operation::ALL.to_vec());
        self
    }

    /// Only this stream.
    pub fn stream(mut self, name: &str) -> Self {
        self.stream = Some(name.to_owned());
        self
    }

    /// Only records that land on this shard (record faults).
    pub fn shard(mut self, number: u32) -> Self {
        self.shard = Some(number);
        self
    }

    /// Only records with this partition key; of a whole-request fault, requests that hold such a record.
    pub fn key(mut self, key: &str) -> Self {
        self.key = Some(key.to_owned());
        self
    }
}

/// What the script looks at in a request.
pub(super) struct Asked<'a> {
    pub(super) operation: Operation,
    pub(super) number: u64,
    pub(super) arrived: Duration,
    pub(super) stream: Option<&'a str>,
}

impl Fault {
    fn fits(&self, asked: &Asked<'_>) -> bool {
        let operation = match &self.operations {
            Some(operations) => operations.contains(&asked.operation),
            None => asked.operation.writes(),
        };
        operation
            && (self.from..=self.to).contains(&asked.number)
            && (self.after..self.until).contains(&asked.arrived)
            && self.stream.as_deref().is_none_or(|stream| asked.stream == Some(stream))
    }
}

struct Line {
    fault: Fault,
    fired: u64,
}

/// The script of one server.
pub(super) struct Script {
    seed: u64,
    lines: Vec<Line>,
}

impl Script {
    pub(super) fn new(seed: u64, faults: Vec<Fault>) -> Self {
        let mut script = Self { seed, lines: Vec::new() };
        for fault in faults {
            script.add(fault);
        }
        script
    }

    pub(super) fn add(&mut self, fault: Fault) {
        self.lines.push(Line { fault, fired: 0 });
    }

    /// No fault strikes any more; what already struck stays counted.
    pub(super) fn clear(&mut self) {
        for line in &mut self.lines {
            line.fault.times = 0;
        }
    }

    /// How often faults of this name struck.
    pub(super) fn fired(&self, name: &str) -> u64 {
        self.lines.iter().filter(|line| line.fault.name == name).map(|line| line.fired).sum()
    }

    /// The whole-request faults that strike. `has_key` says whether the request holds a record of a key.
    pub(super) fn strike(&mut self, asked: &Asked<'_>, has_key: impl Fn(&str) -> bool) -> Vec<Action> {
        let seed = self.seed;
        let mut actions = Vec::new();
        for (index, line) in self.lines.iter_mut().enumerate() {
            let fault = &line.fault;
            if !matches!(fault.action, Action::Record(_))
                && line.fired < fault.times
                && fault.fits(asked)
                && fault.key.as_deref().is_none_or(&has_key)
                && fault.chance > draw(seed, &[index as u64, asked.number])
            {
                line.fired += 1;
                actions.push(fault.action.clone());
            }
        }
        actions
    }

    /// Whether any record fault may strike this request: spares the rest of the script a look at each record.
    pub(super) fn may_strike_records(&self, asked: &Asked<'_>) -> bool {
        self.lines.iter().any(|line| {
            matches!(line.fault.action, Action::Record(_))
                && line.fired < line.fault.times
                && line.fault.fits(asked)
        })
    }

    /// The record fault that strikes, the first in the script.
    pub(super) fn strike_record(
        &mut self,
        asked: &Asked<'_>,
        position: usize,
        shard: u32,
        key: &str,
    ) -> Option<RecordFault> {
        let seed = self.seed;
        for (index, line) in self.lines.iter_mut().enumerate() {
            let fault = &line.fault;
            let Action::Record(record_fault) = &fault.action else {
                continue;
            };
            if line.fired < fault.times
                && fault.fits(asked)
                && fault.shard.is_none_or(|number| number == shard)
                && fault.key.as_deref().is_none_or(|only| only == key)
                && fault.chance > draw(seed, &[index as u64, asked.number, position as u64 + 1])
            {
                line.fired += 1;
                return Some(record_fault.clone());
            }
        }
        None
    }
}

/// A number in 0..1 that depends on all of its inputs and nothing else.
pub(super) fn draw(seed: u64, parts: &[u64]) -> f64 {
    (mix(seed, parts) >> 11) as f64 / (1_u64 << 53) as f64
}

/// 64 well mixed bits of all inputs (the finalizer of SplitMix64, once a part).
pub(super) fn mix(seed: u64, parts: &[u64]) -> u64 {
    parts.iter().fold(finish(seed), |state, part| finish(state ^ part.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}

fn finish(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
