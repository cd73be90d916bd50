//! The pipeline: events, finalizers, component traits, configuration, codecs and topology.
//! In: configuration files and linked components. Out: a running topology.
//! Never: names a component, a cloud service or a file format of events beyond its codecs.
//!
//! Names and shapes follow vector-core, so that a component written here moves into a Vector tree by
//! changing its imports. The way of an event: source → [`SourceSender`] → fan-out → buffer → transform → … → sink,
//! as [`event::EventArray`]s; its finalizer goes back to the source when the last copy is settled.

pub mod accounting;
pub mod buffers;
pub mod codecs;
pub mod component;
pub mod config;
pub mod event;
pub mod shutdown;
pub mod sink;
mod source_sender;
pub mod spare;
pub mod topology;
pub mod transform;

pub use inventory;
pub use source_sender::{CHUNK_EVENTS, SendError, SourceSender};

/// Any error that ends at a user's eyes.
pub type Error = Box<dyn std::error::Error + Send + Sync>;
/// What fallible component methods return.
pub type Result<T> = std::result::Result<T, Error>;
