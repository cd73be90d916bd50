//! Verbs: one file or folder each. Every verb takes its own options and gives an exit.

pub(crate) mod bench;
pub(crate) mod check;
pub(crate) mod demo;
pub(crate) mod local_kinesis;
pub(crate) mod map;
pub(crate) mod redrive;
pub(crate) mod run;
pub(crate) mod validate;
