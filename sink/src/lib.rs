//! Sinks: where events leave. `kinesis` is the heart; the small ones are a file each.
//! In: event arrays from the pipeline. Out: records, lines, files; every finalizer settled after its event is out.
//! Never: knows a source or a transform. Linking this crate registers all of them.

pub mod blackhole;
pub mod console;
pub mod file;
pub mod kinesis;
mod tally;
