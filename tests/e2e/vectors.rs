//! The shared vectors of `profile_export`, through the program's own door: `map`.

use std::path::{Path, PathBuf};

use base64_simd::STANDARD;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use tempfile::TempDir;

use super::program::run;

#[derive(Deserialize)]
struct Vector {
    now: Option<String>,
    config: Box<RawValue>,
    config_error: Option<String>,
    input: Vec<Box<RawValue>>,
    expect: Vec<Box<RawValue>>,
}

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("transforms/tests/vectors");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    files.sort();
    assert!(files.len() >= 33, "the vectors are missing");
    files
}

/// The bytes of a record of `input`: text stands for itself, `{"base64": …}` for what it encodes.
fn record(raw: &RawValue) -> Vec<u8> {
    match serde_json::from_str::<Value>(raw.get()) {
        Ok(Value::String(text)) => text.into_bytes(),
        Ok(Value::Object(map)) if map.len() == 1 && map.contains_key("base64") => {
            STANDARD.decode_to_vec(map["base64"].as_str().unwrap()).unwrap()
        }
        // Also what this reader has no value for, such as numbers beyond its range.
        _ => raw.get().as_bytes().to_vec(),
    }
}

/// Whether `line` is what `expect` says.
fn check(name: &str, line: &str, expect: &RawValue) {
    let single = serde_json::from_str::<Value>(expect.get()).ok().and_then(|value| {
        let map = value.as_object().filter(|map| map.len() == 1)?;
        let (key, value) = map.iter().next()?;
        Some((key.clone(), value.as_str()?.to_owned()))
    });
    match single {
        Some((key, reason)) if key == "dropped" || key == "skipped" => {
            assert_eq!(line, format!("{{\"{key}\":\"{reason}\"}}"), "{name}");
        }
        Some((key, exact)) if key == "exact" => assert_eq!(line, format!("{{\"export\":{exact}}}"), "{name}"),
        _ => {
            let line: Value =
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{name}: {error}: {line}"));
            let expected: Value = serde_json::from_str(expect.get()).unwrap();
            assert_eq!(line["export"], expected, "{name}");
        }
    }
}

fn run_all(base64: bool) {
    let folder = TempDir::new().unwrap();
    for file in files() {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let vector: Vector = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        let records: Vec<Vec<u8>> = vector.input.iter().map(|raw| record(raw)).collect();
        // Without base64 only records without line feeds fit in lines; a last empty line would not be one.
        if !base64 && records.iter().any(|record| record.contains(&b'\n')) {
            continue;
        }
        let config = folder.path().join(&name);
        std::fs::write(&config, vector.config.get()).unwrap();
        let mut input = Vec::new();
        for record in &records {
            if base64 {
                input.extend_from_slice(STANDARD.encode_to_string(record).as_bytes());
            } else {
                input.extend_from_slice(record);
            }
            input.push(b'\n');
        }
        let now = vector.now.unwrap_or_else(|| "2026-01-01T00:00:00Z".to_owned());
        let ended = if base64 {
            run(&[&"map", &"-c", &config, &"--now", &now, &"--base64"], &input)
        } else {
            run(&[&"map", &"-c", &config, &"--now", &now], &input)
        };
        if let Some(code) = vector.config_error {
            assert_eq!(ended.code, Some(78), "{name}");
            assert_eq!(ended.out, format!("{{\"config_error\":\"{code}\"}}\n"), "{name}");
            continue;
        }
        assert_eq!(ended.code, Some(0), "{name}: {}", ended.err);
        let lines: Vec<&str> = ended.out.lines().collect();
        assert_eq!(lines.len(), vector.expect.len(), "{name}: one line for each record");
        for (line, expect) in lines.iter().zip(&vector.expect) {
            check(&name, line, expect);
        }
    }
}

#[test]
fn every_vector_gives_what_it_says_as_base64() {
    run_all(true);
}

#[test]
fn every_vector_of_single_lines_gives_what_it_says() {
    run_all(false);
}
