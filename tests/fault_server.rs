//! The fault server's own tests: each limit and each fault once, seen through a socket.
//! In: hand-written HTTP.  Out: proof that the stand-in does what the promises are tested against.
//! Never: tests the product.
//!
//! A module a theme: `storing`, `limits`, `faults`, `access`, `outage`, `stand_ins`.
#![allow(clippy::unwrap_used, reason = "a test may stop loudly")]

#[path = "fault_server/access.rs"]
mod access;
#[path = "fault_server/faults.rs"]
mod faults;
#[path = "fault_server/limits.rs"]
mod limits;
#[path = "fault_server/outage.rs"]
mod outage;
#[path = "fault_server/stand_ins.rs"]
mod stand_ins;
#[path = "fault_server/storing.rs"]
mod storing;
mod support;

use std::io;
use std::time::Duration;

use support::raw_client::{RawAnswer, RawClient};
use support::{Fault, FaultServer, FaultServerBuilder};

const HOUR: Duration = Duration::from_secs(3600);

async fn client(server: &FaultServer) -> RawClient {
    RawClient::connect(server.address()).await.unwrap()
}

/// One stream, one shard, and a connection to it.
async fn started(builder: FaultServerBuilder) -> (FaultServer, RawClient) {
    let server = builder.stream("s", 1).start().await;
    let client = client(&server).await;
    (server, client)
}

/// The answer to one record put by a fresh server with this script.
async fn answer_under(fault: Fault) -> (FaultServer, io::Result<RawAnswer>) {
    let (server, mut client) = started(FaultServer::builder().fault(fault)).await;
    let answer = client.put("s", &[("k", "v")]).await;
    (server, answer)
}

fn many(count: usize) -> Vec<(String, String)> {
    (0..count).map(|n| (format!("key-{n}"), format!("value-{n}"))).collect()
}
