//! `run` in front of a Kinesis: profile events on standard input, the documented JSON in the stream.

use std::collections::HashMap;
use std::path::PathBuf;

use afluente::sources::{DemoProfiles, DemoProfilesOptions};
use serde_json::Value;
use tempfile::TempDir;

use super::program::{Ended, run};
use super::support::{Fault, FaultServer, Tag, tag};

const EVENTS: usize = 3000;

fn config(folder: &TempDir, endpoint: &str) -> PathBuf {
    let path = folder.path().join("pipeline.yaml");
    let text = format!(
        "
sources: {{in: {{type: stdin}}}}
transforms:
  export:
    type: profile_export
    inputs: [in]
    attributes: [personalEmail.address, _afluente.sequence]
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

/// Lines of events, and what each is known by.
pub(crate) fn events(profiles: u32) -> (Vec<u8>, Vec<Tag>) {
    let options = DemoProfilesOptions { profiles, ..DemoProfilesOptions::default() };
    let mut generator = DemoProfiles::new(options);
    let mut lines = Vec::new();
    let mut tags = Vec::new();
    for _ in 0..EVENTS {
        let event = generator.write_event(&mut lines);
        lines.push(b'\n');
        tags.push(tag(&format!("crm-{:08}", event.profile), u64::from(event.sequence)));
    }
    (lines, tags)
}

pub(crate) fn read_tag(_key: &str, data: &[u8]) -> Option<Tag> {
    let record: Value = serde_json::from_slice(data).ok()?;
    let profile = record["identityMap"]["CRMID"][0]["id"].as_str()?;
    Some(tag(profile, record["_afluente"]["sequence"].as_u64()?))
}

fn run_against(server: &FaultServer, input: &[u8]) -> Ended {
    let folder = TempDir::new().unwrap();
    let path = config(&folder, &server.endpoint());
    run(&[&"run", &"-c", &path], input)
}

#[test]
fn every_event_arrives_once_as_documented_json_in_the_order_of_its_key() {
    let server = FaultServer::builder().stream("profiles", 4).start_on_thread();
    let (input, tags) = events(100);
    let ended = run_against(&server, &input);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let books = format!("received {EVENTS} = delivered {EVENTS} + rejected 0");
    assert!(ended.err.contains(&books), "{}", ended.err);
    let ledger = server.ledger();
    assert_eq!(ledger.len(), EVENTS);
    let audit = ledger.audit_by(tags, read_tag);
    audit.assert_kept();
    assert_eq!(audit.doubled, 0);
    let record: Value = serde_json::from_slice(ledger.records()[0].data()).unwrap();
    let keys: Vec<_> = record.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["personalEmail", "_afluente", "segmentMembership", "identityMap"]);
    let mut shards: HashMap<&str, u32> = HashMap::new();
    for stored in ledger.records() {
        assert_eq!(*shards.entry(stored.key()).or_insert(stored.shard), stored.shard);
    }
    assert_eq!(shards.len(), 100, "one partition key a profile");
}

#[test]
fn faults_of_every_kind_lose_nothing_and_keep_the_order() {
    let server = FaultServer::builder()
        .stream("profiles", 4)
        .seed(7)
        .fault(Fault::record_failure().chance(0.02))
        .fault(Fault::status(500).chance(0.03))
        .fault(Fault::answer_lost().chance(0.03))
        .start_on_thread();
    let (input, tags) = events(300);
    let ended = run_against(&server, &input);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    server.ledger().audit_by(tags, read_tag).assert_kept();
    assert!(ended.err.contains(&format!("received {EVENTS} = delivered {EVENTS} ")), "{}", ended.err);
    assert!(ended.err.contains("(adds up)"), "{}", ended.err);
}

#[test]
fn check_says_what_is_wrong_and_writes_nothing() {
    let server = FaultServer::builder().stream("profiles", 1).start_on_thread();
    let folder = TempDir::new().unwrap();
    let path = config(&folder, &server.endpoint());
    let ended = run(&[&"check", &"-c", &path], b"");
    assert_eq!(ended.code, Some(0), "{}{}", ended.out, ended.err);
    assert!(ended.out.lines().all(|line| line.starts_with("√ ") || line.starts_with("~ ")), "{}", ended.out);
    server.delete_stream("profiles");
    let ended = run(&[&"check", &"-c", &path], b"");
    assert_eq!(ended.code, Some(1), "{}{}", ended.out, ended.err);
    assert!(ended.out.contains("x sinks.out: ") && ended.out.contains("profiles"), "{}", ended.out);
    assert_eq!(server.stored(), 0);
}
