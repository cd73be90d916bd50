//! Observability: `/health` and `/metrics` of a running pipeline, and the log.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use tempfile::TempDir;

use super::program::{run, start};

fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_running_pipeline_serves_its_health_and_its_metrics() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("pipeline.yaml");
    let text = "
api: {enabled: true, address: 127.0.0.1:0}
sources: {in: {type: stdin}}
sinks: {out: {type: console, inputs: [in], encoding: {codec: text}}}
";
    std::fs::write(&path, text).unwrap();
    let mut child = start(&[&"run", &"-c", &path, &"--color", &"never"]);
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let address = loop {
        let mut line = String::new();
        assert!(log.read_line(&mut line).unwrap() > 0, "the program ended");
        if let Some(at) = line.split("address=").nth(1) {
            break at.split_whitespace().next().unwrap().to_owned();
        }
    };
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"one\ntwo\n").unwrap();
    // When a line came out, it was counted on its way.
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    assert_eq!(line, "one\n");
    let health = get(&address, "/health");
    assert!(health.starts_with("HTTP/1.1 200") && health.ends_with(r#"{"ok":true}"#), "{health}");
    let metrics = get(&address, "/metrics");
    for name in [
        "component_received_events_total{",
        "component_sent_events_total{",
        "build_info{",
        "uptime_seconds ",
        "started_total 1",
        "pipeline_events_total{fate=\"received\"} ",
        "pipeline_delivery_seconds_bucket{le=\"0.000244140625\"} 0",
        "pipeline_delivery_seconds_bucket{le=\"4096\"} 0",
        "pipeline_delivery_seconds_bucket{le=\"+Inf\"} 0",
        "pipeline_delivery_seconds_sum 0",
        "pipeline_delivery_seconds_count 0",
    ] {
        assert!(metrics.contains(name), "{name}: {metrics}");
    }
    assert!(
        metrics.contains("component_id=\"in\"") && metrics.contains("component_kind=\"source\""),
        "{metrics}"
    );
    drop(stdin);
    let mut rest = String::new();
    log.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{rest}");
    assert!(rest.contains("(adds up)"), "{rest}");
}

#[test]
fn log_lines_may_be_json_and_never_stand_in_the_data() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("pipeline.yaml");
    let text = "
sources: {in: {type: stdin}}
sinks: {out: {type: console, inputs: [in], encoding: {codec: text}}}
";
    std::fs::write(&path, text).unwrap();
    let ended = run(&[&"run", &"-c", &path, &"--log-format", &"json"], b"one\n");
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert_eq!(ended.out, "one\n");
    let logs: Vec<&str> = ended.err.lines().filter(|line| line.starts_with('{')).collect();
    assert!(!logs.is_empty(), "{}", ended.err);
    for line in logs {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(line["level"].is_string() && line["message"].is_string(), "{line}");
    }
}
