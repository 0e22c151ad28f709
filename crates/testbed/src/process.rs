//! One child process: starts it, signals it, waits for it and reads its log.

use std::{
    ffi::OsStr,
    fs::{self, OpenOptions},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use anyhow::{Context as _, anyhow, bail};
use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};
use parking_lot::Mutex;

use crate::wait::{Look, wait_until};

/// Lines of a log that an error quotes.
const LOG_TAIL_LINES: usize = 20;

/// A child process that is killed when this value is dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    log: PathBuf,
    state: Mutex<State>,
    is_detached: AtomicBool,
}

#[derive(Debug)]
struct State {
    /// Kept to start it again.
    command: Command,
    child: Child,
}

impl Process {
    /// Starts `command`, appending what it prints to the file `log`.
    ///
    /// # Errors
    /// When the program cannot be started or the log cannot be written.
    pub fn start(name: &str, mut command: Command, log: &Path) -> anyhow::Result<Self> {
        let child = spawn(name, &mut command, log)?;
        Ok(Self {
            name: name.to_owned(),
            log: log.to_owned(),
            state: Mutex::new(State { command, child }),
            is_detached: AtomicBool::new(false),
        })
    }

    /// What this process is called in errors and tables.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Process id of the latest start. It belongs to this process as long as it runs.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.state.lock().child.id()
    }

    /// How it ended; `None` while it runs, also while it is paused.
    ///
    /// # Errors
    /// When the operating system does not say.
    pub fn exit_status(&self) -> anyhow::Result<Option<ExitStatus>> {
        let status = self.state.lock().child.try_wait();
        status.with_context(|| format!("failed to look at {}", self.name))
    }

    /// Ends it at once (SIGKILL), as a crash would. No error when it has ended already.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn kill(&self) -> anyhow::Result<()> {
        let mut state = self.state.lock();
        let killed = state.child.kill().and_then(|()| state.child.wait());
        killed.map(drop).with_context(|| format!("failed to kill {}", self.name))
    }

    /// Asks it to end (SIGTERM) and waits until it has.
    ///
    /// # Errors
    /// When it still runs after `deadline`; it is left running.
    pub async fn terminate(&self, deadline: Duration) -> anyhow::Result<ExitStatus> {
        self.signal(Signal::SIGTERM)?;
        self.wait(deadline).await
    }

    /// Waits until it has ended by itself.
    ///
    /// # Errors
    /// When it still runs after `deadline`.
    pub async fn wait(&self, deadline: Duration) -> anyhow::Result<ExitStatus> {
        let mut status = None;
        let end = format!("the end of {}", self.name);
        wait_until(&end, deadline, async || {
            status = self.exit_status()?;
            Ok(match status {
                Some(_) => Look::Reached,
                None => Look::NotYet(format!("it runs\n{}", self.log_tail())),
            })
        })
        .await?;
        status.context("the wait ends with a status")
    }

    /// Stops it where it is (SIGSTOP): it keeps its connections and answers nothing.
    ///
    /// # Errors
    /// When it has ended.
    pub fn pause(&self) -> anyhow::Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    /// Lets it go on after [`Process::pause`].
    ///
    /// # Errors
    /// When it has ended.
    pub fn resume(&self) -> anyhow::Result<()> {
        self.signal(Signal::SIGCONT)
    }

    /// Sends any signal.
    ///
    /// # Errors
    /// When it has ended.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let mut state = self.state.lock();
        // Under the lock, and not yet reaped: the id cannot have gone to another process.
        if let Some(status) = state.child.try_wait()? {
            bail!("failed to send {signal} to {}: it has ended with {status}", self.name);
        }
        let pid = Pid::from_raw(i32::try_from(state.child.id())?);
        signal::kill(pid, signal).with_context(|| format!("failed to send {signal} to {}", self.name))
    }

    /// Starts it again with the same command; what still runs is killed first.
    ///
    /// # Errors
    /// Like [`Process::start`].
    pub fn restart(&self) -> anyhow::Result<()> {
        self.kill()?;
        let mut state = self.state.lock();
        state.child = spawn(&self.name, &mut state.command, &self.log)?;
        Ok(())
    }

    /// Sets or removes a variable of its environment, from the next start on.
    pub fn set_variable(&self, name: &str, value: Option<&OsStr>) {
        let mut state = self.state.lock();
        match value {
            Some(value) => state.command.env(name, value),
            None => state.command.env_remove(name),
        };
    }

    /// Leaves it running when this value is dropped.
    pub fn detach(&self) {
        self.is_detached.store(true, Ordering::Relaxed);
    }

    /// File that holds everything it has printed, over all its starts.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Lines of [`Process::log`] that contain `text`.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn log_lines(&self, text: &str) -> anyhow::Result<Vec<String>> {
        let log =
            fs::read(&self.log).with_context(|| format!("failed to read the log {}", self.log.display()))?;
        let log = String::from_utf8_lossy(&log);
        Ok(log.lines().filter(|line| line.contains(text)).map(str::to_owned).collect())
    }

    /// Waits for a state of a running process.
    ///
    /// # Errors
    /// When it ends first, or after `deadline`; both quote the end of the log.
    pub(crate) async fn wait_until(
        &self,
        state: &str,
        deadline: Duration,
        mut look: impl AsyncFnMut() -> Look,
    ) -> anyhow::Result<()> {
        wait_until(&format!("{} {state}", self.name), deadline, async || {
            let exit_status = self.exit_status()?;
            if let Some(status) = exit_status {
                bail!("{} ended with {status} before it was {state}", self.name);
            }
            Ok(look().await)
        })
        .await
        .map_err(|error| anyhow!("{error}\n{}", self.log_tail()))
    }

    fn log_tail(&self) -> String {
        let lines = self.log_lines("").unwrap_or_default();
        let tail = &lines[lines.len().saturating_sub(LOG_TAIL_LINES)..];
        format!("end of {}:\n  {}", self.log.display(), tail.join("\n  "))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.is_detached.load(Ordering::Relaxed) {
            // Nobody is left to be told; a process that cannot be killed has ended.
            let _ = self.kill();
        }
    }
}

fn spawn(name: &str, command: &mut Command, log: &Path) -> anyhow::Result<Child> {
    let out = OpenOptions::new()
        .create(true)
        .append(true)
        .open(log)
        .with_context(|| format!("failed to write the log {}", log.display()))?;
    command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
    let program = command.get_program().to_string_lossy().into_owned();
    command.spawn().with_context(|| format!("failed to start {name}: {program}"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use nix::errno::Errno;

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(20);

    fn shell(script: &str) -> (tempfile::TempDir, Process) {
        let directory = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let process = Process::start("shell", command, &directory.path().join("log")).unwrap();
        (directory, process)
    }

    #[test]
    fn a_dropped_process_has_ended() {
        let (_directory, process) = shell("exec tail -f /dev/null");
        let pid = Pid::from_raw(i32::try_from(process.pid()).unwrap());
        assert_eq!(signal::kill(pid, None), Ok(()));
        drop(process);
        assert_eq!(signal::kill(pid, None), Err(Errno::ESRCH));
    }

    #[tokio::test]
    async fn the_exit_code_is_the_one_of_the_process() {
        let (_directory, process) = shell("exit 7");
        assert_eq!(process.wait(DEADLINE).await.unwrap().code(), Some(7));
        assert!(process.signal(Signal::SIGTERM).is_err());
    }

    #[tokio::test]
    async fn termination_is_a_request_that_a_process_may_answer() {
        let (_directory, process) =
            shell("trap 'echo bye; exit 3' TERM; echo ready; while :; do read -t 1 x; done");
        let ready = async || match process.log_lines("ready") {
            Ok(lines) if !lines.is_empty() => Look::Reached,
            _ => Look::NotYet("nothing".to_owned()),
        };
        process.wait_until("ready", DEADLINE, ready).await.unwrap();
        assert_eq!(process.terminate(DEADLINE).await.unwrap().code(), Some(3));
        assert_eq!(process.log_lines("bye").unwrap(), ["bye"]);
    }

    #[tokio::test]
    async fn a_process_that_ends_early_is_reported_with_its_log() {
        let (_directory, process) = shell("echo no such setting; exit 78");
        let error = process
            .wait_until("ready", DEADLINE, async || Look::NotYet("silence".to_owned()))
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("exit status: 78"), "{error}");
        assert!(error.contains("no such setting"), "{error}");
    }

    #[tokio::test]
    async fn a_killed_process_runs_again_after_a_restart() {
        let (_directory, process) = shell("exec tail -f /dev/null");
        let first = process.pid();
        process.kill().unwrap();
        assert_eq!(process.exit_status().unwrap().unwrap().signal(), Some(9));
        process.restart().unwrap();
        assert_eq!(process.exit_status().unwrap(), None);
        assert_ne!(process.pid(), first);
    }
}
