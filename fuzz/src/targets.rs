//! Targets: one function for each text that comes from outside and is read by our own code.
//! In: any bytes. Out: nothing, or a panic that says which promise does not hold.

mod poison;

use std::str;

use afluente_pipeline::config::{Format, LoadOptions, load_from_str};
use afluente_sink::kinesis::answer::{Entry, ServiceError, parse_put_records};
use afluente_sink::kinesis::verdict::{Trouble, shard_in, trouble};
use afluente_transforms::profile_export::ProfileExportConfig;
use serde_json::Value;

use super::agree::agree;

pub use self::poison::poison;

/// Between the parts of an input: a byte that JSON does not use.
const SEPARATOR: u8 = 0x1e;

/// Records of profiles: a configuration of the transform, then records. The fast code and the slow reference agree on them.
pub fn profile(data: &[u8]) {
    let mut parts = data.split(|byte| *byte == SEPARATOR);
    let config = parts.next().and_then(|config| serde_json::from_slice(config).ok());
    let Some(Ok(config)) = config.map(ProfileExportConfig::from_json) else { return };
    if config.compile().is_ok() {
        agree(config, &parts.collect::<Vec<_>>());
    }
}

/// The service's answers: how many records were asked about, then the body. What is believed is what serde reads in it, entry by
/// entry; what is not believed is not repeated.
pub fn answer(data: &[u8]) {
    let Some((count, body)) = data.split_first() else { return };
    match parse_put_records(body, usize::from(*count)) {
        Ok(answer) => {
            assert_eq!(answer.entries.len(), usize::from(*count));
            if let Ok(tree) = serde_json::from_slice::<Value>(body) {
                let entries = tree["Records"].as_array().unwrap();
                assert!(answer.entries.iter().zip(entries).all(|(entry, tree)| says(tree, entry)));
            }
        }
        Err(error) => assert!(error.to_string().len() < 200, "{error}"),
    }
    let error = ServiceError::parse(body, None);
    assert!(error.message.chars().count() <= 2001 && !error.message.contains('\n'), "{}", error.message);
}

fn says(tree: &Value, entry: &Entry<'_>) -> bool {
    let text = |name: &str| tree[name].as_str().unwrap_or_default();
    let is_stored = !text("SequenceNumber").is_empty() && !text("ShardId").is_empty();
    match entry {
        Entry::Stored { shard, sequence } => {
            is_stored && text("ShardId") == shard && text("SequenceNumber") == sequence
        }
        Entry::Failed { code, message } => {
            !is_stored && !code.is_empty() && text("ErrorCode") == code && text("ErrorMessage") == message
        }
    }
}

/// Refusals: a code, then a text. A shard's name is taken from the text as it stands there; trouble of the service is nobody's guilt.
pub fn throttle(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let (code, message) = text.split_once('\n').unwrap_or_default();
    if let Some(shard) = shard_in(message) {
        let at = message.find(shard).unwrap();
        assert!(shard.len() > "shardId-".len() && shard.is_ascii());
        assert_eq!(message.find("shardId-"), Some(at), "the first that is named");
    }
    for status in [0, 200, 302, 400, 403, 404, 413, 429, 500, 503] {
        let class = trouble(status, code, message);
        assert!(class != Trouble::Poison || (status < 500 && is_about_content(code)), "{status} {code}");
    }
}

fn is_about_content(code: &str) -> bool {
    matches!(code, "ValidationException" | "InvalidArgumentException" | "SerializationException")
}

/// Configuration files: a format, then a text. It loads, or each mistake is a sentence.
pub fn config(data: &[u8]) {
    let Some((format, text)) = data.split_first() else { return };
    let Ok(text) = str::from_utf8(text) else { return };
    let format = match format {
        b'y' => Format::Yaml,
        b't' => Format::Toml,
        _ => Format::Json,
    };
    let variable = |name: &str| name.starts_with("SET").then(|| "[1, {a: b}]".to_owned());
    match load_from_str(text, format, &variable, &LoadOptions::default()) {
        Ok(loaded) => assert!(!loaded.config.sources.is_empty() && !loaded.config.sinks.is_empty()),
        Err(errors) => {
            assert!(!errors.is_empty());
            assert!(errors.iter().all(|error| !error.message.is_empty()), "{errors:?}");
        }
    }
}

// Linking a crate registers its components.
use afluente_sources as _;
