//! Config: what a user writes for `profile_export` (specification, section 6), and what comes out of reading it.
//! In: JSON (or YAML, TOML) values.  Out: a typed configuration, or one error with code, place and advice.
//! Holds: words, ranges, defaults. For what needs a second look (paths, duplicates) see `plan.rs`.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use super::error::{ConfigError, ConfigErrorCode};
use super::mapper::Mapper;
use super::plan::Plan;

/// Smallest and largest `max_depth`. The upper bound keeps the reader's stack of open containers small (1 bit each).
pub(crate) const MAX_DEPTH: std::ops::RangeInclusive<u64> = 3..=1000;
/// A century: beyond it nobody means a retention, and the arithmetic stays far from overflow.
pub(crate) const RETENTION_DAYS: std::ops::RangeInclusive<u64> = 0..=36_500;
/// Memory slots are linked by 32-bit numbers; more than this many profiles are never remembered at once.
pub(crate) const STATE_PROFILES_CEILING: u64 = (u32::MAX - 1) as u64;

/// Configuration of one `profile_export` transform. Every key is optional; an unknown key is an error.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ProfileExportConfig {
    /// JSON Pointer (RFC 6901) to the profile inside the record, for example `/body/xdmEntity`. Empty: the record is the profile.
    pub input_root: String,
    /// Whether `xdm:` names, `@id` and `@type` are read as their platform spelling.
    pub key_style: KeyStyle,
    /// Deepest nesting of objects and arrays in a record; the root object is level 1. Deeper records are dropped.
    #[schemars(range(min = 3, max = 1000))]
    pub max_depth: u64,
    /// Mapped attributes: dot paths into the profile. `\.` is a dot inside a key, `\\` a backslash.
    pub attributes: Vec<AttributeSelector>,
    /// Whether array values are exported or count as absent.
    pub arrays: Arrays,
    /// Mapped segments (audiences).
    pub segments: Vec<Segment>,
    /// Which memberships are exported.
    pub segment_scope: SegmentScope,
    /// Adds the configured `name` to mapped memberships.
    pub include_segment_names: bool,
    /// Adds the configured times to mapped memberships.
    pub include_segment_timestamps: bool,
    /// `current` writes the status `existing` as `realized`, as Adobe does since May 2023.
    pub status_vocabulary: StatusVocabulary,
    /// What to do with memberships whose status is not `realized`, `existing` or `exited`.
    pub unknown_status: UnknownStatus,
    /// What to do with members whose `validUntil` has passed.
    pub expired_memberships: ExpiredMemberships,
    /// Leaves out exits older than this many days; 0 keeps all.
    #[schemars(range(max = 36500))]
    pub exited_retention_days: u64,
    /// Whether identity namespaces are written as they came or in ASCII lower case.
    pub identity_namespace_case: NamespaceCase,
    /// What to do with an event that has no usable identity.
    pub on_missing_identity: OnMissingIdentity,
    /// Which usable events are exported.
    pub trigger: Trigger,
    /// What counts as a change of an attribute (`trigger: change`).
    pub attribute_change: AttributeChange,
    /// Exports profiles at first sight even if they qualified earlier (`trigger: change`).
    pub backfill: bool,
    /// Identity namespaces that name a profile, best first, case ignored. Empty: all.
    pub key_namespaces: Vec<String>,
    /// How many profiles `trigger: change` remembers; the one seen least recently is forgotten first.
    #[schemars(range(min = 1))]
    pub state_max_profiles: u64,
}

impl Default for ProfileExportConfig {
    fn default() -> Self {
        Self {
            input_root: String::new(),
            key_style: KeyStyle::default(),
            max_depth: 64,
            attributes: Vec::new(),
            arrays: Arrays::default(),
            segments: Vec::new(),
            segment_scope: SegmentScope::default(),
            include_segment_names: false,
            include_segment_timestamps: false,
            status_vocabulary: StatusVocabulary::default(),
            unknown_status: UnknownStatus::default(),
            expired_memberships: ExpiredMemberships::default(),
            exited_retention_days: 0,
            identity_namespace_case: NamespaceCase::default(),
            on_missing_identity: OnMissingIdentity::default(),
            trigger: Trigger::default(),
            attribute_change: AttributeChange::default(),
            backfill: true,
            key_namespaces: Vec::new(),
            state_max_profiles: 100_000,
        }
    }
}

/// A mapped attribute: a path alone, or a path with the operator of Adobe's API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum AttributeSelector {
    /// A dot path.
    Path(String),
    /// A dot path with an operator.
    Selector {
        /// The dot path.
        path: String,
        /// `EXISTS`, the only operator there is: export the field if it is there.
        #[serde(default)]
        operator: Operator,
    },
}

impl AttributeSelector {
    /// The dot path, as written.
    pub fn path(&self) -> &str {
        match self {
            Self::Path(path) | Self::Selector { path, .. } => path,
        }
    }
}

/// A mapped segment (audience).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Segment {
    /// The segment id, matched exactly. Not empty.
    #[schemars(length(min = 1))]
    pub id: String,
    /// The namespace under which memberships of this segment appear, case ignored. Not empty.
    #[serde(default = "ups")]
    #[schemars(length(min = 1))]
    pub namespace: String,
    /// The name to export with `include_segment_names`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// When the segment was created: milliseconds since 1970-01-01T00:00:00Z.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 9223372036854775807_u64))]
    pub created_at: Option<u64>,
    /// When the segment was last updated: milliseconds since 1970-01-01T00:00:00Z.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 9223372036854775807_u64))]
    pub updated_at: Option<u64>,
    /// When the segment was mapped to the destination: milliseconds since 1970-01-01T00:00:00Z.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 9223372036854775807_u64))]
    pub mapping_created_at: Option<u64>,
    /// When that mapping was last updated: milliseconds since 1970-01-01T00:00:00Z.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 9223372036854775807_u64))]
    pub mapping_updated_at: Option<u64>,
}

fn ups() -> String {
    "ups".to_owned()
}

impl Segment {
    /// A mapped segment of the platform's own namespace, without name or times.
    pub fn new(id: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            namespace: ups(),
            name: None,
            created_at: None,
            updated_at: None,
            mapping_created_at: None,
            mapping_updated_at: None,
        }
    }
}

/// One table per word list: the enum, its words, and how a word is found again.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
        pub enum $name {
            $($(#[$variant_doc])* #[serde(rename = $word)] $variant),+
        }

        impl Word for $name {
            const WORDS: &'static [(&'static str, Self)] = &[$(($word, Self::$variant)),+];
        }
    };
}

trait Word: Sized + Copy + 'static {
    const WORDS: &'static [(&'static str, Self)];
}

words! {
    /// How field names are read (specification, 5.2).
    KeyStyle {
        /// Both XDM spellings are read, the output is in platform spelling.
        #[default] Platform = "platform",
        /// Names are taken as they are.
        AsIs = "as_is",
    }
}
words! {
    /// What happens to arrays.
    Arrays {
        /// They are exported.
        #[default] Export = "export",
        /// They count as absent.
        Omit = "omit",
    }
}
words! {
    /// Which memberships are exported.
    SegmentScope {
        /// Every membership.
        #[default] All = "all",
        /// Those of mapped segments.
        Mapped = "mapped",
    }
}
words! {
    /// Which words the output uses for a status.
    StatusVocabulary {
        /// The words of the input.
        #[default] Keep = "keep",
        /// `existing` becomes `realized`.
        Current = "current",
    }
}
words! {
    /// What happens to memberships with an unknown status word.
    UnknownStatus {
        /// They are ignored.
        #[default] Omit = "omit",
        /// They are exported with that word and trigger nothing.
        Keep = "keep",
    }
}
words! {
    /// What happens to members whose `validUntil` has passed.
    ExpiredMemberships {
        /// They are kept.
        #[default] Keep = "keep",
        /// They are ignored.
        Omit = "omit",
    }
}
words! {
    /// How identity namespaces are written.
    NamespaceCase {
        /// As they came.
        #[default] Keep = "keep",
        /// In ASCII lower case; namespaces that become equal are joined.
        Lower = "lower",
    }
}
words! {
    /// What happens to an event without usable identity.
    OnMissingIdentity {
        /// It is dropped (`no_identity`).
        #[default] Drop = "drop",
        /// It is exported with an empty `identityMap`.
        Export = "export",
    }
}
words! {
    /// Which usable events are exported (specification, section 8).
    Trigger {
        /// Every one.
        #[default] Every = "every",
        /// Those with a mapped segment and a transition or a mapped attribute. No memory.
        Relevant = "relevant",
        /// Those that differ from what is remembered of their profile.
        Change = "change",
    }
}
words! {
    /// What counts as a change of an attribute.
    AttributeChange {
        /// Another value than the remembered one.
        #[default] Value = "value",
        /// That the event carries it, same value or not.
        Write = "write",
    }
}
words! {
    /// The operator of an attribute selector.
    Operator {
        /// Export the field if it is there.
        #[default] Exists = "EXISTS",
    }
}

impl ProfileExportConfig {
    /// Reads and checks a configuration. The first problem found is the error.
    pub fn from_json(value: Value) -> Result<Self, ConfigError> {
        let mut fields = Fields::of(value, String::new(), "the configuration")?;
        fields.refuse_unknown(KEYS)?;
        let default = Self::default();
        let config = Self {
            input_root: fields.text("input_root")?.unwrap_or(default.input_root),
            key_style: fields.word("key_style")?,
            max_depth: fields.integer("max_depth", MAX_DEPTH)?.unwrap_or(default.max_depth),
            attributes: fields.list("attributes", attribute)?,
            arrays: fields.word("arrays")?,
            segments: fields.list("segments", segment)?,
            segment_scope: fields.word("segment_scope")?,
            include_segment_names: fields.flag("include_segment_names", default.include_segment_names)?,
            include_segment_timestamps: fields
                .flag("include_segment_timestamps", default.include_segment_timestamps)?,
            status_vocabulary: fields.word("status_vocabulary")?,
            unknown_status: fields.word("unknown_status")?,
            expired_memberships: fields.word("expired_memberships")?,
            exited_retention_days: fields
                .integer("exited_retention_days", RETENTION_DAYS)?
                .unwrap_or(default.exited_retention_days),
            identity_namespace_case: fields.word("identity_namespace_case")?,
            on_missing_identity: fields.word("on_missing_identity")?,
            trigger: fields.word("trigger")?,
            attribute_change: fields.word("attribute_change")?,
            backfill: fields.flag("backfill", default.backfill)?,
            key_namespaces: fields.list("key_namespaces", |value, place| match value {
                Value::String(text) => Ok(text),
                other => Err(ConfigError::bad_value(
                    place,
                    format!("found {}, expected the name of a namespace", Found(&other)),
                )),
            })?,
            state_max_profiles: fields
                .integer("state_max_profiles", 1..=u64::MAX)?
                .unwrap_or(default.state_max_profiles),
        };
        Plan::compile(&config)?;
        Ok(config)
    }

    /// Compiles the configuration into a mapper with an empty memory. Checks again, because a configuration can also
    /// be built in code.
    pub fn compile(&self) -> Result<Mapper, ConfigError> {
        Ok(Mapper::new(Plan::compile(self)?))
    }
}

/// Serde's way in (the pipeline's config files). The error text keeps the code: see [`ConfigErrorCode::find_in`].
impl<'de> Deserialize<'de> for ProfileExportConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        Self::from_json(value).map_err(serde::de::Error::custom)
    }
}

const KEYS: &[&str] = &[
    "input_root",
    "key_style",
    "max_depth",
    "attributes",
    "arrays",
    "segments",
    "segment_scope",
    "include_segment_names",
    "include_segment_timestamps",
    "status_vocabulary",
    "unknown_status",
    "expired_memberships",
    "exited_retention_days",
    "identity_namespace_case",
    "on_missing_identity",
    "trigger",
    "attribute_change",
    "backfill",
    "key_namespaces",
    "state_max_profiles",
];

fn attribute(value: Value, place: &str) -> Result<AttributeSelector, ConfigError> {
    if let Value::String(path) = value {
        return Ok(AttributeSelector::Path(path));
    }
    let mut fields = Fields::of(value, place.to_owned(), "an attribute (or a path as text)")?;
    fields.refuse_unknown(&["path", "operator"])?;
    let path = fields.required("path", "the dot path of the attribute")?;
    match fields.map.remove("operator") {
        None => {}
        Some(Value::String(word)) if word == "EXISTS" => {}
        Some(other) => {
            return Err(ConfigError::new(
                ConfigErrorCode::UnknownOperator,
                format!("{place}.operator"),
                format!(
                    "found {}, the only operator is `EXISTS`; leave the key out or write that",
                    Found(&other)
                ),
            ));
        }
    }
    Ok(AttributeSelector::Selector { path, operator: Operator::Exists })
}

fn segment(value: Value, place: &str) -> Result<Segment, ConfigError> {
    let mut fields = Fields::of(value, place.to_owned(), "a mapped segment")?;
    fields.refuse_unknown(&[
        "id",
        "namespace",
        "name",
        "created_at",
        "updated_at",
        "mapping_created_at",
        "mapping_updated_at",
    ])?;
    Ok(Segment {
        id: fields.required("id", "the id of the segment")?,
        namespace: fields.text("namespace")?.unwrap_or_else(ups),
        name: fields.text("name")?,
        created_at: fields.milliseconds("created_at")?,
        updated_at: fields.milliseconds("updated_at")?,
        mapping_created_at: fields.milliseconds("mapping_created_at")?,
        mapping_updated_at: fields.milliseconds("mapping_updated_at")?,
    })
}

/// The members of one object of the configuration, taken out one by one.
struct Fields {
    map: Map<String, Value>,
    place: String,
}

impl Fields {
    fn of(value: Value, place: String, what: &str) -> Result<Self, ConfigError> {
        match value {
            Value::Object(map) => Ok(Self { map, place }),
            other => {
                let place = if place.is_empty() { "profile_export".to_owned() } else { place };
                Err(ConfigError::bad_value(
                    place,
                    format!("found {}, but {what} is an object with keys", Found(&other)),
                ))
            }
        }
    }

    fn at(&self, key: &str) -> String {
        if self.place.is_empty() { key.to_owned() } else { format!("{}.{key}", self.place) }
    }

    fn refuse_unknown(&self, known: &[&str]) -> Result<(), ConfigError> {
        let Some(key) = self.map.keys().find(|key| !known.contains(&key.as_str())) else { return Ok(()) };
        let advice = match nearest(key, known) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known keys are {}", known.join(", ")),
        };
        Err(ConfigError::new(ConfigErrorCode::UnknownKey, self.at(key), format!("unknown key; {advice}")))
    }

    fn text(&mut self, key: &str) -> Result<Option<String>, ConfigError> {
        match self.map.remove(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => {
                Err(ConfigError::bad_value(self.at(key), format!("found {}, expected text", Found(&other))))
            }
        }
    }

    fn required(&mut self, key: &str, what: &str) -> Result<String, ConfigError> {
        self.text(key)?.ok_or_else(|| ConfigError::bad_value(self.at(key), format!("missing; it is {what}")))
    }

    fn flag(&mut self, key: &str, default: bool) -> Result<bool, ConfigError> {
        match self.map.remove(key) {
            None => Ok(default),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(other) => Err(ConfigError::bad_value(
                self.at(key),
                format!("found {}, expected `true` or `false`", Found(&other)),
            )),
        }
    }

    fn word<W: Word + Default>(&mut self, key: &str) -> Result<W, ConfigError> {
        let Some(value) = self.map.remove(key) else { return Ok(W::default()) };
        let found =
            value.as_str().and_then(|text| W::WORDS.iter().find(|(word, _)| *word == text).map(|(_, w)| *w));
        found.ok_or_else(|| {
            let words: Vec<String> = W::WORDS.iter().map(|(word, _)| format!("`{word}`")).collect();
            ConfigError::bad_value(
                self.at(key),
                format!("found {}, expected one of {}", Found(&value), words.join(", ")),
            )
        })
    }

    /// An integer in a range. `64.0` is refused: a value with a fraction is a slip, and TOML and YAML tell them apart.
    fn integer(
        &mut self,
        key: &str,
        range: std::ops::RangeInclusive<u64>,
    ) -> Result<Option<u64>, ConfigError> {
        let Some(value) = self.map.remove(key) else { return Ok(None) };
        match value.as_u64().filter(|number| range.contains(number)) {
            Some(number) => Ok(Some(number)),
            None => {
                let expected = if *range.end() == u64::MAX {
                    format!("an integer from {}", range.start())
                } else {
                    format!("an integer from {} to {}", range.start(), range.end())
                };
                Err(ConfigError::bad_value(
                    self.at(key),
                    format!("found {}, expected {expected}", Found(&value)),
                ))
            }
        }
    }

    fn milliseconds(&mut self, key: &str) -> Result<Option<u64>, ConfigError> {
        let Some(value) = self.map.remove(key) else { return Ok(None) };
        match value.as_u64().filter(|number| i64::try_from(*number).is_ok()) {
            Some(number) => Ok(Some(number)),
            None => Err(bad_timestamp(self.at(key), &Found(&value))),
        }
    }

    fn list<T>(
        &mut self,
        key: &str,
        read: impl Fn(Value, &str) -> Result<T, ConfigError>,
    ) -> Result<Vec<T>, ConfigError> {
        match self.map.remove(key) {
            None => Ok(Vec::new()),
            Some(Value::Array(items)) => {
                let place = self.at(key);
                items.into_iter().enumerate().map(|(i, item)| read(item, &format!("{place}[{i}]"))).collect()
            }
            Some(other) => {
                Err(ConfigError::bad_value(self.at(key), format!("found {}, expected a list", Found(&other))))
            }
        }
    }
}

pub(crate) fn bad_timestamp(place: String, found: &dyn fmt::Display) -> ConfigError {
    ConfigError::new(
        ConfigErrorCode::BadTimestamp,
        place,
        format!("found {found}, expected milliseconds since 1970 as an integer from 0 to {}", i64::MAX),
    )
}

/// A value as an error shows it: short, and with its type if it is not a scalar.
struct Found<'a>(&'a Value);

impl fmt::Display for Found<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LONGEST: usize = 60;
        match self.0 {
            Value::Null => f.write_str("null"),
            Value::Bool(flag) => write!(f, "{flag}"),
            Value::Number(number) => write!(f, "{number}"),
            Value::String(text) if text.chars().count() <= LONGEST => write!(f, "{text:?}"),
            Value::String(text) => {
                let start: String = text.chars().take(LONGEST).collect();
                write!(f, "{start:?}…")
            }
            Value::Array(_) => f.write_str("a list"),
            Value::Object(_) => f.write_str("an object"),
        }
    }
}

/// The known key that is most like `key`, if any is like it at all (a third of its letters may differ).
fn nearest<'a>(key: &str, known: &[&'a str]) -> Option<&'a str> {
    // Long enough for every known key; a monstrous one costs nothing.
    const LONGEST: usize = 64;
    let folded: String = key.chars().take(LONGEST).collect::<String>().to_ascii_lowercase().replace('-', "_");
    let distance = |name: &&'a str| (strsim::damerau_levenshtein(&folded, name), *name);
    let (distance, near) = known.iter().map(distance).min()?;
    (distance <= (near.len() / 3).max(1)).then_some(near)
}
