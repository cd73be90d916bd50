//! Terminal: standard error, shared by log lines and one line of live status below them.
//! In: whole lines; the status of the moment. Out: lines that scroll, a status that stays.
//! Holds: the text of the status line. Never: draws a status when standard error is not a terminal.

use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};

use tracing_subscriber::fmt::MakeWriter;

/// Back to the start of the line, and clear it.
const CLEAR: &[u8] = b"\r\x1b[2K";

static STATUS: Mutex<String> = Mutex::new(String::new());

/// Whether a status line can be shown.
pub(crate) fn is_live() -> bool {
    io::stderr().is_terminal()
}

/// Replaces the status line; an empty one takes it away.
pub(crate) fn set_status(text: &str) {
    let mut status = STATUS.lock().unwrap_or_else(PoisonError::into_inner);
    if text.is_empty() && status.is_empty() {
        return;
    }
    let mut err = io::stderr().lock();
    let _ = err.write_all(CLEAR).and_then(|()| err.write_all(text.as_bytes())).and_then(|()| err.flush());
    status.clear();
    status.push_str(text);
}

/// Writes whole lines above the status line.
pub(crate) fn write_above_status(lines: &[u8]) {
    let status = STATUS.lock().unwrap_or_else(PoisonError::into_inner);
    let mut err = io::stderr().lock();
    // Where standard error is closed there is nobody to tell.
    let _ = if status.is_empty() {
        err.write_all(lines)
    } else {
        err.write_all(CLEAR)
            .and_then(|()| err.write_all(lines))
            .and_then(|()| err.write_all(status.as_bytes()))
    };
    let _ = err.flush();
}

/// Where the log goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogWriter;

impl Write for LogWriter {
    /// The formatter writes one whole log line a call.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        write_above_status(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        *self
    }
}
