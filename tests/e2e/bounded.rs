//! Bounded: an endpoint that stalls stops the source, and memory stays at the byte budget and a fixed rest.

use std::io::Write;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use tempfile::TempDir;

use super::program::start;
use super::run_to_kinesis::events;
use super::support::FaultServer;

const MIB: u64 = 1024 * 1024;
const BUDGET_BYTES: u64 = 8 * MIB;
/// What the issue grants beyond the budget.
const REST_BYTES: u64 = 64 * MIB;
/// Nothing taken for this long: the source has stopped.
const STILL: Duration = Duration::from_millis(1500);

/// The most memory that the process ever had.
#[cfg(target_os = "linux")]
fn peak_bytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
#[cfg(target_os = "linux")]
fn a_stalled_endpoint_stops_the_source_and_memory_stays_flat() {
    let server = FaultServer::builder().stream("profiles", 4).start_on_thread();
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("pipeline.yaml");
    let text = format!(
        "
sources: {{in: {{type: stdin}}}}
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
    buffer: {{max_bytes: {BUDGET_BYTES}}}
",
        server.endpoint()
    );
    std::fs::write(&path, text).unwrap();
    server.stall();
    let mut child = start(&[&"run", &"-c", &path]);
    let mut stdin = child.stdin.take().unwrap();
    let (lines, tags) = events(1000);
    // Far more than the budget: 5 times, after the mapping.
    let rounds = 5 * BUDGET_BYTES / (lines.len() as u64 / 2) + 1;
    let expected = rounds * tags.len() as u64;
    let (taken, takes) = channel();
    let writer = std::thread::spawn(move || {
        for _ in 0..rounds {
            for part in lines.chunks(64 * 1024) {
                stdin.write_all(part).unwrap();
                taken.send(()).unwrap();
            }
        }
    });
    loop {
        match takes.recv_timeout(STILL) {
            Ok(()) => {}
            Err(RecvTimeoutError::Timeout) => break,
            Err(RecvTimeoutError::Disconnected) => panic!("the source took everything"),
        }
    }
    let peak = peak_bytes(child.id());
    assert!(peak <= BUDGET_BYTES + REST_BYTES, "{} MiB", peak / MIB);
    server.resume();
    while takes.recv().is_ok() {}
    writer.join().unwrap();
    let ended = child.wait_with_output().unwrap();
    let log = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(0), "{log}");
    assert!(log.contains(&format!("received {expected} = delivered {expected} ")), "{log}");
    assert_eq!(server.stored() as u64, expected);
}
