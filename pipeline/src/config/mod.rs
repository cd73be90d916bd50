//! Configuration: from files to a graph of components that fits together.
//! In: YAML, TOML and JSON files in Vector's format. Out: a [`Config`] or all mistakes at once.
//! Never: builds a component or opens a connection.
//!
//! The way of a text: `loading` finds it, `tree` parses it, `document` keeps it beside its tree, `merge` joins a
//! directory, `vars` puts variables in, `builder` reads it (`globals`, `component`, `buffer`), `graph` wires it.

mod buffer;
mod builder;
mod component;
mod diagnose;
mod document;
mod error;
mod fields;
mod globals;
mod graph;
mod json_schema;
mod loading;
mod merge;
mod model;
mod options;
mod shape;
#[cfg(test)]
mod tests;
mod tree;
mod vars;

pub use error::{ConfigError, ConfigWarning, Place};
pub use json_schema::json_schema;
pub use loading::{
    ConfigPath, LoadOptions, Loaded, LoadedTransform, load, load_from_str, load_transform_from_str, load_with,
};
pub use model::{
    ApiOptions, Config, DEFAULT_API_ADDRESS, HealthcheckOptions, SinkOuter, SourceOuter, TransformOuter,
};
pub use options::{
    AcknowledgementsConfig, BufferConfig, DEFAULT_BUFFER_EVENTS, DEFAULT_DATA_DIR, GlobalOptions,
    ProxyConfig, SinkHealthcheckOptions, WhenFull,
};
pub use tree::Format;
