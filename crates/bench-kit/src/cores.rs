//! Which core runs what, so that what measures takes nothing away from what is measured.

use std::{fs, process};

use anyhow::{Context as _, ensure};
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

/// Threads that start while their process is being confined are found by looking again.
const LOOKS: usize = 2;

/// Confines this process to one core and leaves another one to what it measures, until it is dropped.
///
/// What this process starts meanwhile finds one core, and makes as many threads as suit it.
#[derive(Debug)]
pub struct Divided {
    all: CpuSet,
    theirs: CpuSet,
}

impl Divided {
    /// Confines this process to the last of its cores.
    ///
    /// # Errors
    /// When it has one only.
    pub fn begin() -> anyhow::Result<Self> {
        let all = sched_getaffinity(Pid::this()).context("failed to ask which cores may be used")?;
        let cores: Vec<usize> = (0..CpuSet::count()).filter(|&core| all.is_set(core) == Ok(true)).collect();
        ensure!(cores.len() >= 2, "it takes two cores: one for what measures, one for what is measured");
        confine(process::id(), &only(cores[cores.len() - 1])?)?;
        Ok(Self { all, theirs: only(cores[0])? })
    }

    /// Moves another process to the first core.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn move_over(&self, pid: u32) -> anyhow::Result<()> {
        confine(pid, &self.theirs)
    }
}

impl Drop for Divided {
    fn drop(&mut self) {
        // It may use what it was allowed to use before.
        let _ = confine(process::id(), &self.all);
    }
}

fn only(core: usize) -> anyhow::Result<CpuSet> {
    let mut set = CpuSet::new();
    set.set(core)?;
    Ok(set)
}

/// Lets every thread of a process, and those that they will start, run on these cores alone.
fn confine(pid: u32, cores: &CpuSet) -> anyhow::Result<()> {
    for _ in 0..LOOKS {
        let threads = fs::read_dir(format!("/proc/{pid}/task"));
        for thread in threads.with_context(|| format!("failed to list the threads of process {pid}"))? {
            let thread = thread?.file_name().to_string_lossy().parse()?;
            // One that has ended meanwhile runs nowhere.
            let _ = sched_setaffinity(Pid::from_raw(thread), cores);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::thread::available_parallelism;

    use super::*;

    #[test]
    fn this_process_has_one_core_until_the_division_ends() {
        let before = available_parallelism().unwrap().get();
        if before == 1 {
            assert!(Divided::begin().is_err());
            return;
        }
        let divided = Divided::begin().unwrap();
        assert_eq!(available_parallelism().unwrap().get(), 1);
        divided.move_over(process::id()).unwrap();
        let core = sched_getaffinity(Pid::this()).unwrap();
        assert!((0..CpuSet::count()).all(|it| core.is_set(it) == divided.theirs.is_set(it)));
        drop(divided);
        assert_eq!(available_parallelism().unwrap().get(), before);
    }
}
