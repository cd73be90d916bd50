//! Errors and warnings of configurations: what is wrong, where, and what was probably meant.
//! In: findings of the other files of this room. Out: one line each.
//! Never: shows the value of a secret or of an environment variable.

use std::fmt;
use std::path::PathBuf;

/// One step from a map or list to what it holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Step {
    /// Into a map.
    Key(String),
    /// Into a list.
    Index(usize),
}

/// The way from the root of a configuration to a place in it; shows as `sinks.out.inputs[0]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Trail(pub(super) Vec<Step>);

impl Trail {
    pub(super) fn of(keys: &[&str]) -> Self {
        Self(keys.iter().map(|key| Step::Key((*key).to_owned())).collect())
    }

    #[must_use]
    pub(super) fn key(&self, key: &str) -> Self {
        let mut steps = self.0.clone();
        steps.push(Step::Key(key.to_owned()));
        Self(steps)
    }

    #[must_use]
    pub(super) fn index(&self, index: usize) -> Self {
        let mut steps = self.0.clone();
        steps.push(Step::Index(index));
        Self(steps)
    }

    #[must_use]
    pub(super) fn join(&self, rest: &Self) -> Self {
        Self(self.0.iter().chain(&rest.0).cloned().collect())
    }

    pub(super) fn starts_with(&self, prefix: &Self) -> bool {
        self.0.starts_with(&prefix.0)
    }
}

impl fmt::Display for Trail {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if position == 0 => formatter.write_str(key)?,
                Step::Key(key) => write!(formatter, ".{key}")?,
                Step::Index(index) => write!(formatter, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// Where something stands in the files of a configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The file, if it is known and there is one.
    pub file: Option<PathBuf>,
    /// The line in it, counted from 1, if it is known.
    pub line: Option<usize>,
    /// The way to it, e.g. `sinks.out.inputs[0]`; empty for the whole file.
    pub path: String,
}

impl fmt::Display for Place {
    /// Ends in `: ` unless empty, so that a message can follow.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(formatter, "{}:", file.display())?;
            if let Some(line) = self.line {
                write!(formatter, "{line}:")?;
            }
            formatter.write_str(" ")?;
        } else if let Some(line) = self.line {
            write!(formatter, "line {line}: ")?;
        }
        if !self.path.is_empty() {
            write!(formatter, "{}: ", self.path)?;
        }
        Ok(())
    }
}

/// A mistake that keeps a configuration from being used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}{message}{}", Hint(hint))]
pub struct ConfigError {
    /// Where it is.
    pub place: Place,
    /// What is wrong; Vector's words where it has some.
    pub message: String,
    /// What may have been meant, or what to do.
    pub hint: Option<String>,
}

/// Something in a configuration that is probably not meant, or has no effect here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigWarning {
    /// Where it is.
    pub place: Place,
    /// What is odd; Vector's words where it has some.
    pub message: String,
    /// What may have been meant, or what to do.
    pub hint: Option<String>,
}

impl fmt::Display for ConfigWarning {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}{}{}", self.place, self.message, Hint(&self.hint))
    }
}

struct Hint<'a>(&'a Option<String>);

impl fmt::Display for Hint<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(hint) => write!(formatter, " ({hint})"),
            None => Ok(()),
        }
    }
}

/// A finding whose file and line are not looked up yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) trail: Trail,
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

impl Finding {
    pub(super) fn new(trail: Trail, message: impl Into<String>) -> Self {
        Self { trail, message: message.into(), hint: None }
    }

    #[must_use]
    pub(super) fn hint(mut self, hint: impl Into<Option<String>>) -> Self {
        self.hint = hint.into();
        self
    }
}

/// The candidate that `name` is most likely a typo of, as a question; `None` if none is near.
pub(super) fn did_you_mean<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(name, candidates).map(|near| format!("did you mean `{near}`?"))
}

/// The candidate nearest to `name`, if at most about a third of its letters differ.
pub(super) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Longer names are nobody's typo, and the distance is quadratic.
    const NAME_CHARS_MAX: usize = 100;
    let chars = name.chars().count();
    if chars > NAME_CHARS_MAX {
        return None;
    }
    let lower = name.to_lowercase();
    candidates
        .into_iter()
        .filter(|candidate| *candidate != name && candidate.len() <= 4 * NAME_CHARS_MAX)
        .map(|candidate| (strsim::damerau_levenshtein(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= (chars.max(candidate.chars().count()) / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found_and_far_ones_are_not() {
        let known = ["inputs", "type", "batch", "encoding"];
        assert_eq!(nearest("imputs", known), Some("inputs"));
        assert_eq!(nearest("endcoding", known), Some("encoding"));
        assert_eq!(nearest("Batch", known), Some("batch"));
        assert_eq!(nearest("compression", known), None);
    }

    #[test]
    fn a_place_shows_file_line_and_path() {
        let error = ConfigError {
            place: Place { file: Some("a.yaml".into()), line: Some(3), path: "sinks.out".into() },
            message: "unknown field `bogus`".into(),
            hint: did_you_mean("bogus", ["bonus"]),
        };
        assert_eq!(error.to_string(), "a.yaml:3: sinks.out: unknown field `bogus` (did you mean `bonus`?)");
        let trail = Trail::of(&["sinks", "out"]).key("inputs").index(2);
        assert_eq!(trail.to_string(), "sinks.out.inputs[2]");
    }
}
