//! Configuration: from files to a graph of components that fits together.
//! In: YAML, TOML and JSON files in Vector's format. Out: a [`Config`] or all mistakes at once.
//! Never: builds a component or opens a connection.

mod model;
mod options;

pub use model::{
    ApiOptions, Config, DEFAULT_API_ADDRESS, HealthcheckOptions, SinkOuter, SourceOuter, TransformOuter,
};
pub use options::{
    AcknowledgementsConfig, BufferConfig, DEFAULT_BUFFER_EVENTS, DEFAULT_DATA_DIR, GlobalOptions,
    ProxyConfig, SinkHealthcheckOptions, WhenFull,
};
