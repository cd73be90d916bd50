//! Configuration: from files to a graph of components that fits together.
//! In: YAML, TOML and JSON files in Vector's format. Out: a [`Config`] or all mistakes at once.
//! Never: builds a component or opens a connection.

mod options;

pub use options::{
    AcknowledgementsConfig, BufferConfig, DEFAULT_BUFFER_EVENTS, DEFAULT_DATA_DIR, GlobalOptions,
    ProxyConfig, SinkHealthcheckOptions, WhenFull,
};
