//! The shared vectors, in both ways a record can be written: as its text stands in the file, and as the same document
//! written otherwise (white space, escapes).

use std::path::PathBuf;

use afluente_transforms::profile_export::{ConfigErrorCode, ProfileExportConfig, Timestamp};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::json::Tree;
use crate::reference::Reference;
use crate::{Seen, dropped, run, skipped};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    name: String,
    #[serde(rename = "why")]
    _why: String,
    now: Option<String>,
    config: serde_json::Value,
    config_error: Option<String>,
    input: Vec<Box<RawValue>>,
    expect: Vec<Box<RawValue>>,
}

fn all() -> Vec<Vector> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    files.sort();
    assert!(files.len() >= 33, "the vectors are missing");
    files.iter().map(|file| serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()).collect()
}

fn tree(text: &str) -> Tree {
    Tree::read(text, 100_000).unwrap()
}

/// The bytes of a record of `input`.
fn record(raw: &RawValue) -> Vec<u8> {
    match tree(raw.get()) {
        Tree::Text(text) => text.into_bytes(),
        Tree::Map(members) if members.len() == 1 && members[0].0 == "base64" => {
            base64_simd::STANDARD.decode_to_vec(members[0].1.text().unwrap()).unwrap()
        }
        _ => raw.get().as_bytes().to_vec(),
    }
}

fn check(name: &str, seen: &Seen, expected: &RawValue) {
    let expected = tree(expected.get());
    let text = |key: &str| expected.get(key).and_then(Tree::text).map(str::to_owned);
    let single = matches!(&expected, Tree::Map(members) if members.len() == 1);
    if let Some(reason) = text("dropped").filter(|_| single) {
        assert_eq!(*seen, dropped(&reason), "{name}");
    } else if let Some(reason) = text("skipped").filter(|_| single) {
        assert_eq!(*seen, skipped(&reason), "{name}");
    } else if let Some(exact) = text("exact").filter(|_| single) {
        assert_eq!(*seen, Seen::Export(exact), "{name}");
    } else {
        let Seen::Export(output) = seen else { panic!("{name}: expected an export, got {seen:?}") };
        assert!(tree(output).same_value(&expected), "{name}: {output}");
    }
}

fn run_all(rewrite: impl Fn(&RawValue) -> Vec<u8>) {
    let mut count = 0;
    for vector in all() {
        if vector.config_error.is_some() {
            continue;
        }
        let now = vector.now.as_deref().map_or(Timestamp::default(), |now| Timestamp::parse(now).unwrap());
        let config = ProfileExportConfig::from_json(vector.config).unwrap();
        let mut mapper = config.compile().unwrap();
        let mut reference = Reference::new(config, now.unix_nanos());
        assert_eq!(vector.input.len(), vector.expect.len());
        for (i, (input, expect)) in vector.input.iter().zip(&vector.expect).enumerate() {
            let name = format!("{}, record {i}", vector.name);
            let bytes = rewrite(input);
            let (seen, _) = run(&mut mapper, &bytes, now);
            check(&name, &seen, expect);
            assert_eq!(seen, reference.handle(&bytes).0, "{name}: the reference");
            count += 1;
        }
        let counters = mapper.counters();
        assert_eq!(counters.received, vector.input.len() as u64);
        assert_eq!(
            counters.received,
            counters.exported + counters.skipped.iter().sum::<u64>() + counters.dropped.iter().sum::<u64>()
        );
    }
    assert!(count > 90, "{count} records");
}

#[test]
fn every_vector_gives_what_it_says() {
    run_all(record);
}

#[test]
fn every_vector_gives_the_same_when_its_objects_are_written_compactly() {
    run_all(|raw| match tree(raw.get()) {
        Tree::Map(members) if members[..].first().is_none_or(|(name, _)| name != "base64") => {
            Tree::Map(members).to_text().into_bytes()
        }
        _ => record(raw),
    });
}

#[test]
fn every_vector_gives_the_same_when_its_objects_are_written_with_a_space_after_colons_and_commas() {
    run_all(|raw| match tree(raw.get()) {
        Tree::Map(members) if members[..].first().is_none_or(|(name, _)| name != "base64") => {
            let compact = Tree::Map(members).to_text();
            // No string of the vectors' objects has these in it.
            compact.replace("\":", "\": ").replace(",\"", ", \"").into_bytes()
        }
        _ => record(raw),
    });
}

#[test]
fn every_vector_gives_the_same_when_its_objects_are_spaced_and_escaped_oddly() {
    run_all(|raw| match tree(raw.get()) {
        Tree::Map(members) if members[..].first().is_none_or(|(name, _)| name != "base64") => {
            let mut out = String::new();
            oddly(&Tree::Map(members), &mut out);
            out.into_bytes()
        }
        _ => record(raw),
    });
}

/// Writes every character of every string as an escape, and white space wherever it may stand.
fn oddly(tree: &Tree, out: &mut String) {
    match tree {
        Tree::Text(text) => text_oddly(text, out),
        Tree::List(items) => {
            out.push_str("[ ");
            for (i, item) in items.iter().enumerate() {
                out.push_str(if i > 0 { "\r\n,\t" } else { "\n" });
                oddly(item, out);
            }
            out.push_str(" ] ");
        }
        Tree::Map(members) => {
            out.push_str(" {\t");
            for (i, (key, value)) in members.iter().enumerate() {
                out.push_str(if i > 0 { " , " } else { " " });
                text_oddly(key, out);
                out.push_str(" :\n ");
                oddly(value, out);
            }
            out.push_str("\t}\n");
        }
        other => other.write(out),
    }
}

fn text_oddly(text: &str, out: &mut String) {
    out.push('"');
    for unit in text.encode_utf16() {
        out.push_str(&format!("\\u{unit:04X}"));
    }
    out.push('"');
}

#[test]
fn every_vector_of_a_configuration_error_gives_its_code() {
    let mut count = 0;
    for vector in all() {
        let Some(code) = vector.config_error else { continue };
        let error = ProfileExportConfig::from_json(vector.config.clone()).unwrap_err();
        assert_eq!(error.code.as_str(), code, "{}: {error}", vector.name);
        // The same through serde, where only text survives.
        let error = serde_json::from_value::<ProfileExportConfig>(vector.config).unwrap_err();
        assert_eq!(ConfigErrorCode::find_in(&error.to_string()).unwrap().as_str(), code);
        count += 1;
    }
    assert!(count >= 2);
}
