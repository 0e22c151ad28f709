//! Files that are read again when they change: certificates and credentials.

use std::{
    convert::Infallible,
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use sha2::{Digest, Sha256};
use tokio::time::sleep;
use tracing::{info, warn};

/// How often files are looked at. A certificate is renewed days before it ends, a credential is
/// withdrawn by somebody who waits for it.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("failed to use {}: {reason}", file.display())]
pub struct FileError {
    /// The file.
    pub file: PathBuf,
    /// What is wrong with it; never quotes it, for it may hold secrets.
    pub reason: String,
}

impl FileError {
    /// `reason` says what was expected instead.
    pub fn new(file: &Path, reason: impl ToString) -> Self {
        Self { file: file.to_owned(), reason: reason.to_string() }
    }
}

/// The files that a process follows. Cheap to clone; a clone follows the same.
#[derive(Clone, Default)]
pub struct Files {
    followed: Arc<Mutex<Vec<Box<dyn Follow>>>>,
}

impl Files {
    /// Reads a value from files, and again whenever one of them changes; `read` gets their contents in
    /// their order.
    ///
    /// # Errors
    /// A file that cannot be read, or what `read` says.
    pub fn open<T: Send + Sync + 'static>(
        &self,
        files: Vec<PathBuf>,
        read: impl Fn(&[Vec<u8>]) -> Result<T, FileError> + Send + 'static,
    ) -> Result<Watched<T>, FileError> {
        let contents = contents(&files)?;
        let current = Arc::new(ArcSwap::from_pointee(read(&contents)?));
        let seen = Some(fingerprint(&contents));
        let followed = Followed { current: Arc::clone(&current), files, seen, read };
        self.followed.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(followed));
        Ok(Watched { current })
    }

    /// Reads again what has changed, for ever. What cannot be used is said, and what was used before
    /// stays in use.
    pub async fn follow(self) -> Infallible {
        loop {
            sleep(LOOK_INTERVAL).await;
            for followed in self.followed.lock().unwrap_or_else(PoisonError::into_inner).iter_mut() {
                followed.look();
            }
        }
    }
}

impl fmt::Debug for Files {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Files").finish_non_exhaustive()
    }
}

/// A value read from files: as it is now. Cheap to clone; a clone sees the same value.
#[derive(Debug)]
pub struct Watched<T> {
    current: Arc<ArcSwap<T>>,
}

impl<T> Clone for Watched<T> {
    fn clone(&self) -> Self {
        Self { current: Arc::clone(&self.current) }
    }
}

impl<T> Watched<T> {
    /// What was read last.
    pub fn current(&self) -> Arc<T> {
        self.current.load_full()
    }
}

/// Something that is read from files.
trait Follow: Send {
    /// Reads them again if they have changed.
    fn look(&mut self);
}

struct Followed<T, Read> {
    current: Arc<ArcSwap<T>>,
    files: Vec<PathBuf>,
    /// `None` while they cannot be read: said once.
    seen: Option<Fingerprint>,
    read: Read,
}

/// Tells contents apart without keeping them: they may be secret.
type Fingerprint = [u8; 32];

impl<T: Send + Sync, Read> Follow for Followed<T, Read>
where
    Read: Fn(&[Vec<u8>]) -> Result<T, FileError> + Send,
{
    fn look(&mut self) {
        let found = contents(&self.files);
        let now = found.as_deref().ok().map(fingerprint);
        if now == self.seen {
            return;
        }
        self.seen = now;
        let names: Vec<_> = self.files.iter().map(|file| file.display().to_string()).collect();
        let files = names.join(", ");
        match found.and_then(|found| (self.read)(&found)) {
            Ok(value) => {
                self.current.store(Arc::new(value));
                info!(files, "changed files are in use");
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                warn!(files, error, "changed files cannot be used; what was read before stays in use");
            }
        }
    }
}

fn contents(files: &[PathBuf]) -> Result<Vec<Vec<u8>>, FileError> {
    let read = |file: &PathBuf| std::fs::read(file).map_err(|error| FileError::new(file, advice(&error)));
    files.iter().map(read).collect()
}

fn fingerprint(contents: &[Vec<u8>]) -> Fingerprint {
    let mut hash = Sha256::new();
    for content in contents {
        hash.update(content.len().to_le_bytes());
        hash.update(content);
    }
    hash.finalize().into()
}

fn advice(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "this process may not read it".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn number(contents: &[Vec<u8>]) -> Result<u32, FileError> {
        let text = String::from_utf8_lossy(&contents[0]);
        text.trim().parse().map_err(|_| FileError::new(Path::new("number"), "expected a number"))
    }

    #[tokio::test(start_paused = true)]
    async fn a_changed_file_is_used_and_a_broken_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("number");
        fs::write(&file, "1").unwrap();
        let files = Files::default();
        let watched = files.open(vec![file.clone()], number).unwrap();
        let following = tokio::spawn(files.follow());
        for (text, expected) in [("2", 2), ("two", 2), ("3", 3)] {
            fs::write(&file, text).unwrap();
            sleep(LOOK_INTERVAL * 3).await;
            assert_eq!(*watched.current(), expected, "{text}");
        }
        fs::remove_file(&file).unwrap();
        sleep(LOOK_INTERVAL * 3).await;
        assert_eq!(*watched.current(), 3);
        following.abort();
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = Files::default().open(vec!["/nowhere/at/all".into()], number).unwrap_err();
        assert_eq!(error.to_string(), "failed to use /nowhere/at/all: there is no such file");
    }
}
