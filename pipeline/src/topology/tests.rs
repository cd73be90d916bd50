//! Tests of the topology, with toy components that are registered as any third party's are.
#![allow(clippy::unwrap_used)]

mod books;
mod ends;
mod flow;
mod metrics;
mod toys;
