//! Options of `file`, as a user writes them, and the settings that cannot be wrong.
//! In: Vector's keys and `mode`. Out: [`Settings`], or all mistakes in one sentence each.

use std::path::PathBuf;
use std::time::Duration;

use afluente_pipeline::codecs::decoding::DecodingConfig;
use glob::Pattern;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::fingerprint::FingerprintConfig;
use crate::LINE_BYTES_MAX_DEFAULT;
use crate::intake::check_field_name;
use crate::lines::{Delimiter, LineRules};

/// Where a file without a checkpoint is begun.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReadFrom {
    /// At its beginning.
    #[default]
    Beginning,
    /// At its end, if it is there when the source starts.
    End,
}

/// Whether the source waits for more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Follows files as they grow, come and go.
    #[default]
    Tail,
    /// Reads the files that are there to their end, one after the other; then the source ends.
    Once,
}

/// Options of `file`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FileConfig {
    /// Which files, as globs.
    pub include: Vec<PathBuf>,
    /// Which of them not, as globs.
    #[serde(default)]
    pub exclude: Vec<PathBuf>,
    /// Whether to follow the files (`tail`, default) or to read what is there and end (`once`).
    #[serde(default)]
    pub mode: Mode,
    /// Where a file without a checkpoint is begun: `beginning` (default) or `end`.
    #[serde(default)]
    pub read_from: ReadFrom,
    /// Whether checkpoints of earlier runs are ignored.
    #[serde(default)]
    pub ignore_checkpoints: Option<bool>,
    /// Files that have not changed for this many seconds are left alone.
    #[serde(default, alias = "ignore_older")]
    pub ignore_older_secs: Option<u64>,
    /// The longest line in bytes, its end not counted. A longer one is dropped, counted and told with its place
    /// and length. Default 1,048,576 (Vector: 102,400): the size that Kinesis takes without being asked.
    #[serde(default = "max_line_bytes")]
    pub max_line_bytes: usize,
    /// Accepted and not needed: each file is given one read of up to 256 KiB at a time.
    #[serde(default)]
    pub max_read_bytes: Option<usize>,
    /// How often new files are looked for, in milliseconds.
    #[serde(default = "glob_minimum_cooldown_ms", alias = "glob_minimum_cooldown")]
    pub glob_minimum_cooldown_ms: u64,
    /// How a file is known again after it was renamed or copied, or after a restart.
    #[serde(default, alias = "fingerprinting")]
    pub fingerprint: FingerprintConfig,
    /// What ends a line. With the default `\n` a `\r` before it belongs to the line's end.
    #[serde(default = "line_delimiter")]
    pub line_delimiter: String,
    /// Whether a file is read to its end before a younger one is looked at. Default: all files in turn.
    #[serde(default)]
    pub oldest_first: bool,
    /// Seconds after which a file is removed that was read to its end and whose events are all settled.
    #[serde(default, alias = "remove_after")]
    pub remove_after_secs: Option<u64>,
    /// Seconds that a file which is no longer found stays open at its end, for a writer that has not noticed yet.
    #[serde(default = "rotate_wait_secs", alias = "rotate_wait")]
    pub rotate_wait_secs: u64,
    /// Whether to be silent about files that vanish between being found and being opened.
    #[serde(default)]
    pub ignore_not_found: bool,
    /// The field for the file's path, in events made of plain bytes. Default `file`; empty: none.
    #[serde(default)]
    pub file_key: Option<String>,
    /// The field for the name of this machine, in events made of plain bytes. Default `host`; empty: none.
    #[serde(default)]
    pub host_key: Option<String>,
    /// The field for the position of the line, in events made of plain bytes. Default: none. Costs an allocation
    /// an event.
    #[serde(default)]
    pub offset_key: Option<String>,
    /// Where positions are kept, in place of the global `data_dir`; they go to a folder named after the source.
    #[serde(default)]
    pub data_dir: Option<PathBuf>,
    /// How records are read: `bytes` (default) or `json`.
    #[serde(default)]
    pub decoding: DecodingConfig,
    /// Not supported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multiline: Option<serde_json::Value>,
    /// Not supported, except `charset: utf-8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<serde_json::Value>,
}

fn max_line_bytes() -> usize {
    LINE_BYTES_MAX_DEFAULT
}

fn glob_minimum_cooldown_ms() -> u64 {
    1000
}

fn line_delimiter() -> String {
    "\n".to_owned()
}

/// Vector waits without end, so that rotated files stay open for ever. A minute is long for a writer to notice.
fn rotate_wait_secs() -> u64 {
    60
}

/// The options, checked.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) include: Vec<String>,
    pub(crate) exclude: Vec<Pattern>,
    pub(crate) mode: Mode,
    pub(crate) read_from: ReadFrom,
    pub(crate) ignore_older: Option<Duration>,
    pub(crate) cooldown: Duration,
    pub(crate) fingerprint: FingerprintConfig,
    pub(crate) rules: LineRules,
    pub(crate) oldest_first: bool,
    pub(crate) remove_after: Option<Duration>,
    pub(crate) rotate_wait: Duration,
    pub(crate) ignore_not_found: bool,
}

impl FileConfig {
    /// The settings.
    ///
    /// # Errors
    /// All mistakes, each in one sentence.
    pub(crate) fn settings(&self) -> Result<Settings, Vec<String>> {
        let mut errors = Vec::new();
        if self.include.is_empty() {
            errors.push("`include` names no file".to_owned());
        }
        let mut patterns = |option: &str, paths: &[PathBuf]| {
            let mut patterns = Vec::new();
            for path in paths {
                match Pattern::new(&path.to_string_lossy()) {
                    Ok(pattern) => patterns.push(pattern),
                    Err(error) => errors.push(format!("`{option}` entry {path:?} is no glob: {error}")),
                }
            }
            patterns
        };
        let include = patterns("include", &self.include);
        let exclude = patterns("exclude", &self.exclude);
        let delimiter = Delimiter::new(self.line_delimiter.as_bytes()).unwrap_or_else(|| {
            errors.push("`line_delimiter` must not be empty".to_owned());
            Delimiter::byte(b'\n')
        });
        if self.max_line_bytes == 0 {
            errors.push("`max_line_bytes` must be greater than 0".to_owned());
        }
        if matches!(self.fingerprint, FingerprintConfig::Checksum { lines: 0, .. }) {
            errors.push("`fingerprint.lines` must be greater than 0".to_owned());
        }
        if self.multiline.is_some() {
            errors.push("`multiline` is not supported: give this source one record a line".to_owned());
        }
        if let Some(encoding) = &self.encoding {
            let charset = encoding.get("charset").and_then(serde_json::Value::as_str).unwrap_or("");
            if !charset.eq_ignore_ascii_case("utf-8") {
                errors
                    .push("`encoding.charset` is not supported: give this source files in UTF-8".to_owned());
            }
        }
        for (option, name) in
            [("file_key", &self.file_key), ("host_key", &self.host_key), ("offset_key", &self.offset_key)]
        {
            errors.extend(check_field_name(option, name.as_deref()).err());
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(Settings {
            include: include.iter().map(|pattern| pattern.as_str().to_owned()).collect(),
            exclude,
            mode: self.mode,
            read_from: self.read_from,
            ignore_older: self.ignore_older_secs.map(Duration::from_secs),
            cooldown: Duration::from_millis(self.glob_minimum_cooldown_ms.max(1)),
            fingerprint: self.fingerprint,
            rules: LineRules { delimiter, max_line_bytes: self.max_line_bytes },
            oldest_first: self.oldest_first,
            remove_after: self.remove_after_secs.map(Duration::from_secs),
            rotate_wait: Duration::from_secs(self.rotate_wait_secs),
            ignore_not_found: self.ignore_not_found,
        })
    }
}
