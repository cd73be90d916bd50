//! Exit codes and sentences: 0 done, 1 failed, 2 usage, 78 configuration.

use std::path::PathBuf;

use tempfile::TempDir;

use super::program::{Ended, run};

fn file(folder: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

fn run_config(verb: &str, text: &str) -> Ended {
    let folder = TempDir::new().unwrap();
    let path = file(&folder, "pipeline.yaml", text);
    run(&[&verb, &"-c", &path], b"")
}

const GOOD: &str = "
sources: {in: {type: stdin}}
sinks: {out: {type: blackhole, inputs: [in]}}
";
const BAD: &str = "
sources: {in: {type: stdin}}
sinks:
  out: {type: blackhole, inputs: [imp]}
  more: {type: blackhol, inputs: [in]}
";

#[test]
fn a_good_pipeline_ends_with_0_and_its_books_add_up() {
    let folder = TempDir::new().unwrap();
    let path = file(&folder, "pipeline.yaml", GOOD);
    let ended = run(&[&"run", &"-c", &path], b"one\ntwo\n");
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert!(ended.err.contains("Accounting: received 2 = delivered 2 "), "{}", ended.err);
    assert!(ended.err.contains("(adds up)"), "{}", ended.err);
    assert_eq!(ended.out, "");
}

#[test]
fn a_bad_configuration_is_78_and_tells_all_mistakes() {
    for verb in ["run", "check"] {
        let ended = run_config(verb, BAD);
        assert_eq!(ended.code, Some(78), "{verb}");
        assert!(ended.err.contains("Input \"imp\" for sink \"out\""), "{}", ended.err);
        assert!(ended.err.contains("blackhol"), "{}", ended.err);
        assert!(
            ended.err.lines().all(|line| line.starts_with("x ") || line.starts_with("~ ")),
            "{}",
            ended.err
        );
    }
    let ended = run_config("validate", BAD);
    assert_eq!(ended.code, Some(78));
    assert_eq!(ended.out.lines().filter(|line| line.starts_with("x ")).count(), 2, "{}", ended.out);
}

#[test]
fn two_sinks_cannot_share_a_dead_letter_file_however_they_spell_it_nor_the_one_it_is_rotated_into() {
    let text = |first: &str, other: &str| {
        let sink = |path: &str| {
            format!(
                "{{type: aws_kinesis_streams, inputs: [in], stream_name: s, region: eu-west-1, encoding: {{codec: text}}, dead_letter: {{path: {path}}}}}"
            )
        };
        format!("sources: {{in: {{type: stdin}}}}\nsinks:\n  a: {}\n  b: {}\n", sink(first), sink(other))
    };
    const LETTERS: &str = "/tmp/letters.ndjson";
    const SAME: &str = "give each a file of its own";
    const OLDER: &str = "`/tmp/letters.ndjson` is renamed to `/tmp/letters.ndjson.1` when it is full: give each a file of its own";
    for (first, other, hint) in [
        (LETTERS, LETTERS, Some(SAME)),
        (LETTERS, "/tmp//./letters.ndjson", Some(SAME)),
        (LETTERS, "/tmp/letters.ndjson.1", Some(OLDER)),
        ("/tmp/letters.ndjson.1", LETTERS, Some(OLDER)),
        (LETTERS, "/tmp/other.ndjson", None),
        (LETTERS, "/tmp/letters.ndjson.2", None),
    ] {
        let folder = TempDir::new().unwrap();
        let path = file(&folder, "pipeline.yaml", &text(first, other));
        let ended = run(&[&"validate", &"--no-environment", &path], b"");
        assert_eq!(ended.code, Some(if hint.is_some() { 78 } else { 0 }), "{}{}", ended.out, ended.err);
        let said = format!("Resource `file {first}` is claimed by multiple components: {{\"a\", \"b\"}}");
        assert_eq!(ended.out.contains(&said), hint.is_some(), "{}", ended.out);
        assert!(hint.is_none_or(|hint| ended.out.contains(hint)), "{}", ended.out);
        assert!(hint.is_some() || !ended.out.contains(SAME), "{}", ended.out);
    }
}

#[test]
fn validate_says_what_it_looked_at() {
    let ended = run_config("validate", GOOD);
    assert_eq!(ended.code, Some(0), "{}{}", ended.out, ended.err);
    for line in ["√ Loaded [", "√ Component configuration", "√ Health check \"out\"", "Validated"] {
        assert!(ended.out.contains(line), "{line}: {}", ended.out);
    }
    let folder = TempDir::new().unwrap();
    let path = file(&folder, "pipeline.yaml", GOOD);
    let ended = run(&[&"validate", &"--no-environment", &path], b"");
    assert_eq!(ended.code, Some(0));
    assert!(!ended.out.contains("Health check"), "{}", ended.out);
}

#[test]
fn warnings_are_mistakes_only_if_asked_for() {
    let folder = TempDir::new().unwrap();
    let text = format!("{GOOD}transforms: {{loose: {{type: profile_export, inputs: [in]}}}}");
    let path = file(&folder, "pipeline.yaml", &text);
    let ended = run(&[&"validate", &"--no-environment", &path], b"");
    assert_eq!(ended.code, Some(0), "{}", ended.out);
    assert!(ended.out.contains("~ "), "{}", ended.out);
    let ended = run(&[&"validate", &"--no-environment", &"-d", &path], b"");
    assert_eq!(ended.code, Some(78), "{}", ended.out);
}

#[test]
fn a_missing_file_is_78_and_named() {
    for verb in ["run", "validate", "check", "map"] {
        let ended = run(&[&verb, &"-c", &"/no/such/file.yaml"], b"");
        assert_eq!(ended.code, Some(78), "{verb}");
        let told = ended.err + &ended.out;
        assert!(told.contains("/no/such/file.yaml"), "{told}");
    }
    assert_eq!(run(&[&"run"], b"").code, Some(78));
}

#[test]
fn wrong_usage_is_2() {
    assert_eq!(run(&[&"--no-such-flag"], b"").code, Some(2));
    assert_eq!(run(&[&"run", &"-t", &"0"], b"").code, Some(2));
    assert_eq!(run(&[&"-c", &"a.yaml", &"validate"], b"").code, Some(2));
    assert_eq!(run(&[&"map", &"-c", &"a.json", &"--now", &"yesterday"], b"").code, Some(2));
    assert_eq!(run(&[&"--version"], b"").code, Some(0));
}

#[test]
fn a_wrong_mapping_is_78_with_its_code_also_inside_a_pipeline() {
    let folder = TempDir::new().unwrap();
    let bare = file(&folder, "bare.json", r#"{"attributes":["a..b"]}"#);
    let pipeline = file(
        &folder,
        "pipeline.yaml",
        "
sources: {in: {type: stdin}}
transforms: {export: {type: profile_export, inputs: [in], segment_scope: mapped}}
sinks: {out: {type: blackhole, inputs: [export]}}
",
    );
    for (path, code) in [(bare, "bad_attribute_path"), (pipeline, "mapped_scope_without_segments")] {
        let ended = run(&[&"map", &"-c", &path], b"{}\n");
        assert_eq!(ended.code, Some(78));
        assert_eq!(ended.out, format!("{{\"config_error\":\"{code}\"}}\n"));
        assert!(ended.err.starts_with("x "), "{}", ended.err);
    }
}

#[test]
fn of_several_mappings_one_must_be_chosen() {
    let folder = TempDir::new().unwrap();
    let path = file(
        &folder,
        "pipeline.yaml",
        "
sources: {in: {type: stdin}}
transforms:
  one: {type: profile_export, inputs: [in]}
  two: {type: profile_export, inputs: [in], on_missing_identity: export}
sinks: {out: {type: blackhole, inputs: [one, two]}}
",
    );
    let ended = run(&[&"map", &"-c", &path], b"{}\n");
    assert_eq!(ended.code, Some(78));
    assert!(ended.err.contains("`one`, `two`"), "{}", ended.err);
    let ended = run(&[&"map", &"-c", &path, &"--transform", &"two"], b"{}\n");
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    assert_eq!(ended.out, "{\"export\":{\"segmentMembership\":{},\"identityMap\":{}}}\n");
}

#[test]
fn the_policy_names_the_stream_and_asks_nobody() {
    let text = "
sources: {in: {type: stdin}}
sinks:
  out:
    type: aws_kinesis_streams
    inputs: [in]
    stream_name: profiles
    region: eu-west-1
    encoding: {codec: json}
";
    let folder = TempDir::new().unwrap();
    let path = file(&folder, "pipeline.yaml", text);
    let ended = run(&[&"check", &"-c", &path, &"--iam-policy"], b"");
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let policy: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(policy["Version"], "2012-10-17");
    assert!(ended.out.contains("arn:aws:kinesis:eu-west-1:*:stream/profiles"), "{}", ended.out);
}

#[test]
fn the_schema_knows_every_component() {
    let ended = run(&[&"generate-schema"], b"");
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let schema: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    for (section, name) in [
        ("sources", "stdin"),
        ("sources", "file"),
        ("sources", "http_server"),
        ("transforms", "profile_export"),
        ("sinks", "aws_kinesis_streams"),
        ("sinks", "console"),
    ] {
        let known = schema["properties"][section].to_string();
        assert!(known.contains(&format!("\"const\":\"{name}\"")), "{section}: {name}");
    }
}
