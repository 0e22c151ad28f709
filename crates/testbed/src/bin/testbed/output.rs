//! Lines for the user of the command line.

use std::io::{self, Write as _};

/// Prints a line of a result.
pub(crate) fn say(line: &str) {
    // Where nobody reads on, as in `just status | head`, there is nobody to tell.
    let _ = writeln!(io::stdout(), "{line}");
}

/// Prints why the command failed.
pub(crate) fn complain(error: &anyhow::Error) {
    let _ = writeln!(io::stderr(), "error: {error:#}");
}
