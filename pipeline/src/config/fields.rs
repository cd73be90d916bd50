//! Fields: the keys of one map, read by hand where every mistake counts.
//! In: a map of the tree. Out: values, and findings in serde's words with the path of the very key.
//! Never: shows a value that came from a variable or stands under a key that looks secret.

use serde_json::{Map, Value};

use super::document::Document;
use super::error::{Finding, Trail, did_you_mean};
use super::vars::typed;

/// What was found so far.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) errors: Vec<Finding>,
    pub(super) warnings: Vec<Finding>,
}

impl Report {
    pub(super) fn error(&mut self, trail: Trail, message: impl Into<String>) {
        self.errors.push(Finding::new(trail, message));
    }

    pub(super) fn warn(&mut self, trail: Trail, message: impl Into<String>) {
        self.warnings.push(Finding::new(trail, message));
    }
}

/// What an unknown key is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Unknown {
    Refused,
    /// Where Vector swallows it.
    Warned,
}

/// A map and where it stands.
#[derive(Clone)]
pub(super) struct Fields<'a> {
    document: &'a Document,
    pub(super) trail: Trail,
    map: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    /// The map at `trail`, or a finding that there is none.
    pub(super) fn of(
        document: &'a Document,
        trail: Trail,
        value: &'a Value,
        report: &mut Report,
    ) -> Option<Self> {
        match value {
            Value::Object(map) => Some(Self { document, trail, map }),
            other => {
                let found = document.describe(&trail, other);
                report.error(trail, format!("invalid type: {found}, expected a map"));
                None
            }
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key)
    }

    /// The value, retyped if it is one variable and nothing else.
    fn scalar(&self, key: &str) -> Option<Value> {
        let value = self.get(key)?;
        match value {
            Value::String(text) if self.document.vars.is_whole(&self.trail.key(key)) => {
                Some(typed(text).unwrap_or_else(|| value.clone()))
            }
            other => Some(other.clone()),
        }
    }

    /// A finding that the value is not what was expected, unless a missing variable explains it.
    pub(super) fn wrong(&self, key: &str, expected: &str, report: &mut Report) {
        let trail = self.trail.key(key);
        if let Some(value) = self.get(key)
            && !self.document.vars.broken_below(&trail)
        {
            let found = self.document.describe(&trail, value);
            report.error(trail, format!("invalid type: {found}, expected {expected}"));
        }
    }

    /// A boolean.
    pub(super) fn bool(&self, key: &str, report: &mut Report) -> Option<bool> {
        let value = self.scalar(key)?;
        value.as_bool().or_else(|| {
            self.wrong(key, "a boolean", report);
            None
        })
    }

    /// A string; `null` is as good as none.
    pub(super) fn text(&self, key: &str, report: &mut Report) -> Option<&'a str> {
        match self.get(key)? {
            Value::String(text) => Some(text),
            Value::Null => None,
            _ => {
                self.wrong(key, "a string", report);
                None
            }
        }
    }

    /// A whole number of at least `min`.
    pub(super) fn count(&self, key: &str, min: usize, report: &mut Report) -> Option<usize> {
        let value = self.scalar(key)?;
        let Some(number) = value.as_i64() else {
            self.wrong(key, "a whole number", report);
            return None;
        };
        match usize::try_from(number) {
            Ok(count) if count >= min => Some(count),
            _ => {
                let trail = self.trail.key(key);
                let found = self.document.describe(&trail, &value);
                report.error(trail, format!("invalid value: {found}, expected at least {min}"));
                None
            }
        }
    }

    /// A number, decimal or whole.
    pub(super) fn number(&self, key: &str, report: &mut Report) -> Option<f64> {
        let value = self.scalar(key)?;
        value.as_f64().or_else(|| {
            self.wrong(key, "a number", report);
            None
        })
    }

    /// A list of strings.
    pub(super) fn texts(&self, key: &str, report: &mut Report) -> Option<Vec<String>> {
        let Value::Array(list) = self.get(key)? else {
            self.wrong(key, "a sequence", report);
            return None;
        };
        let mut texts = Vec::with_capacity(list.len());
        for (index, item) in list.iter().enumerate() {
            match item {
                Value::String(text) => texts.push(text.clone()),
                other => {
                    let trail = self.trail.key(key).index(index);
                    let found = self.document.describe(&trail, other);
                    report.error(trail, format!("invalid type: {found}, expected a string"));
                }
            }
        }
        Some(texts)
    }

    /// A value that the JSON of `T`'s serde form describes, such as an enum by name.
    pub(super) fn one_of<T: Copy>(
        &self,
        key: &str,
        known: &[(&'static str, T)],
        report: &mut Report,
    ) -> Option<T> {
        let text = self.text(key, report)?;
        if let Some((_, value)) = known.iter().find(|(name, _)| *name == text) {
            return Some(*value);
        }
        let trail = self.trail.key(key);
        if self.document.vars.broken_below(&trail) {
            return None;
        }
        let names: Vec<_> = known.iter().map(|(name, _)| *name).collect();
        let shown = self.document.shown(&trail, text);
        let finding =
            Finding::new(trail, format!("unknown variant `{shown}`, expected {}", expected(&names)));
        report.errors.push(finding.hint(did_you_mean(text, names)));
        None
    }

    /// A map under `key`.
    pub(super) fn fields(&self, key: &str, report: &mut Report) -> Option<Self> {
        let value = self.get(key)?;
        Self::of(self.document, self.trail.key(key), value, report)
    }

    /// Finds keys that are not `known`.
    pub(super) fn unknown(&self, known: &[&'static str], unknown: Unknown, report: &mut Report) {
        for key in self.map.keys().filter(|key| !known.contains(&key.as_str())) {
            let trail = self.trail.key(key);
            let hint = did_you_mean(key, known.iter().copied());
            match unknown {
                Unknown::Refused => {
                    let message = format!("unknown field `{key}`, expected {}", expected(known));
                    report.errors.push(Finding::new(trail, message).hint(hint));
                }
                Unknown::Warned => {
                    let message = format!("unknown field `{key}` is ignored");
                    report.warnings.push(Finding::new(trail, message).hint(hint));
                }
            }
        }
    }
}

/// `one of `a`, `b`` as serde says it.
pub(super) fn expected(names: &[&str]) -> String {
    let quoted: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.as_slice() {
        [] => "none".to_owned(),
        [one] => one.clone(),
        _ => format!("one of {}", quoted.join(", ")),
    }
}
