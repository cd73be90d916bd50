//! Exit: what a verb tells the shell.
//! In: how a verb ended. Out: an exit code, the same for all verbs; and words that reach the user even when nobody logs.
//! A usage error (2) is clap's and never gets here.

use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

use crate::terminal;

/// How a verb ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// What was asked for is done.
    Done,
    /// The pipeline, or what was checked, failed.
    Failed,
    /// A configuration is wrong or missing.
    Config,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            // `EX_CONFIG` of sysexits.h, as in Vector.
            Exit::Config => 78,
        })
    }
}

/// A line of data on standard output. A reader that has left is no error: there is nobody to tell.
pub(crate) fn say(line: impl Display) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// A line on standard error, whatever the log level.
pub(crate) fn tell(line: impl Display) {
    terminal::write_above_status(format!("{line}\n").as_bytes());
}

/// Panics are bugs: one sentence, without the panic's message, which may quote an event. `RUST_BACKTRACE` shows all.
pub(crate) fn tell_of_panics() {
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let place = panic.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
        tell(format_args!(
            "x afluente has a bug and stops at {place}. Please report it; RUST_BACKTRACE=1 shows more \
             (and may show parts of an event)."
        ));
        if std::env::var_os("RUST_BACKTRACE").is_some_and(|value| value != "0") {
            default(panic);
        }
    }));
}
