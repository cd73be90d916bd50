//! Topology: a configuration, running.
//! In: a checked [`crate::config`]. Out: tasks joined by bounded queues, and how they ended.
//!
//! [`Topology::build`] makes the components and the queues between them, [`Topology::start`] spawns a task for
//! each, [`RunningTopology::run`] waits until they have ended or are told to; [`run()`] does all three.

mod builder;
mod fanout;
mod health;
mod host;
mod running;
mod sink_task;
pub(crate) mod telemetry;
mod transform_task;

pub use builder::{StartError, Topology};
pub use fanout::{Fanout, FanoutError};
pub use health::HealthReport;
pub use host::{RunError, RunOptions, run, run_text};
pub use running::{Failure, Outcome, RunningTopology, Stop};
pub use telemetry::ComponentLabels;

#[cfg(test)]
mod tests;
