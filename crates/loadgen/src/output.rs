//! What the commands print: results to standard output, everything else to standard error.

use std::{
    io::{self, IsTerminal as _, Write as _},
    time::Duration,
};

use tokio::time::Instant;

/// Prints a result.
pub fn result(text: &str) {
    // Where nobody reads on, as in `loadgen show ID | head`, there is nobody to tell.
    let _ = writeln!(io::stdout(), "{text}");
}

/// Tells what happens.
pub fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// A line that follows what is done: rewritten in place on a terminal, now and then elsewhere.
#[derive(Debug)]
pub struct Progress {
    is_terminal: bool,
    interval: Duration,
    shown: Option<Instant>,
}

impl Default for Progress {
    fn default() -> Self {
        let is_terminal = io::stderr().is_terminal();
        let interval = Duration::from_millis(if is_terminal { 100 } else { 5_000 });
        Self { is_terminal, interval, shown: None }
    }
}

impl Progress {
    /// One that shows every line it is given.
    pub fn at_once() -> Self {
        Self { interval: Duration::ZERO, ..Self::default() }
    }

    /// Shows the line, unless the last one is too fresh to be replaced.
    pub fn show(&mut self, line: impl FnOnce() -> String) {
        let is_due = self.shown.is_none_or(|shown| shown.elapsed() >= self.interval);
        if is_due {
            self.print(&line());
        }
    }

    /// Shows the last line.
    pub fn finish(mut self, line: &str) {
        self.print(line);
        if self.is_terminal {
            note("");
        }
    }

    fn print(&mut self, line: &str) {
        self.shown = Some(Instant::now());
        if self.is_terminal {
            // Return, and clear to the end of the line: ECMA-48, "EL". A line that cannot be
            // shown is no reason to stop.
            let _ = write!(io::stderr(), "\r{line}\x1b[K");
        } else {
            note(line);
        }
    }
}
