//! Files: a kill at any moment loses nothing and puts nothing out of order, because positions move only past events
//! that are settled.

use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;

use super::program::{run, start};
use super::run_to_kinesis::{events, read_tag};
use super::support::FaultServer;

fn config(folder: &TempDir, server: &FaultServer) -> PathBuf {
    let (root, endpoint) = (folder.path().display(), server.endpoint());
    let path = folder.path().join("pipeline.yaml");
    let text = format!(
        "
data_dir: {root}
sources: {{in: {{type: file, include: [\"{root}/*.ndjson\"], read_from: beginning, mode: once}}}}
transforms: {{export: {{type: profile_export, inputs: [in], attributes: [_afluente.sequence]}}}}
sinks:
  out:
    type: aws_kinesis_streams
    inputs: [export]
    stream_name: profiles
    region: us-east-1
    endpoint: {endpoint}
    auth: {{access_key_id: test, secret_access_key: test}}
    encoding: {{codec: json}}
"
    );
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn a_kill_loses_nothing_and_no_event_comes_first_after_a_later_one_of_its_key() {
    let server =
        FaultServer::builder().stream("profiles", 4).round_trip(Duration::from_millis(20)).start_on_thread();
    let folder = TempDir::new().unwrap();
    let (lines, tags) = events(50);
    std::fs::write(folder.path().join("events.ndjson"), &lines).unwrap();
    let path = config(&folder, &server);
    for stored in [200, 1200] {
        let mut child = start(&[&"run", &"-c", &path]);
        server.block_on(server.wait_for_stored(stored));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let ended = run(&[&"run", &"-c", &path], b"");
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let total = tags.len();
    let audit = server.ledger().audit_by(tags, read_tag);
    assert!(audit.lost.is_empty() && audit.out_of_order.is_empty() && audit.unexpected.is_empty(), "{audit}");
    // What was settled before a kill is not all read again.
    assert!((audit.doubled as usize) < 2 * total, "{audit}");
    let again = run(&[&"run", &"-c", &path], b"");
    assert_eq!(again.code, Some(0), "{}", again.err);
    assert!(again.err.contains("Accounting: received 0 "), "{}", again.err);
}
