//! Tree: text in one of three formats to one JSON-like tree, and back from a place in the tree to its line.
//! In: the text of a file. Out: a map, or what is wrong in which line.
//! Holds: at most [`NODES_MAX`] nodes and [`TREE_BYTES_MAX`] bytes of text, so that aliases cannot explode.
//! Never: shows the text itself in a message, for it may hold secrets.

use std::cell::Cell;
use std::fmt;
use std::path::Path;

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::{Map, Number, Value};

use super::error::{Step, Trail};

/// Most maps, lists and scalars of one file, aliases expanded. Chosen: far beyond any real configuration.
const NODES_MAX: usize = 1_000_000;
/// Most bytes of keys and strings of one file, aliases expanded. Chosen.
const TREE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Largest file that is read. Chosen.
pub(super) const FILE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Brackets open at once. The YAML scanner's time grows with the square of it; what nests this deep is refused later
/// anyway (every parser here stops at about 100 levels).
const OPEN_BRACKETS_MAX: usize = 1000;
/// The key by which the TOML library marks a date.
const TOML_DATE: &str = "$__toml_private_datetime";

/// The format of a configuration file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// YAML 1.1 with merge keys.
    Yaml,
    /// TOML 1.1.
    Toml,
    /// JSON.
    Json,
}

impl Format {
    /// By extension: `yaml`, `yml`, `toml`, `json`, in lower case only, as Vector has it.
    #[must_use]
    pub fn from_path(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "yaml" | "yml" => Some(Self::Yaml),
            "toml" => Some(Self::Toml),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}

/// What is wrong with a text, and in which line, counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SyntaxError {
    pub(super) message: String,
    pub(super) line: Option<usize>,
}

/// Reads `text` into a map.
pub(super) fn parse(text: &str, format: Format) -> Result<Map<String, Value>, SyntaxError> {
    if text.len() > FILE_BYTES_MAX {
        let message = format!("the file has {} bytes; at most {FILE_BYTES_MAX} are read", text.len());
        return Err(SyntaxError { message, line: None });
    }
    if let Some(line) = too_deep(text) {
        let message = format!("more than {OPEN_BRACKETS_MAX} brackets are open here");
        return Err(SyntaxError { message, line: Some(line) });
    }
    let budget = Budget { nodes: Cell::new(NODES_MAX), bytes: Cell::new(TREE_BYTES_MAX) };
    let seed = Node { budget: &budget, yaml: format == Format::Yaml, root: true };
    match run(text, format, seed)? {
        Value::Object(map) => Ok(map),
        other => Err(SyntaxError {
            message: format!(
                "expected a map with keys such as `sources` and `sinks`, found {}",
                kind(&other)
            ),
            line: None,
        }),
    }
}

/// The line in which too many brackets are open. Brackets in strings count too: no real text has so many.
fn too_deep(text: &str) -> Option<usize> {
    let mut open = 0_usize;
    let mut line = 1;
    for byte in text.bytes() {
        match byte {
            b'[' | b'{' => open += 1,
            b']' | b'}' => open = open.saturating_sub(1),
            b'\n' => line += 1,
            _ => {}
        }
        if open > OPEN_BRACKETS_MAX {
            return Some(line);
        }
    }
    None
}

/// The line in which `trail` stands in `text`, counted from 1, if it can be told.
pub(super) fn line_of(text: &str, format: Format, trail: &Trail) -> Option<usize> {
    if trail.0.is_empty() {
        return None;
    }
    let found = Cell::new(false);
    let result = run(text, format, Locate { steps: &trail.0, found: &found });
    result.err().filter(|_| found.get())?.line
}

/// `a map`, `a list`, `a string` and so on.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing (null)",
        Value::Bool(_) => "a boolean",
        Value::Number(number) if number.is_f64() => "a decimal number",
        Value::Number(_) => "an integer",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}

fn run<'de, S: DeserializeSeed<'de>>(
    text: &'de str,
    format: Format,
    seed: S,
) -> Result<S::Value, SyntaxError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match format {
        Format::Yaml => seed.deserialize(serde_yaml_ng::Deserializer::from_str(text)).map_err(|error| {
            let mut message = error.to_string();
            let location = error.location();
            if let Some(at) = &location {
                let place = format!(" at line {} column {}", at.line(), at.column());
                message = message.strip_suffix(&place).map(str::to_owned).unwrap_or(message);
            }
            let line = location.map(|at| at.line());
            let near = line.and_then(|line| text.lines().nth(line - 1)).unwrap_or_default();
            if near.contains("${") && matches!(format, Format::Yaml) {
                message.push_str("; inside [ ] and { }, variables need quotes: \"${NAME}\"");
            }
            SyntaxError { message, line }
        }),
        Format::Json => {
            let mut deserializer = serde_json::Deserializer::from_str(text);
            let result = seed.deserialize(&mut deserializer);
            result.and_then(|value| deserializer.end().map(|()| value)).map_err(|error| {
                let place = format!(" at line {} column {}", error.line(), error.column());
                let message = error.to_string();
                let message = message.strip_suffix(&place).unwrap_or(&message).to_owned();
                SyntaxError { message, line: (error.line() > 0).then(|| error.line()) }
            })
        }
        Format::Toml => toml::Deserializer::parse(text)
            .and_then(|deserializer| seed.deserialize(deserializer))
            .map_err(|error| {
                let newlines = |end: usize| text.bytes().take(end).filter(|byte| *byte == b'\n').count();
                let line = error.span().map(|span| 1 + newlines(span.start));
                SyntaxError { message: error.message().to_owned(), line }
            }),
    }
}

struct Budget {
    nodes: Cell<usize>,
    bytes: Cell<usize>,
}

impl Budget {
    fn take<E: Error>(&self, nodes: usize, bytes: usize) -> Result<(), E> {
        let nodes = self.nodes.get().checked_sub(nodes);
        let bytes = self.bytes.get().checked_sub(bytes);
        match (nodes, bytes) {
            (Some(nodes), Some(bytes)) => {
                self.nodes.set(nodes);
                self.bytes.set(bytes);
                Ok(())
            }
            _ => Err(E::custom(format!(
                "the configuration is too large: more than {NODES_MAX} values or {TREE_BYTES_MAX} bytes of text \
                 once all aliases are expanded"
            ))),
        }
    }
}

/// Reads any value.
#[derive(Clone, Copy)]
struct Node<'a> {
    budget: &'a Budget,
    yaml: bool,
    root: bool,
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

fn too_large<E: Error>() -> E {
    E::custom("integer values larger than i64::MAX are not supported")
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a configuration value")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        self.budget.take(1, 0)?;
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        self.budget.take(1, 0)?;
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        self.visit_i64(i64::try_from(value).map_err(|_| too_large())?)
    }

    fn visit_i128<E: Error>(self, value: i128) -> Result<Value, E> {
        self.visit_i64(i64::try_from(value).map_err(|_| too_large())?)
    }

    fn visit_u128<E: Error>(self, value: u128) -> Result<Value, E> {
        self.visit_i64(i64::try_from(value).map_err(|_| too_large())?)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        self.budget.take(1, 0)?;
        let number = Number::from_f64(value);
        number.map(Value::Number).ok_or_else(|| E::custom("NaN and infinite numbers are not supported"))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        self.budget.take(1, value.len())?;
        Ok(value.into())
    }

    /// `null`.
    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        self.budget.take(1, 0)?;
        Ok(Value::Null)
    }

    /// An empty YAML file.
    fn visit_none<E: Error>(self) -> Result<Value, E> {
        if self.root { Ok(Value::Object(Map::new())) } else { self.visit_unit() }
    }

    fn visit_enum<A: EnumAccess<'de>>(self, _: A) -> Result<Value, A::Error> {
        Err(A::Error::custom("YAML tags (`!name`) are not supported"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        self.budget.take(1, 0)?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(Self { root: false, ..self })? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        self.budget.take(1, 0)?;
        let mut map = Map::new();
        let mut merges = None;
        while let Some(key) = entries.next_key_seed(Key { map: &map })? {
            self.budget.take(1, key.len())?;
            let value = entries.next_value_seed(Self { root: false, ..self })?;
            match key.as_str() {
                "<<" if self.yaml => match merges {
                    None => merges = Some(value),
                    Some(_) => return Err(A::Error::custom("duplicate key `<<`; give one list of maps")),
                },
                TOML_DATE => return Ok(value),
                _ => {
                    map.insert(key, value);
                }
            }
        }
        let sources = match merges {
            None => Vec::new(),
            Some(Value::Array(list)) => list,
            Some(one) => vec![one],
        };
        for source in sources {
            let Value::Object(source) = source else {
                return Err(A::Error::custom("`<<` merges a map or a list of maps, nothing else"));
            };
            for (key, value) in source {
                map.entry(key).or_insert(value);
            }
        }
        Ok(Value::Object(map))
    }
}

/// Reads a key that `map` does not hold yet.
struct Key<'a> {
    map: &'a Map<String, Value>,
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Key<'_> {
    type Value = String;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a string as key; put it in quotes")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<String, E> {
        if self.map.contains_key(key) {
            return Err(E::custom(format!("duplicate key `{key}`")));
        }
        Ok(key.to_owned())
    }

    fn visit_enum<A: EnumAccess<'de>>(self, _: A) -> Result<String, A::Error> {
        Err(A::Error::custom("YAML tags (`!name`) are not supported"))
    }
}

/// Walks to a place and stops there with an error, which the parser furnishes with the line.
#[derive(Clone, Copy)]
struct Locate<'a> {
    steps: &'a [Step],
    found: &'a Cell<bool>,
}

impl Locate<'_> {
    fn here<E: Error>(self) -> E {
        self.found.set(true);
        E::custom("here")
    }
}

impl<'de> DeserializeSeed<'de> for Locate<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.steps {
            [] => Err(self.here()),
            _ => deserializer.deserialize_any(self),
        }
    }
}

impl<'de> Visitor<'de> for Locate<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a map or a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let [Step::Index(index), rest @ ..] = self.steps else {
            return Err(A::Error::custom("not here"));
        };
        for _ in 0..*index {
            if items.next_element::<IgnoredAny>()?.is_none() {
                return Ok(());
            }
        }
        items.next_element_seed(Element { steps: rest, found: self.found })?;
        Err(A::Error::custom("not here"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let [Step::Key(key), rest @ ..] = self.steps else {
            return Err(A::Error::custom("not here"));
        };
        let last = rest.is_empty();
        while let Some(hit) = entries.next_key_seed(KeyIs { key, stop: last.then_some(self) })? {
            if hit {
                return entries.next_value_seed(Self { steps: rest, ..self });
            }
            entries.next_value::<IgnoredAny>()?;
        }
        Err(A::Error::custom("not here"))
    }
}

/// An element of a list; the last step stops at it whatever it is.
struct Element<'a> {
    steps: &'a [Step],
    found: &'a Cell<bool>,
}

impl<'de> DeserializeSeed<'de> for Element<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let inner = Locate { steps: self.steps, found: self.found };
        if self.steps.is_empty() {
            deserializer.deserialize_any(Stop(inner))
        } else {
            inner.deserialize(deserializer)
        }
    }
}

/// Stops at any value, so that the parser knows where it is.
struct Stop<'a>(Locate<'a>);

impl<'de> Visitor<'de> for Stop<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A scalar ends here: the error that the default visitor methods make is the one that is wanted.
        self.0.found.set(true);
        formatter.write_str("nothing")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        Err(self.0.here())
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        Err(self.0.here())
    }
}

/// Whether a key is `key`; stops there if it is the last step.
struct KeyIs<'a> {
    key: &'a str,
    stop: Option<Locate<'a>>,
}

impl<'de> DeserializeSeed<'de> for KeyIs<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for KeyIs<'_> {
    type Value = bool;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a string as key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<bool, E> {
        match self.stop {
            Some(stop) if key == self.key => Err(stop.here()),
            _ => Ok(key == self.key),
        }
    }
}

#[cfg(test)]
#[path = "tree/tests.rs"]
mod tests;
