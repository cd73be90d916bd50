//! Redrive: what a stream refused is kept, and arrives when it is sent again.

use tempfile::TempDir;

use super::program::run;
use super::run_to_kinesis::{events, read_tag};
use super::support::FaultServer;

#[test]
fn refused_records_are_kept_and_arrive_when_sent_again() {
    let server = FaultServer::builder().stream("profiles", 2).start_on_thread();
    let folder = TempDir::new().unwrap();
    let (letters, moved) = (folder.path().join("letters.ndjson"), folder.path().join("moved.ndjson"));
    let path = folder.path().join("pipeline.yaml");
    let text = format!(
        "
sources: {{in: {{type: stdin}}}}
transforms: {{export: {{type: profile_export, inputs: [in], attributes: [_afluente.sequence]}}}}
sinks:
  out:
    type: aws_kinesis_streams
    inputs: [export]
    stream_name: profiles
    region: us-east-1
    endpoint: {}
    auth: {{access_key_id: test, secret_access_key: test}}
    encoding: {{codec: json}}
    dead_letter: {{path: {}}}
",
        server.endpoint(),
        letters.display()
    );
    std::fs::write(&path, text).unwrap();
    let (lines, tags) = events(50);
    let (lines, tags) =
        (lines.split_inclusive(|b| *b == b'\n').take(100).collect::<Vec<_>>().concat(), &tags[..100]);
    server.set_record_bytes_max("profiles", 400);
    let ended = run(&[&"run", &"-c", &path], &lines);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let before = server.stored();
    assert!(before < 100, "nothing was refused");
    assert!(ended.err.contains(&format!("dead-lettered {}", 100 - before)), "{}", ended.err);

    let ended = run(&[&"redrive", &letters, &"-c", &path, &"--sink", &"out"], b"");
    assert_eq!(ended.code, Some(78), "a file that is written to is not read: {}", ended.err);
    std::fs::rename(&letters, &moved).unwrap();
    server.set_record_bytes_max("profiles", 1024 * 1024);
    let ended = run(&[&"redrive", &moved, &"-c", &path, &"--sink", &"out"], b"");
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let audit = server.ledger().audit_by(tags.iter().copied(), read_tag);
    assert!(audit.lost.is_empty() && audit.doubled == 0 && audit.unexpected.is_empty(), "{audit}");
}
