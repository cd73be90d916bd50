//! Poison: a record that the service refuses is rejected alone, and kept if the user wants it.

use super::pipeline::{Pipeline, event, events, tagger, tags};
use super::support::{FaultServer, Naming, StreamSpec};

/// 500 events, one of which has an attribute that makes it too large for the stream.
fn input() -> String {
    let mut lines = events(500, 500);
    let large = event(0, 1).replace("\"seq\":1", &format!("\"seq\":\"{}\"", "x".repeat(70_000)));
    lines.push_str(&large);
    lines.push('\n');
    lines
}

#[test]
fn one_record_too_large_for_the_stream_is_kept_apart_and_the_others_arrive() {
    for naming in [Naming::FromOne, Naming::FromZero, Naming::Unnamed, Naming::Silent] {
        let kinesis = FaultServer::builder()
            .stream_spec(StreamSpec::new("profiles", 2).record_bytes_max(50_000))
            .naming(naming)
            .keep_tags(tagger)
            .start_on_thread();
        let letters = tempfile::tempdir().unwrap();
        let letters = letters.path().join("letters.ndjson");
        let options = format!("    dead_letter: {{path: {}}}", letters.display());
        let ended = Pipeline::stdin(&kinesis, &options).run(input());
        ended.assert_books(501, &[("dead-lettered", 1), ("delivered", 500)]);
        assert!(!ended.words.contains("xxxx"), "no content in the log");
        kinesis.ledger().audit(tags(500, 500)).assert_kept();
        let letter: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(&letters).unwrap()).unwrap();
        assert_eq!(letter["partition_key"], "crmid:0");
        assert!(letter["record"].as_str().unwrap().contains("xxxx"));
        assert!(
            kinesis.requests().writes().count() <= 20,
            "{naming:?}: {} requests",
            kinesis.requests().writes().count()
        );
    }
}
