//! `map`: a `profile_export` mapping, tried on standard input.
//! In: a record a line (its base64 with `--base64`). Out: exactly one line for each, in order: `{"export":…}`,
//! `{"dropped":"reason"}` or `{"skipped":"reason"}`; `{"config_error":"code"}` and exit 78 if the mapping is wrong.
//! A record is all bytes of its line but the line feed; an empty line is a record too. Lines may have any length.
//! A line that is no base64 where base64 is asked for is answered `{"dropped":"invalid_json"}` and told on standard error.

use std::io::{self, ErrorKind, Read, Write};
use std::time::SystemTime;

use afluente::pipeline::config::Config;
use afluente::transforms::profile_export::{
    ConfigErrorCode, Mapper, Outcome, ProfileExportConfig, Timestamp,
};
use clap::Args;
use serde_json::Value;

use crate::cli::ConfigArgs;
use crate::exit::{Exit, say, tell};
use crate::loading::{error_line, warning_line};

/// Bytes of one read: what a pipe holds at most, twice.
const READ_BYTES: usize = 128 * 1024;
/// Scratch beyond this is given back after the line that needed it.
const KEPT_BYTES: usize = 4 * 1024 * 1024;

/// Options of `map`.
#[derive(Args, Debug)]
pub(crate) struct MapArgs {
    /// A pipeline's configuration, or a JSON file that holds the options of one `profile_export` alone.
    #[command(flatten)]
    config: ConfigArgs,
    /// The transform to try, where a pipeline has several.
    #[arg(long, value_name = "ID")]
    transform: Option<String>,
    /// Each line is a record's base64: for records with line feeds in them, or without UTF-8.
    #[arg(long)]
    base64: bool,
    /// The time that the mapping takes for now, e.g. 2026-01-31T12:00:00Z.
    #[arg(long, value_name = "RFC3339", value_parser = time)]
    now: Option<Timestamp>,
}

fn time(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text).ok_or_else(|| "not a time: write it as 2026-01-31T12:00:00Z".to_owned())
}

/// Why there is no mapping.
struct Refusal {
    code: ConfigErrorCode,
    lines: Vec<String>,
}

impl Refusal {
    /// The code is looked for in the lines; a mistake that has none is a bad value.
    fn of(lines: Vec<String>) -> Self {
        let code = lines.iter().find_map(|line| ConfigErrorCode::find_in(line));
        Self { code: code.unwrap_or(ConfigErrorCode::BadValue), lines }
    }
}

/// Maps standard input.
pub(crate) fn map(args: &MapArgs) -> Exit {
    let mapper = match mapping(args).and_then(|config| {
        config.compile().map_err(|error| Refusal { code: error.code, lines: vec![format!("x {error}")] })
    }) {
        Ok(mapper) => mapper,
        Err(refusal) => {
            refusal.lines.iter().for_each(tell);
            say(format_args!(r#"{{"config_error":"{}"}}"#, refusal.code));
            return Exit::Config;
        }
    };
    let mut lines = Lines {
        mapper,
        now: args.now,
        base64: args.base64,
        number: 0,
        record: Vec::new(),
        export: Vec::new(),
        out: Vec::with_capacity(READ_BYTES),
    };
    match lines.run(io::stdin().lock(), io::stdout().lock()) {
        Ok(()) => Exit::Done,
        // The reader has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Exit::Done,
        Err(error) => {
            tell(format_args!("x after {} records: {error}", lines.number));
            Exit::Failed
        }
    }
}

/// The mapping that was asked for.
fn mapping(args: &MapArgs) -> Result<ProfileExportConfig, Refusal> {
    if let Some(bare) = bare(args) {
        return ProfileExportConfig::from_json(bare)
            .map_err(|error| Refusal { code: error.code, lines: vec![format!("x {error}")] });
    }
    let loaded = args.config.load().map_err(|errors| Refusal::of(errors.iter().map(error_line).collect()))?;
    loaded.warnings.iter().for_each(|warning| tell(warning_line(warning)));
    chosen(&loaded.config, args.transform.as_deref()).map_err(|sentence| Refusal::of(vec![sentence]))
}

/// The JSON of a file that holds a transform's options alone: a document without a pipeline's sections.
fn bare(args: &MapArgs) -> Option<Value> {
    let paths = &args.config;
    let [path] = [&paths.config, &paths.config_json].into_iter().flatten().collect::<Vec<_>>()[..] else {
        return None;
    };
    let text = std::fs::read(path).ok()?;
    let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&text);
    let value: Value = serde_json::from_slice(text).ok()?;
    let pipeline = ["sources", "transforms", "sinks"].iter().any(|section| value.get(section).is_some());
    (!pipeline).then_some(value)
}

fn chosen(config: &Config, id: Option<&str>) -> Result<ProfileExportConfig, String> {
    let mappings: Vec<_> = config
        .transforms
        .iter()
        .filter_map(|(key, outer)| {
            Some((key.id(), outer.inner.as_any()?.downcast_ref::<ProfileExportConfig>()?))
        })
        .collect();
    let ids = || mappings.iter().map(|(id, _)| format!("`{id}`")).collect::<Vec<_>>().join(", ");
    match (id, &mappings[..]) {
        (_, []) => Err("x no transform of type profile_export is configured".to_owned()),
        (None, [(_, only)]) => Ok((*only).clone()),
        (None, _) => Err(format!("x there are several: choose one with --transform: {}", ids())),
        (Some(id), _) => match mappings.iter().find(|(known, _)| *known == id) {
            Some((_, found)) => Ok((*found).clone()),
            None => Err(format!("x no profile_export is called `{id}`; there is {}", ids())),
        },
    }
}

/// Lines in, lines out.
struct Lines {
    mapper: Mapper,
    now: Option<Timestamp>,
    base64: bool,
    /// Records so far.
    number: u64,
    record: Vec<u8>,
    export: Vec<u8>,
    out: Vec<u8>,
}

impl Lines {
    /// Answers what one read brought before the next read, so that a writer that waits for answers gets them.
    fn run(&mut self, mut input: impl Read, mut output: impl Write) -> io::Result<()> {
        let mut buffer = vec![0; READ_BYTES];
        let mut begun: Vec<u8> = Vec::new();
        loop {
            let read = match input.read(&mut buffer) {
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if read == 0 {
                break;
            }
            let mut rest = &buffer[..read];
            while let Some(end) = memchr(rest) {
                let (line, after) = (&rest[..end], &rest[end + 1..]);
                if begun.is_empty() {
                    self.line(line);
                } else {
                    begun.extend_from_slice(line);
                    self.line(&begun);
                    begun.clear();
                    begun.shrink_to(KEPT_BYTES);
                }
                self.spill(&mut output)?;
                rest = after;
            }
            begun.extend_from_slice(rest);
            self.flush(&mut output)?;
        }
        // A last line needs no line feed; without any byte there is none.
        if !begun.is_empty() {
            self.line(&begun);
        }
        self.flush(&mut output)
    }

    fn spill(&mut self, output: &mut impl Write) -> io::Result<()> {
        if self.out.len() < READ_BYTES {
            return Ok(());
        }
        output.write_all(&self.out)?;
        self.out.clear();
        self.out.shrink_to(KEPT_BYTES);
        Ok(())
    }

    fn flush(&mut self, output: &mut impl Write) -> io::Result<()> {
        output.write_all(&self.out)?;
        self.out.clear();
        output.flush()
    }

    /// Appends exactly one line to `out`.
    fn line(&mut self, line: &[u8]) {
        self.number += 1;
        if !self.base64 {
            return self.record(line);
        }
        let text = line.strip_suffix(b"\r").unwrap_or(line);
        match base64_simd::STANDARD.decode_to_vec(text) {
            Ok(bytes) => {
                self.record = bytes;
                let record = std::mem::take(&mut self.record);
                self.record(&record);
            }
            Err(_) => {
                tell(format_args!("x line {} is not base64", self.number));
                self.out.extend_from_slice(b"{\"dropped\":\"invalid_json\"}\n");
            }
        }
    }

    fn record(&mut self, record: &[u8]) {
        let now = match self.now {
            Some(now) => now,
            None if self.mapper.needs_clock() => SystemTime::now().into(),
            None => Timestamp::default(),
        };
        self.export.clear();
        let mut key = Vec::new();
        let (name, reason) = match self.mapper.map(record, now, &mut self.export, &mut key) {
            Outcome::Export => {
                self.out.extend_from_slice(b"{\"export\":");
                self.out.extend_from_slice(&self.export);
                self.out.extend_from_slice(b"}\n");
                self.export.clear();
                self.export.shrink_to(KEPT_BYTES);
                return;
            }
            Outcome::Dropped(reason) => ("dropped", reason.as_str()),
            Outcome::Skipped(reason) => ("skipped", reason.as_str()),
        };
        for part in ["{\"", name, "\":\"", reason, "\"}\n"] {
            self.out.extend_from_slice(part.as_bytes());
        }
    }
}

fn memchr(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|byte| *byte == b'\n')
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Gives one piece a read.
    struct Pieces(Vec<Vec<u8>>);

    impl Read for Pieces {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() {
                return Ok(0);
            }
            let piece = self.0.remove(0);
            buffer[..piece.len()].copy_from_slice(&piece);
            Ok(piece.len())
        }
    }

    fn run(pieces: &[&[u8]], base64: bool) -> String {
        let config =
            ProfileExportConfig::from_json(serde_json::json!({"on_missing_identity": "export"})).unwrap();
        let mut lines = Lines {
            mapper: config.compile().unwrap(),
            now: None,
            base64,
            number: 0,
            record: Vec::new(),
            export: Vec::new(),
            out: Vec::new(),
        };
        let mut out = Vec::new();
        lines.run(Pieces(pieces.iter().map(|piece| piece.to_vec()).collect()), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    const EMPTY: &str = r#"{"export":{"segmentMembership":{},"identityMap":{}}}"#;

    #[test]
    fn every_line_gets_one_answer_however_it_is_cut() {
        assert_eq!(run(&[], false), "");
        assert_eq!(run(&[b"{}"], false), format!("{EMPTY}\n"));
        let out = run(&[b"{", b"}\n\n{\"a\":", b"1}\r\n[]\n"], false);
        let lines: Vec<_> = out.lines().collect();
        assert_eq!(lines, [EMPTY, r#"{"dropped":"invalid_json"}"#, EMPTY, r#"{"dropped":"not_an_object"}"#]);
    }

    #[test]
    fn base64_carries_line_feeds_and_what_is_none_gets_an_answer_too() {
        let out = run(&[b"ewp9\n", b"!!\n", b"\n", b"/w==\r\n"], true);
        let lines: Vec<_> = out.lines().collect();
        assert_eq!(
            lines,
            [
                EMPTY,
                r#"{"dropped":"invalid_json"}"#,
                r#"{"dropped":"invalid_json"}"#,
                r#"{"dropped":"invalid_utf8"}"#
            ]
        );
    }
}
