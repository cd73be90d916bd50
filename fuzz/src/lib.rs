//! Fuzz: what must hold for any bytes, as plain functions, so that an ordinary test can replay what a fuzzer found.
//! In: bytes. Out: nothing, or a panic. `targets` has one function a target; `bin/` hands them to libFuzzer.
//! `profile` judges by the slow reference of the transform's own tests, which lives there.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub, dead_code)]

#[path = "../../transforms/tests/profile_export/agree.rs"]
mod agree;
#[path = "../../transforms/tests/profile_export/json.rs"]
mod json;
#[path = "../../transforms/tests/profile_export/reference.rs"]
mod reference;
#[path = "../../transforms/tests/profile_export/seen.rs"]
mod seen;
pub mod targets;
