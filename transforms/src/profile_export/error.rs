//! Configuration errors of `profile_export`: a code of the specification (section 6) and a sentence for the user.
//! In: what `config.rs` and `plan.rs` found wrong.  Out: one error that keeps its code even as text, because a config that
//! comes through serde can only carry text. Never: holds profile content.

use std::fmt;

/// The codes of section 6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConfigErrorCode {
    /// A key that the configuration does not know.
    UnknownKey,
    /// Wrong type, unknown word, number out of range, missing `id` or `path`.
    BadValue,
    /// `input_root` is not a JSON Pointer.
    BadPointer,
    /// An attribute path with an empty step or a stray backslash.
    BadAttributePath,
    /// An operator other than `EXISTS`.
    UnknownOperator,
    /// A segment time that is not an integer from 0 to 2^63-1.
    BadTimestamp,
    /// The same namespace (case ignored) and id twice.
    DuplicateSegment,
    /// `segment_scope` is `mapped` and `segments` is empty.
    MappedScopeWithoutSegments,
}

impl ConfigErrorCode {
    const ALL: [Self; 8] = [
        Self::UnknownKey,
        Self::BadValue,
        Self::BadPointer,
        Self::BadAttributePath,
        Self::UnknownOperator,
        Self::BadTimestamp,
        Self::DuplicateSegment,
        Self::MappedScopeWithoutSegments,
    ];

    /// The code as the specification writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnknownKey => "unknown_key",
            Self::BadValue => "bad_value",
            Self::BadPointer => "bad_pointer",
            Self::BadAttributePath => "bad_attribute_path",
            Self::UnknownOperator => "unknown_operator",
            Self::BadTimestamp => "bad_timestamp",
            Self::DuplicateSegment => "duplicate_segment",
            Self::MappedScopeWithoutSegments => "mapped_scope_without_segments",
        }
    }

    /// Finds the code again in the text of an error that wraps a [`ConfigError`] (serde errors are only text): the
    /// last `[code]` in it.
    pub fn find_in(text: &str) -> Option<Self> {
        let found = Self::ALL.into_iter().filter_map(|code| {
            let at = text.rfind(&format!("[{}]", code.as_str()))?;
            Some((at, code))
        });
        found.max_by_key(|(at, _)| *at).map(|(_, code)| code)
    }
}

impl fmt::Display for ConfigErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is wrong with a configuration, where, and what to do. Displayed as one sentence that ends in `[code]`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {message} [{code}]")]
pub struct ConfigError {
    /// The code of the specification.
    pub code: ConfigErrorCode,
    /// Where: the path of the key inside this transform's configuration, for example `segments[1].id`.
    pub place: String,
    /// The value found, what is allowed, what to do.
    pub message: String,
}

impl ConfigError {
    pub(crate) fn new(code: ConfigErrorCode, place: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code, place: place.into(), message: message.into() }
    }

    pub(crate) fn bad_value(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(ConfigErrorCode::BadValue, place, message)
    }
}
