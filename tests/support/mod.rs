//! Support: servers on loopback that stand in for AWS, so that tests can make everything go wrong.
//! In: requests over real sockets, and a script of faults.  Out: answers, and a record of what was stored and asked.
//! Never: leaves the machine, reads the environment, touches a file. Not part of the product.
//!
//! [`FaultServer`] is a small Kinesis data plane: start it with [`FaultServer::builder`].
//! `aws_stand_ins` holds the credential endpoints (STS, IMDS, container).
//!
//! Rooms, in the way of a request: `wire` (socket) → `service` (the order in which faults and checks apply) →
//! `auth` → `put_records` / `control` / `read` → `stream` and `bucket` → `ledger` (what was stored) → `requests` (what was asked).
#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    missing_docs,
    reason = "every test binary includes this tree and uses another part of it"
)]
#![allow(clippy::unwrap_used, reason = "a broken stand-in should stop the test loudly")]

mod aggregate;
mod answer;
mod auth;
pub mod aws_stand_ins;
mod bucket;
mod builder;
mod control;
mod ledger;
mod limits;
mod put_records;
pub mod raw_client;
mod read;
mod requests;
mod script;
mod server;
mod service;
mod state;
mod stream;
mod wire;

pub use auth::AccessKey;
pub use bucket::{Rate, TokenBucket};
pub use builder::{DryRun, FaultServerBuilder, Naming, NotActive, Wording};
pub use ledger::{Audit, Disorder, Fate, Keep, Kept, Ledger, Stored, Tag, tag};
pub use limits::{ACCOUNT, Limits};
pub use requests::{End, RequestLog, Requests};
pub use script::{AnswerShape, Fault, RecordFault};
pub use server::{FaultServer, Observed};
pub use service::Operation;
pub use stream::{Distribution, Kms, StreamSpec, StreamStatus};
