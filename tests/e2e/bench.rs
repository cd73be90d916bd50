//! Bench: the load harness, on loads that take a moment.

use std::io::{BufRead, BufReader, Read};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use super::program::{Ended, run, start};

fn report(ended: &Ended) -> Value {
    assert_eq!(ended.code, Some(0), "{}{}", ended.out, ended.err);
    serde_json::from_str(&ended.out).unwrap()
}

/// A pipeline whose own endpoint nobody listens on.
fn pipeline(folder: &TempDir, source: &str, sink: &str) -> std::path::PathBuf {
    let path = folder.path().join("pipeline.yaml");
    let text = format!(
        "
sources: {{in: {source}}}
sinks: {{out: {{inputs: [in], {sink}}}}}
"
    );
    std::fs::write(&path, text).unwrap();
    path
}

const KINESIS: &str = "type: aws_kinesis_streams, stream_name: profiles, region: eu-west-1, \
                       endpoint: 'http://127.0.0.1:1', encoding: {codec: raw_message}";

#[test]
fn every_number_is_reported_and_the_counts_add_up() {
    let folder = TempDir::new().unwrap();
    let chart = folder.path().join("chart.svg");
    let report =
        report(&run(&[&"bench", &"--events", &"3000", &"--keys", &"700", &"--json", &"--plot", &chart], b""));
    for name in ["events", "received", "delivered", "records"] {
        assert_eq!(report[name], 3000, "{name}: {report}");
    }
    for name in ["skipped", "failed", "not_delivered", "retried", "throttled_records"] {
        assert_eq!(report[name], 0, "{name}: {report}");
    }
    assert_eq!(report["adds_up"], true);
    let number = |name: &str| report[name].as_f64().unwrap_or_else(|| panic!("{name}: {report}"));
    for name in
        ["seconds", "events_per_second", "megabytes_per_second", "latency_p50_ms", "start_to_first_record_ms"]
    {
        assert!(number(name) > 0.0, "{name}: {report}");
    }
    #[cfg(target_os = "linux")]
    for name in ["cpu_seconds", "cpu_nanos_per_event", "rss_peak_bytes"] {
        assert!(number(name) > 0.0, "{name}: {report}");
    }
    assert!((1500.0..1600.0).contains(&number("event_bytes")), "{report}");
    assert!(number("requests") >= 6.0, "at most 500 records each: {report}");
    let a_request = number("records_per_request");
    assert!((a_request * number("requests") - 3000.0).abs() <= 0.05 * number("requests") + 0.1, "{report}");
    // A record's data is 0.97 KB and a third more in base64.
    let body = number("body_bytes_per_request") / a_request;
    assert!((1000.0..1700.0).contains(&body), "{report}");
    assert!(number("latency_p50_ms") <= number("latency_p99_ms"), "{report}");
    assert!(number("latency_p99_ms") <= number("latency_p999_ms"), "{report}");
    let svg = std::fs::read_to_string(chart).unwrap();
    assert!(svg.starts_with("<svg ") && svg.matches("font-weight").count() == 3, "{svg}");
}

#[test]
fn the_bare_steps_are_measured_in_place_of_the_pipeline() {
    for sink_only in [false, true] {
        let mut args: Vec<&dyn AsRef<std::ffi::OsStr>> =
            vec![&"bench", &"--bare", &"--events", &"1200", &"--json"];
        if sink_only {
            args.push(&"--sink-only");
        }
        let report = report(&run(&args, b""));
        for name in ["events", "received", "delivered", "records"] {
            assert_eq!(report[name], 1200, "{name}: {report}");
        }
        assert_eq!((&report["requests"], &report["adds_up"]), (&3.into(), &true.into()), "{report}");
        assert!(report["pipeline"].as_str().unwrap().contains("bare"), "{report}");
    }
}

#[test]
fn a_pipeline_of_the_user_is_fed_with_a_file_and_reaches_the_sink_hole_alone() {
    let folder = TempDir::new().unwrap();
    let path = pipeline(&folder, "{type: stdin}", KINESIS);
    let events = folder.path().join("events.ndjson");
    std::fs::write(&events, "one\ntwo\n\nthree").unwrap();
    let report =
        report(&run(&[&"bench", &"-c", &path, &"--replay", &events, &"--events", &"10", &"--json"], b""));
    assert_eq!((&report["received"], &report["records"]), (&10.into(), &10.into()), "{report}");
    let once = run(&[&"bench", &"-c", &path, &"--replay", &events], b"");
    assert_eq!(once.code, Some(0), "{}", once.err);
    assert!(once.out.contains("received 3 = delivered 3 "), "{}", once.out);
    assert!(once.out.contains("pipeline.yaml"), "{}", once.out);
}

#[test]
fn shards_with_limits_take_their_time_and_everything_in_the_end() {
    let report = report(&run(
        &[
            &"bench",
            &"--sink-only",
            &"--events",
            &"4000",
            &"--event-bytes",
            &"560",
            &"--shards",
            &"2",
            &"--rate-limits",
            &"--round-trip",
            &"1.5",
            &"--in-flight",
            &"4",
            &"--json",
        ],
        b"",
    ));
    assert_eq!(report["records"], 4000, "{report}");
    // Two shards take 2,000 at once, for the other 2,000 they need a second; half of it is left to a busy machine.
    assert!(report["seconds"].as_f64().unwrap() > 0.5, "{report}");
    assert_eq!(report["service"], "1.5 ms round trip, 2 shards with rate limits");
}

#[test]
fn an_interrupt_ends_the_feeding_and_everything_fed_is_delivered() {
    let mut child = start(&[&"bench", &"--seconds", &"600", &"--rate", &"1000", &"--json", &"-v"]);
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("The pipeline is fed.") {
        line.clear();
        assert!(log.read_line(&mut line).unwrap() > 0, "it ended before it began");
    }
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    let mut rest = String::new();
    log.read_to_string(&mut rest).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{rest}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["adds_up"], true, "{report}");
    assert_eq!(report["events"], report["records"], "{report}");
}

#[test]
fn what_cannot_be_measured_is_told_with_its_exit_code() {
    let folder = TempDir::new().unwrap();
    let told = |args: &[&dyn AsRef<std::ffi::OsStr>], code: i32, sentence: &str| {
        let ended = run(args, b"");
        assert_eq!(ended.code, Some(code), "{}", ended.err);
        assert!(ended.err.contains(sentence), "{sentence}: {}", ended.err);
        assert_eq!(ended.out, "");
    };
    let path = pipeline(&folder, "{type: demo_profiles}", KINESIS);
    told(&[&"bench", &"-c", &path], 78, "the only source must be of type stdin; there is `in` of type demo_");
    let path = pipeline(&folder, "{type: stdin}", "type: blackhole");
    told(&[&"bench", &"-c", &path], 78, "sinks of type aws_kinesis_streams, and there is none");
    told(&[&"bench", &"-c", &"/no/such/file.yaml"], 78, "/no/such/file.yaml");
    told(&[&"bench", &"--replay", &"/no/such/events"], 1, "/no/such/events cannot be replayed");
    told(&[&"bench", &"--plot", &"/no/such/folder/a.svg"], 1, "/no/such/folder/a.svg cannot be written");
    told(&[&"bench", &"--events", &"0"], 2, "--events");
    told(&[&"bench", &"--round-trip=-1"], 2, "milliseconds from 0 to 60000");
    told(&[&"bench", &"--rate", &"NaN"], 2, "a number from 0.001");
    told(&[&"bench", &"--shards", &"0"], 2, "a number of shards is from 1 to");
    told(&[&"bench", &"--sink-only", &"-c", &path], 2, "cannot be used with");
}
