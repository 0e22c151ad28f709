//! Which pools of engines there are, and which part of the traces each gets: `engines.pools`, or one
//! pool of `engines.urls`.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::Deserialize;
use service_lifecycle::{FileError, Files, Watched, line_at};

use crate::{EngineUrl, EnginesConfig};

/// Name of the pool that `engines.urls` makes.
const DEFAULT: &str = "default";
/// Names of pools are labels of metrics.
const POOLS_MAX: usize = 16;
const NAME_BYTES_MAX: usize = 32;
/// Enough for a thousandth of a percent.
const WEIGHT_MAX: u32 = 100_000;

/// A pool as it is configured.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PoolConfig {
    pub(super) name: Arc<str>,
    /// Its part of the traces, in relation to the weights of the others; 0 for none.
    pub(super) weight: u32,
    pub(super) urls: Vec<EngineUrl>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    pool: Vec<PoolConfig>,
}

/// The pools as they are configured now.
pub(super) enum Pools {
    Fixed(Arc<Vec<PoolConfig>>),
    Followed(Watched<Vec<PoolConfig>>),
}

impl Pools {
    /// Reads the file, if there is one. `can_encrypt` tells whether `https://` is possible.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub(super) fn open(config: &EnginesConfig, can_encrypt: bool, files: &Files) -> Result<Self, FileError> {
        if config.pools.is_empty() {
            let pool = PoolConfig { name: DEFAULT.into(), weight: 1, urls: config.urls.clone() };
            return Ok(Self::Fixed(Arc::new(vec![pool])));
        }
        let file = PathBuf::from(&config.pools);
        let parsed = file.clone();
        let read = move |contents: &[Vec<u8>]| parse(&parsed, &contents[0], can_encrypt);
        Ok(Self::Followed(files.open(vec![file], read)?))
    }

    pub(super) fn current(&self) -> Arc<Vec<PoolConfig>> {
        match self {
            Self::Fixed(pools) => Arc::clone(pools),
            Self::Followed(pools) => pools.current(),
        }
    }
}

fn parse(file: &Path, text: &[u8], can_encrypt: bool) -> Result<Vec<PoolConfig>, FileError> {
    let wrong = |reason: String| FileError::new(file, reason);
    let text = std::str::from_utf8(text).map_err(|_| wrong("expected UTF-8".to_owned()))?;
    let read: File = toml::from_str(text).map_err(|error: toml::de::Error| {
        let line = line_at(text, error.span().map_or(0, |span| span.start));
        wrong(format!("line {line}: {}", error.message()))
    })?;
    let pools = read.pool;
    if pools.is_empty() || pools.len() > POOLS_MAX {
        return Err(wrong(format!("expected 1 to {POOLS_MAX} [[pool]], each with name, weight and urls")));
    }
    let mut names = HashSet::new();
    for PoolConfig { name, weight, urls } in &pools {
        let wrong = |reason: &str| wrong(format!("pool {name:?}: {reason}"));
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
        if !(1..=NAME_BYTES_MAX).contains(&name.len()) || !name.bytes().all(is_plain) {
            return Err(wrong("expected a name of 1 to 32 of a-z, 0-9, - and _"));
        }
        if !names.insert(name) {
            return Err(wrong("there are two of this name"));
        }
        if *weight > WEIGHT_MAX {
            return Err(wrong(&format!("expected a weight of 0 to {WEIGHT_MAX}")));
        }
        if urls.is_empty() {
            return Err(wrong("expected at least one URL of engines"));
        }
        if !can_encrypt && urls.iter().any(EngineUrl::is_encrypted) {
            return Err(wrong("https:// needs certificates to trust: set engines.tls.ca and start again"));
        }
    }
    if pools.iter().all(|pool| pool.weight == 0) {
        return Err(wrong("expected a pool with a weight above 0".to_owned()));
    }
    Ok(pools)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = include_str!("../../../../deploy/config/pools.toml");

    fn read(text: &str) -> Result<Vec<PoolConfig>, String> {
        parse(Path::new("pools.toml"), text.as_bytes(), false).map_err(|error| error.to_string())
    }

    #[test]
    fn the_sample_is_a_canary_of_a_tenth() {
        let pools = read(SAMPLE).unwrap();
        let told: Vec<_> = pools.iter().map(|pool| (&*pool.name, pool.weight)).collect();
        assert_eq!(told, [("stable", 90), ("canary", 10)]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let pool = |name: &str, weight: u32, url: &str| {
            format!("[[pool]]\nname = '{name}'\nweight = {weight}\nurls = ['{url}']\n")
        };
        let good = pool("a", 1, "http://a:1");
        for (text, expected) in [
            (String::new(), "expected 1 to 16 [[pool]]"),
            (good.repeat(17), "expected 1 to 16"),
            (good.repeat(2), "pool \"a\": there are two"),
            (pool("A", 1, "http://a:1"), "pool \"A\": expected a name"),
            (pool("a", 100_001, "http://a:1"), "pool \"a\": expected a weight of 0 to 100000"),
            (pool("a", 0, "http://a:1"), "a weight above 0"),
            (pool("a", 1, "a:1"), "line 4: expected URLs of the form"),
            (pool("a", 1, "https://a:1"), "https:// needs"),
            ("[[pool]]\nname = 'a'\nweight = 1\nurls = []".to_owned(), "at least one URL"),
            (format!("{good}share = 1"), "line 5: unknown field `share`"),
        ] {
            let error = read(&text).unwrap_err();
            assert!(error.starts_with("failed to use pools.toml: ") && error.contains(expected), "{error}");
        }
    }
}
