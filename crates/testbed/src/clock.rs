//! Lets a process see another time.

use std::{fs, path::PathBuf};

use anyhow::Context as _;

use crate::process::Process;

impl Process {
    /// Lets its clock be off by so many seconds from the next start on.
    ///
    /// # Errors
    /// When libfaketime is not installed.
    pub fn set_clock(&self, seconds: i32) -> anyhow::Result<()> {
        let variables = ["LD_PRELOAD", "FAKETIME", "FAKETIME_DONT_FAKE_MONOTONIC"];
        if seconds == 0 {
            variables.iter().for_each(|name| self.set_variable(name, None));
        } else {
            let mut preload = faketime_library()?.into_os_string();
            // jemalloc asks for the time before libfaketime is up, and waits for it; libc's own does not.
            preload.push(":libc.so.6");
            let values = [preload, format!("{seconds:+}s").into(), "1".into()];
            for (name, value) in variables.iter().zip(values) {
                self.set_variable(name, Some(&value));
            }
        }
        Ok(())
    }
}

/// The library that makes a process see another time.
fn faketime_library() -> anyhow::Result<PathBuf> {
    let directories = fs::read_dir("/usr/lib").context("failed to look for libfaketime in /usr/lib")?;
    let mut libraries = directories
        .filter_map(|entry| Some(entry.ok()?.path().join("faketime/libfaketime.so.1")))
        .filter(|path| path.is_file());
    libraries.next().context("libfaketime.so.1 is not installed; install it with: sh deploy/setup.sh")
}
