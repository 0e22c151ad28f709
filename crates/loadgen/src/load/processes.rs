//! What processes use while a load counts: this one, and those that are named.

use std::{collections::BTreeMap, str::FromStr, time::Duration};

use anyhow::Context as _;
use bench_kit::{cpu, memory};

/// A process by a name for it; several may have the same, and are counted together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedProcess {
    /// What it is called in the report.
    pub name: String,
    /// Its id.
    pub pid: u32,
}

/// What was used until the measurement began.
#[derive(Debug)]
pub(super) struct Before {
    own_cpu: Duration,
    /// With CPU and resident memory.
    processes: Vec<(NamedProcess, Duration, u64)>,
}

/// What was used while it lasted.
#[derive(Debug, Default)]
pub(super) struct Used {
    pub(super) own_cpu: Duration,
    pub(super) processes: BTreeMap<String, Use>,
    /// Processes that could not be asked in the end.
    pub(super) gone: Vec<String>,
}

#[derive(Debug, Default)]
pub(super) struct Use {
    pub(super) cpu: Duration,
    /// Of the resident memory of each when it began.
    pub(super) rss_bytes_before: u64,
    /// Of the most resident memory of each.
    pub(super) rss_bytes_max: u64,
}

impl Before {
    /// # Errors
    /// When a process does not exist or belongs to another user.
    pub(super) fn read(processes: &[NamedProcess]) -> anyhow::Result<Self> {
        let watch = |process: &NamedProcess| format!("failed to watch {}", process.name);
        // Forgetting may have to wait for a busy process; the CPU of all is read at once.
        let forget = |process: &NamedProcess| {
            memory::forget_peak(process.pid)?;
            memory::peak_of(process.pid)
        };
        let resident = processes.iter().map(|process| forget(process).with_context(|| watch(process)));
        let resident = resident.collect::<anyhow::Result<Vec<_>>>()?;
        let read = |(process, resident): (&NamedProcess, u64)| {
            let cpu = cpu::of_process(process.pid).with_context(|| watch(process))?;
            anyhow::Ok((process.clone(), cpu, resident))
        };
        let processes = processes.iter().zip(resident).map(read).collect::<anyhow::Result<_>>()?;
        Ok(Self { own_cpu: cpu::of_this_process()?, processes })
    }

    /// What was used since then. A process that has ended meanwhile is named, and not counted.
    ///
    /// # Errors
    /// When the kernel does not tell of this process.
    pub(super) fn until_now(&self) -> anyhow::Result<Used> {
        let mut used =
            Used { own_cpu: cpu::of_this_process()?.saturating_sub(self.own_cpu), ..Used::default() };
        for (NamedProcess { name, pid }, before, resident) in &self.processes {
            let (Ok(cpu), Ok(peak)) = (cpu::of_process(*pid), memory::peak_of(*pid)) else {
                used.gone.push(format!("{name} ({pid})"));
                continue;
            };
            let sum = used.processes.entry(name.clone()).or_default();
            sum.cpu += cpu.saturating_sub(*before);
            sum.rss_bytes_before += resident;
            sum.rss_bytes_max += peak;
        }
        Ok(used)
    }
}

impl FromStr for NamedProcess {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let named = text.split_once('=').filter(|(name, _)| !name.is_empty());
        let (name, pid) = named.context("write NAME=PID, such as engine=4711")?;
        let pid = pid.parse().with_context(|| format!("{pid} is not the id of a process"))?;
        Ok(Self { name: name.to_owned(), pid })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_of_one_name_are_counted_together() {
        let own = NamedProcess { name: "own".to_owned(), pid: std::process::id() };
        let twice = Before::read(&[own.clone(), own.clone()]).unwrap().until_now().unwrap();
        let once = Before::read(&[own]).unwrap().until_now().unwrap();
        assert_eq!(twice.processes.len(), 1);
        assert!(twice.processes["own"].rss_bytes_max > once.processes["own"].rss_bytes_max);
    }

    #[test]
    fn a_process_that_does_not_exist_is_an_error_that_names_it() {
        // Linux gives no process a greater number than 2^22.
        let process = format!("redis={}", (1 << 22) + 1).parse().unwrap();
        let error = format!("{:#}", Before::read(&[process]).unwrap_err());
        assert!(error.contains("redis"), "{error}");
    }

    #[test]
    fn a_process_without_a_name_is_refused() {
        for text in ["4711", "=4711", "engine=", "engine=x"] {
            assert!(text.parse::<NamedProcess>().is_err(), "{text}");
        }
    }
}
