//! Where processes keep data and logs: a temporary directory, or a given one that stays.

use std::{
    env, fs,
    path::{Path, PathBuf},
    thread,
};

use anyhow::Context as _;
use tempfile::TempDir;

/// Set to any value, it keeps all temporary directories and prints where they are.
const KEEP_VARIABLE: &str = "TESTBED_KEEP";

#[derive(Debug)]
pub(crate) enum Directory {
    /// Removed when dropped, unless the thread panics: then someone wants to read the logs.
    /// `None` only after that decision.
    Temporary(Option<TempDir>),
    /// Belongs to the caller.
    Fixed(PathBuf),
}

impl Directory {
    /// Creates the given directory, or a temporary one.
    pub(crate) fn create(fixed: Option<&Path>) -> anyhow::Result<Self> {
        match fixed {
            Some(path) => {
                fs::create_dir_all(path).with_context(|| format!("failed to create {}", path.display()))?;
                // The processes run elsewhere, so a relative path would mean something else there.
                let path =
                    path.canonicalize().with_context(|| format!("failed to resolve {}", path.display()))?;
                Ok(Self::Fixed(path))
            }
            None => tempfile::Builder::new()
                .prefix("testbed-")
                .tempdir()
                .map(|directory| Self::Temporary(Some(directory)))
                .with_context(|| format!("failed to create a directory in {}", env::temp_dir().display())),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Temporary(Some(directory)) => directory.path(),
            Self::Temporary(None) => unreachable!("emptied only while it is dropped"),
            Self::Fixed(path) => path,
        }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let wanted = thread::panicking() || env::var_os(KEEP_VARIABLE).is_some();
        if let Self::Temporary(directory) = self
            && wanted
            && let Some(directory) = directory.take()
        {
            report_kept(&directory.keep());
        }
    }
}

#[expect(clippy::print_stderr, reason = "the reader of a failed test needs the way to its logs")]
fn report_kept(path: &Path) {
    eprintln!("testbed: data and logs kept in {}", path.display());
}
