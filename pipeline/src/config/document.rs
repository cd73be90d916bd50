//! Document: one tree and the files it came from, so that a path finds its file and line again.
//! In: texts. Out: an interpolated tree; places; values that may be shown.
//! A `-c` file is a document; so is a whole `-C` directory, whose files are merged.

use std::cell::Cell;
use std::path::PathBuf;

use serde_json::{Map, Value};

use super::diagnose::quoted;
use super::error::{ConfigError, Finding, Place, Step, Trail};
use super::merge::deep_merge;
use super::tree::{Format, SyntaxError, line_of, parse};
use super::vars::{Lookup, Vars, interpolate, refuse_secrets};

/// One file and the place in the document's tree at which it was put.
#[derive(Clone, Debug)]
pub(super) struct File {
    pub(super) name: Option<PathBuf>,
    pub(super) text: String,
    pub(super) format: Format,
    pub(super) mount: Trail,
    tree: Value,
}

/// One tree and the files it came from.
#[derive(Clone, Debug, Default)]
pub(super) struct Document {
    files: Vec<File>,
    pub(super) tree: Map<String, Value>,
    pub(super) vars: Vars,
    lookups: Cell<usize>,
}

/// Lines looked up in one document: each is a walk through a file, and nobody reads more errors than that.
const LINES_MAX: usize = 300;

impl Document {
    /// Merges one more file in at `mount`; what does not fit is told.
    pub(super) fn add(
        &mut self,
        name: Option<PathBuf>,
        text: String,
        format: Format,
        mount: Trail,
        errors: &mut Vec<ConfigError>,
    ) {
        let tree = match parse(&text, format) {
            Ok(tree) => tree,
            Err(SyntaxError { message, line }) => {
                let place = Place { file: name, line, path: String::new() };
                errors.push(ConfigError { place, message, hint: None });
                return;
            }
        };
        let file = File { name, text, format, mount, tree: Value::Object(tree.clone()) };
        let mounted = file.mount.0.iter().rev().fold(tree, |inner, step| {
            let Step::Key(key) = step else { return inner };
            Map::from_iter([(key.clone(), Value::Object(inner))])
        });
        let mut findings = Vec::new();
        deep_merge(&mut self.tree, mounted, &Trail::default(), &mut findings);
        errors.extend(findings.into_iter().map(|finding| {
            let place = file.place(&finding.trail);
            ConfigError { place, message: finding.message, hint: finding.hint }
        }));
        self.files.push(file);
    }

    /// Replaces variables; `None` leaves them as they are.
    pub(super) fn interpolate(&mut self, lookup: Option<Lookup<'_>>, errors: &mut Vec<ConfigError>) {
        let mut findings = Vec::new();
        // Before variables, so that no value is ever taken for a reference to a secret.
        refuse_secrets(&mut self.tree, &mut findings);
        if let Some(lookup) = lookup {
            self.vars = interpolate(&mut self.tree, lookup, &mut findings);
        }
        errors.extend(findings.into_iter().map(|finding| self.error(finding)));
    }

    /// The finding with its file and line.
    pub(super) fn error(&self, finding: Finding) -> ConfigError {
        // Told as the component's, shown where the key stands.
        let key = quoted(&finding.message, "unknown field ").map(|key| finding.trail.key(key));
        let at = key.filter(|key| self.depth(key) == key.0.len()).unwrap_or_else(|| finding.trail.clone());
        let place = Place { path: finding.trail.to_string(), ..self.place(&at) };
        ConfigError { place, message: finding.message, hint: finding.hint }
    }

    /// How many steps of `trail` stand in one of the files.
    pub(super) fn depth(&self, trail: &Trail) -> usize {
        self.files.iter().map(|file| file.depth(trail)).max().unwrap_or_default()
    }

    /// The file and line of `trail`, or of the nearest thing around it. Lines are looked up [`LINES_MAX`] times, no more.
    pub(super) fn place(&self, trail: &Trail) -> Place {
        let mut best: Option<(usize, &File)> = None;
        for file in &self.files {
            let depth = file.depth(trail);
            if best.is_none_or(|(so_far, _)| depth > so_far) {
                best = Some((depth, file));
            }
        }
        match best {
            Some((depth, file)) if depth > 0 || self.files.len() == 1 => {
                let lookups = self.lookups.get();
                self.lookups.set(lookups + 1);
                if lookups < LINES_MAX {
                    file.place(trail)
                } else {
                    Place { line: None, file: file.name.clone(), path: trail.to_string() }
                }
            }
            _ => Place { file: None, line: None, path: trail.to_string() },
        }
    }

    /// Whether the value at `trail` must not be shown.
    fn hidden(&self, trail: &Trail) -> bool {
        self.vars.touched.contains_key(trail) || is_secret(trail)
    }

    /// `text`, or what may be shown in its place.
    pub(super) fn shown(&self, trail: &Trail, text: &str) -> String {
        match self.vars.touched.get(trail) {
            Some(var) => var.raw.clone(),
            None if is_secret(trail) => HIDDEN.to_owned(),
            None => text.to_owned(),
        }
    }

    /// A value in serde's words, without the value itself if it must not be shown.
    pub(super) fn describe(&self, trail: &Trail, value: &Value) -> String {
        let hidden = self.hidden(trail);
        match value {
            Value::Null => "null".to_owned(),
            Value::Array(_) => "sequence".to_owned(),
            Value::Object(_) => "map".to_owned(),
            Value::String(text) => match self.shown(trail, text) {
                shown if hidden && shown == HIDDEN => format!("string {HIDDEN}"),
                shown => format!("string {shown:?}"),
            },
            Value::Bool(_) if hidden => "boolean".to_owned(),
            Value::Bool(value) => format!("boolean `{value}`"),
            Value::Number(_) if hidden => "number".to_owned(),
            Value::Number(number) if number.is_f64() => format!("floating point `{number}`"),
            Value::Number(number) => format!("integer `{number}`"),
        }
    }

    /// Pairs of what must not be shown and what is shown for it, below `trail`; the longest first.
    pub(super) fn masks(&self, trail: &Trail, value: &Value) -> Masks {
        let mut masks = Vec::new();
        self.collect_masks(trail, value, &mut masks);
        masks.sort_by_key(|(text, _): &(String, String)| std::cmp::Reverse(text.len()));
        Masks(masks)
    }

    fn collect_masks(&self, trail: &Trail, value: &Value, masks: &mut Vec<(String, String)>) {
        match value {
            Value::Object(map) => {
                map.iter().for_each(|(key, item)| self.collect_masks(&trail.key(key), item, masks));
            }
            Value::Array(list) => list
                .iter()
                .enumerate()
                .for_each(|(index, item)| self.collect_masks(&trail.index(index), item, masks)),
            scalar => {
                let text = scalar.as_str().map_or_else(|| scalar.to_string(), str::to_owned);
                if self.hidden(trail) && !text.is_empty() {
                    let shown = self.shown(trail, &text);
                    masks.push((text, shown));
                }
            }
        }
    }
}

impl File {
    /// How many steps of `trail` stand in this file.
    fn depth(&self, trail: &Trail) -> usize {
        if !trail.starts_with(&self.mount) {
            return 0;
        }
        let mut value = &self.tree;
        let mut depth = self.mount.0.len();
        for step in &trail.0[depth..] {
            let next = match step {
                Step::Key(key) => value.get(key),
                Step::Index(index) => value.get(index),
            };
            match next {
                Some(next) => value = next,
                None => break,
            }
            depth += 1;
        }
        depth
    }

    fn place(&self, trail: &Trail) -> Place {
        let depth = self.depth(trail);
        // What came by a merge key has no line of its own; what stands around it has.
        let line = (self.mount.0.len()..=depth).rev().find_map(|depth| {
            let inner = Trail(trail.0.get(self.mount.0.len()..depth)?.to_vec());
            line_of(&self.text, self.format, &inner)
        });
        Place { file: self.name.clone(), line, path: trail.to_string() }
    }
}

/// Shown in place of a secret.
pub(super) const HIDDEN: &str = "[hidden]";

/// Whether a key on the way looks as if it held a secret.
fn is_secret(trail: &Trail) -> bool {
    const MARKS: [&str; 9] = [
        "access_key",
        "secret",
        "token",
        "password",
        "passwd",
        "key_pass",
        "credential",
        "api_key",
        "private_key",
    ];
    trail.0.iter().any(|step| match step {
        Step::Key(key) => {
            let key = key.to_lowercase();
            MARKS.iter().any(|mark| key.contains(mark))
        }
        Step::Index(_) => false,
    })
}

/// What must not be shown, and what is shown for it.
#[derive(Clone, Debug, Default)]
pub(super) struct Masks(Vec<(String, String)>);

impl Masks {
    /// `message` without the values. Very short ones are taken out where they are quoted or stand alone, and words of
    /// a few letters only where they are quoted: they are too short to be secrets, and often part of the sentence.
    pub(super) fn apply(&self, message: &str) -> String {
        const BARE_CHARS_MIN: usize = 4;
        let mut message = message.to_owned();
        for (text, shown) in &self.0 {
            let quoted = if shown == HIDDEN { HIDDEN.to_owned() } else { format!("{shown:?}") };
            message = message.replace(&format!("{text:?}"), &quoted);
            message = message.replace(&format!("`{text}`"), &format!("`{shown}`"));
            if text.chars().count() >= BARE_CHARS_MIN {
                message = message.replace(text.as_str(), shown);
            } else if !text.chars().all(char::is_alphabetic) {
                message = replace_word(&message, text, shown);
            }
        }
        message
    }
}

/// Replaces `word` where no letter or digit touches it.
fn replace_word(message: &str, word: &str, shown: &str) -> String {
    let mut done = String::with_capacity(message.len());
    let mut from = 0;
    for (at, _) in message.match_indices(word) {
        let before = message[..at].chars().next_back();
        let after = message[at + word.len()..].chars().next();
        if [before, after].into_iter().flatten().any(char::is_alphanumeric) {
            continue;
        }
        done.push_str(&message[from..at]);
        done.push_str(shown);
        from = at + word.len();
    }
    done.push_str(&message[from..]);
    done
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn masks_replace_values_by_what_may_be_shown() {
        let masks = Masks(vec![("hunter22".into(), HIDDEN.into()), ("17".into(), "${N}".into())]);
        assert_eq!(
            masks.apply("string \"hunter22\", at http://hunter22@x, integer `17`, 17 or 170"),
            "string [hidden], at http://[hidden]@x, integer `${N}`, ${N} or 170"
        );
    }

    #[test]
    fn a_path_finds_the_file_and_line_that_say_it() {
        let mut errors = Vec::new();
        let mut document = Document::default();
        let root = "sinks:\n  out:\n    a: 1\n".to_owned();
        document.add(Some("root.yaml".into()), root, Format::Yaml, Trail::default(), &mut errors);
        let mount = Trail::of(&["sinks", "out"]);
        document.add(
            Some("sinks/out.toml".into()),
            "b = 1\n\nc = 2\n".into(),
            Format::Toml,
            mount,
            &mut errors,
        );
        assert!(errors.is_empty());
        let place = |keys: &[&str]| {
            let place = document.place(&Trail::of(keys));
            (place.file.unwrap().display().to_string(), place.line)
        };
        assert_eq!(place(&["sinks", "out", "a"]), ("root.yaml".into(), Some(3)));
        assert_eq!(place(&["sinks", "out", "c"]), ("sinks/out.toml".into(), Some(3)));
        assert_eq!(place(&["sinks", "out", "nope"]), ("root.yaml".into(), Some(2)));
    }
}
