//! Program: the binary under test, run to its end.
//! In: arguments, bytes for standard input. Out: exit code and both outputs as text.

use std::ffi::OsStr;
use std::io::Write;
use std::process::{Child, Command, Stdio};

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Starts the program with no variables of ours or AWS' in its environment.
pub(crate) fn start(args: &[&dyn AsRef<OsStr>]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_afluente"));
    for (name, _) in std::env::vars_os() {
        let name_text = name.to_string_lossy();
        if name_text.starts_with("AFLUENTE_")
            || name_text.starts_with("AWS_")
            || name_text.to_lowercase().ends_with("_proxy")
        {
            command.env_remove(&name);
        }
    }
    for arg in args {
        command.arg(arg);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Runs the program on `input` to its end.
pub(crate) fn run(args: &[&dyn AsRef<OsStr>], input: &[u8]) -> Ended {
    let mut child = start(args);
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // Beside reading, so that no pipe fills up. A program that ends early reads no more.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    Ended {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}
