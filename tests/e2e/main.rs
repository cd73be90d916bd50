//! End to end: the program as a user runs it, a module a theme.
//! In: configuration files, lines on standard input, a fault server in place of Kinesis. Out: what a user would see.
//! Never: leaves the machine, sleeps, shares a port or a file between two tests.
#![allow(clippy::unwrap_used, reason = "a test may stop loudly")]

mod bench;
mod bounded;
mod check;
mod exit_codes;
mod files;
mod observability;
mod pluggable;
mod program;
mod redrive;
mod run_to_kinesis;
mod shutdown;
#[path = "../support/mod.rs"]
mod support;
mod vectors;
