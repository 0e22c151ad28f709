//! The inputs that mutation starts from: small real-looking ones, and each that once failed.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, ensure};

use crate::target::Target;

/// The inputs of a target, always in the same order.
///
/// # Errors
/// When there are none.
pub(crate) fn of(target: Target) -> anyhow::Result<Vec<Vec<u8>>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut inputs = read(&root.join("corpus").join(target.name()))?;
    if target == Target::Config {
        // Every key there is stands in the samples.
        inputs.extend(read(&root.join("../../deploy/config"))?);
    }
    Ok(inputs)
}

fn read(directory: &Path) -> anyhow::Result<Vec<Vec<u8>>> {
    let list = || -> std::io::Result<Vec<PathBuf>> {
        fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect()
    };
    let mut paths = list().with_context(|| format!("failed to list {}", directory.display()))?;
    paths.retain(|path| path.is_file());
    paths.sort();
    ensure!(!paths.is_empty(), "{} is empty", directory.display());
    let read = |path: PathBuf| fs::read(&path).with_context(|| format!("failed to read {}", path.display()));
    paths.into_iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_corpus_stays_small() {
        let bytes = Target::ALL.iter().flat_map(|target| of(*target).unwrap()).map(|input| input.len());
        assert!(bytes.sum::<usize>() < 300 << 10);
    }
}
