//! Requests: what was asked, when, and how it ended.
//! In: one log a request, opened when its body is read and closed when its answer is decided or its client left.
//! Out: counts for assertions: requests, records per request, attempts throttled, times.
//! Never: keeps bodies (see `ledger` for what was stored).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::service::Operation;

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Being handled, stalled or hung.
    Pending,
    /// An answer was handed to the socket; see `status` and `code`.
    Answered,
    /// The connection was reset by a fault.
    Reset,
    /// The connection ended before the answer: the client gave up, or the server went down.
    Gone,
}

/// One request.
#[derive(Debug, Clone)]
pub struct RequestLog {
    pub operation: Operation,
    /// Among the requests of its operation, from 1: what `Fault::at_request` counts.
    pub number: u64,
    /// Since the server's start.
    pub arrived: Duration,
    pub ended: Option<Duration>,
    pub end: End,
    /// Of the HTTP answer that was decided on, also when it was then lost.
    pub status: Option<u16>,
    /// Error code of a refusal of the whole request.
    pub code: Option<Box<str>>,
    /// Access key id of the signature; empty without one.
    pub access_key: Arc<str>,
    pub body_bytes: usize,
    /// Records asked for.
    pub records: usize,
    /// Data and keys of them.
    pub record_bytes: usize,
    pub stored: usize,
    /// Records refused with `ProvisionedThroughputExceededException`.
    pub throttled: usize,
    /// Records refused otherwise.
    pub failed: usize,
    pub dry_run: bool,
}

/// All requests of one server, in order of arrival.
#[derive(Debug, Clone, Default)]
pub struct Requests {
    all: Vec<RequestLog>,
    numbers: HashMap<Operation, u64>,
    in_flight: usize,
    in_flight_max: usize,
    pub(super) key_overlaps: u64,
}

impl Requests {
    /// Opens a log and gives its index.
    pub(super) fn open(&mut self, operation: Operation, arrived: Duration, body_bytes: usize) -> usize {
        let number = self.numbers.entry(operation).or_default();
        *number += 1;
        self.all.push(RequestLog {
            operation,
            number: *number,
            arrived,
            ended: None,
            end: End::Pending,
            status: None,
            code: None,
            access_key: "".into(),
            body_bytes,
            records: 0,
            record_bytes: 0,
            stored: 0,
            throttled: 0,
            failed: 0,
            dry_run: false,
        });
        if operation.writes() {
            self.in_flight += 1;
            self.in_flight_max = self.in_flight_max.max(self.in_flight);
        }
        self.all.len() - 1
    }

    pub(super) fn log(&mut self, index: usize) -> &mut RequestLog {
        &mut self.all[index]
    }

    pub(super) fn close(&mut self, index: usize, end: End, now: Duration) {
        let log = &mut self.all[index];
        log.end = end;
        log.ended = Some(now);
        if log.operation.writes() {
            self.in_flight -= 1;
        }
    }

    /// Every request, in order of arrival.
    pub fn all(&self) -> &[RequestLog] {
        &self.all
    }

    /// Requests of one operation, in order of arrival.
    pub fn of(&self, operation: Operation) -> impl Iterator<Item = &RequestLog> {
        self.all.iter().filter(move |log| log.operation == operation)
    }

    /// PutRecords and PutRecord requests.
    pub fn writes(&self) -> impl Iterator<Item = &RequestLog> {
        self.all.iter().filter(|log| log.operation.writes())
    }

    /// How many requests of one operation came. Constant time.
    pub fn count(&self, operation: Operation) -> u64 {
        self.numbers.get(&operation).copied().unwrap_or(0)
    }

    /// Write requests that have no answer yet, and the most there were at once.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    pub fn in_flight_max(&self) -> usize {
        self.in_flight_max
    }

    /// Sizes of the PutRecords requests, in order of arrival.
    pub fn records_per_request(&self) -> Vec<usize> {
        self.of(Operation::PutRecords).map(|log| log.records).collect()
    }

    /// Records asked for over all writes, retries counted.
    pub fn attempts(&self) -> usize {
        self.writes().map(|log| log.records).sum()
    }

    /// Those of them that were refused for rate.
    pub fn throttled(&self) -> usize {
        self.writes().map(|log| log.throttled).sum()
    }

    /// `throttled` over `attempts`; 0 before the first attempt.
    pub fn throttled_share(&self) -> f64 {
        self.throttled() as f64 / self.attempts().max(1) as f64
    }

    /// Times a key came in a request while another unanswered request, or another record of the same one, held it.
    /// Counted only with `FaultServerBuilder::watch_keys`.
    pub fn key_overlaps(&self) -> u64 {
        self.key_overlaps
    }
}
