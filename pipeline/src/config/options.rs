//! Options that every pipeline has and that components are handed: globals, acknowledgements, proxy, buffer, health check.
//! In: parts of configuration files. Out: plain values with Vector's defaults, except where a comment says why not.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where checkpoints and the like are kept by default.
pub const DEFAULT_DATA_DIR: &str = "/var/lib/vector/";

/// Options of the whole pipeline that components may need.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GlobalOptions {
    /// Where components keep their state. Must exist and be writable once one needs it.
    pub data_dir: Option<PathBuf>,
    /// Whether sources wait for their events to be settled.
    pub acknowledgements: AcknowledgementsConfig,
    /// Proxies for outgoing connections.
    pub proxy: ProxyConfig,
}

impl GlobalOptions {
    /// `data_dir`, or Vector's default.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.data_dir.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_DATA_DIR))
    }
}

/// `acknowledgements: true`, or `acknowledgements: {enabled: true}`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AcknowledgementsConfig {
    /// Whether sources wait until this sink has settled their events. Unset: the global setting.
    enabled: Option<bool>,
}

impl AcknowledgementsConfig {
    /// What was said, if anything.
    #[must_use]
    pub fn get(&self) -> Option<bool> {
        self.enabled
    }

    /// Whether acknowledgements are on. Unset means **on** here (off in Vector): nothing is lost by default.
    #[must_use]
    pub fn enabled(&self) -> bool {
        self.enabled.unwrap_or(true)
    }

    /// `self` where it says something, else `other`.
    #[must_use]
    pub fn merge_default(&self, other: &Self) -> Self {
        Self { enabled: self.enabled.or(other.enabled) }
    }
}

impl From<bool> for AcknowledgementsConfig {
    fn from(enabled: bool) -> Self {
        Self { enabled: Some(enabled) }
    }
}

/// The forms that users write.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected true, false or a map with `enabled`")]
enum AcknowledgementsForm {
    /// The short form.
    Bool(bool),
    /// The long form.
    Map {
        /// Whether sources wait until this sink has settled their events. Unset: the global setting.
        enabled: Option<bool>,
    },
    /// As if unset.
    Null(()),
}

impl<'de> Deserialize<'de> for AcknowledgementsConfig {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match AcknowledgementsForm::deserialize(deserializer)? {
            AcknowledgementsForm::Bool(enabled) => enabled.into(),
            AcknowledgementsForm::Map { enabled } => Self { enabled },
            AcknowledgementsForm::Null(()) => Self::default(),
        })
    }
}

impl JsonSchema for AcknowledgementsConfig {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "AcknowledgementsConfig".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        AcknowledgementsForm::json_schema(generator)
    }
}

/// Proxies for outgoing connections. Environment variables are the weakest, then the global setting, then the component's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ProxyConfig {
    /// Whether any proxy is used at all.
    pub enabled: bool,
    /// Proxy for `http://` destinations.
    pub http: Option<String>,
    /// Proxy for `https://` destinations.
    pub https: Option<String>,
    /// Hosts, domains (`.example.org`), addresses and networks that are reached directly; `*` is all.
    pub no_proxy: Vec<String>,
}

impl Default for ProxyConfig {
    fn default() -> Self {
        Self { enabled: true, http: None, https: None, no_proxy: Vec::new() }
    }
}

impl ProxyConfig {
    /// `self` where it says something, else `weaker`.
    #[must_use]
    pub fn merge(&self, weaker: &Self) -> Self {
        Self {
            enabled: self.enabled && weaker.enabled,
            http: self.http.clone().or_else(|| weaker.http.clone()),
            https: self.https.clone().or_else(|| weaker.https.clone()),
            no_proxy: if self.no_proxy.is_empty() { weaker.no_proxy.clone() } else { self.no_proxy.clone() },
        }
    }

    /// What `http_proxy`, `https_proxy` and `no_proxy` say in the process's environment, lower case first.
    #[must_use]
    pub fn from_env() -> Self {
        Self::from_lookup(&|name| std::env::var(name).ok())
    }

    /// The same with another way to look variables up.
    #[must_use]
    pub fn from_lookup(lookup: &dyn Fn(&str) -> Option<String>) -> Self {
        let read = |lower: &str, upper: &str| {
            [lower, upper].into_iter().filter_map(lookup).find(|value| !value.is_empty())
        };
        let no_proxy = read("no_proxy", "NO_PROXY").unwrap_or_default();
        Self {
            enabled: true,
            http: read("http_proxy", "HTTP_PROXY"),
            https: read("https_proxy", "HTTPS_PROXY"),
            no_proxy: no_proxy
                .split(',')
                .map(str::trim)
                .filter(|part| !part.is_empty())
                .map(str::to_owned)
                .collect(),
        }
    }
}

/// How a sink's health check is run.
#[derive(Clone, Debug, PartialEq)]
pub struct SinkHealthcheckOptions {
    /// Whether it is run at all.
    pub enabled: bool,
    /// The longest it may take.
    pub timeout: Duration,
    /// An address of its own, where the sink knows what to do with one.
    pub uri: Option<String>,
}

impl Default for SinkHealthcheckOptions {
    fn default() -> Self {
        Self { enabled: true, timeout: Duration::from_secs(10), uri: None }
    }
}

/// What a full buffer does with the next events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhenFull {
    /// Waits; the wait reaches the source.
    #[default]
    Block,
    /// Lets the new events go. They count as discarded, and as delivered to a source that waits for them.
    DropNewest,
    /// Hands them to the next stage of the buffer.
    Overflow,
}

/// Events a memory buffer holds by default, as in Vector.
pub const DEFAULT_BUFFER_EVENTS: usize = 500;

/// The buffer in front of a sink.
#[derive(Clone, Debug, PartialEq)]
pub struct BufferConfig {
    /// Most events that wait in front of the sink. An array larger than this waits for an empty buffer, then enters.
    pub max_events: usize,
    /// Most bytes that wait in front of the sink, if limited by bytes (`max_size`).
    pub max_size_bytes: Option<usize>,
    /// What happens when it is full.
    pub when_full: WhenFull,
    /// The byte budget of a sink that keeps one (`aws_kinesis_streams`): everything it holds, queued, in flight or
    /// waiting to be sent again. Unset: the sink's default.
    pub max_bytes: Option<usize>,
}

impl Default for BufferConfig {
    fn default() -> Self {
        Self {
            max_events: DEFAULT_BUFFER_EVENTS,
            max_size_bytes: None,
            when_full: WhenFull::Block,
            max_bytes: None,
        }
    }
}
