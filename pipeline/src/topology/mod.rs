//! Topology: a configuration, running.
//! In: a checked [`crate::config`]. Out: tasks joined by bounded queues, and how they ended.

mod fanout;

pub use fanout::{Fanout, FanoutError};
