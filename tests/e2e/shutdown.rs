//! Shutdown: what a signal does to a pipeline with events in flight.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStderr, Command};

use tempfile::TempDir;

use super::program::start;
use super::support::{FaultServer, Operation};

/// An endless pipeline in front of `server`.
fn start_against(server: &FaultServer, folder: &TempDir, limit_secs: &str) -> Child {
    let path = folder.path().join("pipeline.yaml");
    let text = format!(
        "
sources: {{in: {{type: demo_profiles, rate: 2000}}}}
transforms: {{export: {{type: profile_export, inputs: [in]}}}}
sinks:
  out:
    type: aws_kinesis_streams
    inputs: [export]
    stream_name: profiles
    region: us-east-1
    endpoint: {}
    auth: {{access_key_id: test, secret_access_key: test}}
    encoding: {{codec: json}}
    healthcheck: false
",
        server.endpoint()
    );
    std::fs::write(&path, text).unwrap();
    start(&[&"run", &"-c", &path, &"--graceful-shutdown-limit-secs", &limit_secs])
}

fn signal(child: &Child, name: &str) {
    let id = child.id().to_string();
    assert!(Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap().success());
}

/// Reads the log up to a line with `text`.
fn read_until(log: &mut BufReader<ChildStderr>, text: &str) {
    let mut line = String::new();
    while !line.contains(text) {
        line.clear();
        assert!(log.read_line(&mut line).unwrap() > 0, "the program ended before it said {text:?}");
    }
}

/// From now on nothing is answered; returns when records wait that came afterwards.
fn stall(server: &FaultServer) {
    server.stall();
    let before = server.look(|seen| seen.requests.count(Operation::PutRecords));
    server.block_on(server.wait_for(|seen| seen.requests.count(Operation::PutRecords) > before));
}

fn end(mut child: Child, mut log: BufReader<ChildStderr>) -> (Option<i32>, String) {
    let mut rest = String::new();
    log.read_to_string(&mut rest).unwrap();
    (child.wait().unwrap().code(), rest)
}

#[test]
fn a_signal_drains_what_is_in_flight_and_ends_with_0() {
    for name in ["INT", "TERM"] {
        let server = FaultServer::builder()
            .stream("profiles", 2)
            .round_trip(std::time::Duration::from_millis(100))
            .start_on_thread();
        let folder = TempDir::new().unwrap();
        let mut child = start_against(&server, &folder, "60");
        let log = BufReader::new(child.stderr.take().unwrap());
        server.block_on(server.wait_for_stored(100));
        signal(&child, name);
        let (code, log) = end(child, log);
        assert_eq!(code, Some(0), "{log}");
        let stored = server.stored();
        assert!(log.contains(&format!("received {stored} = delivered {stored} ")), "{stored}: {log}");
    }
}

#[test]
fn a_stop_that_takes_too_long_says_how_many_events_were_not_delivered() {
    let server = FaultServer::builder().stream("profiles", 2).start_on_thread();
    let folder = TempDir::new().unwrap();
    let mut child = start_against(&server, &folder, "1");
    let log = BufReader::new(child.stderr.take().unwrap());
    server.block_on(server.wait_for_stored(1));
    stall(&server);
    signal(&child, "INT");
    let (code, log) = end(child, log);
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("events were not delivered") && log.contains(" + not delivered "), "{log}");
    assert!(log.contains("(adds up)"), "{log}");
}

#[test]
fn a_second_signal_ends_at_once_and_says_what_was_left() {
    let server = FaultServer::builder().stream("profiles", 2).start_on_thread();
    let folder = TempDir::new().unwrap();
    let mut child = start_against(&server, &folder, "3600");
    let mut log = BufReader::new(child.stderr.take().unwrap());
    server.block_on(server.wait_for_stored(1));
    stall(&server);
    signal(&child, "INT");
    read_until(&mut log, "Signal received.");
    signal(&child, "INT");
    let (code, log) = end(child, log);
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("ended at once as asked") && log.contains(" + not delivered "), "{log}");
}
