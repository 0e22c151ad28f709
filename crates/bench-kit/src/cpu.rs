//! CPU that processes have used, user and system, as the kernel accounts it.

use std::time::Duration;

use anyhow::Context as _;
use nix::{
    sys::resource::{UsageWho, getrusage},
    time::clock_getcpuclockid,
    unistd::Pid,
};

/// CPU of this process until now.
///
/// # Errors
/// When the kernel does not tell.
pub fn of_this_process() -> anyhow::Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).context("failed to read the CPU time of this process")?;
    let times = [usage.user_time(), usage.system_time()];
    let micros = times.iter().map(|time| time.tv_sec() * 1_000_000 + time.tv_usec());
    Ok(micros.map(|micros| Duration::from_micros(micros as u64)).sum())
}

/// CPU of another process until now, threads that have ended included.
///
/// From its CPU clock, which counts nanoseconds; `/proc/PID/stat` counts hundredths of a second.
///
/// # Errors
/// When there is no such process.
pub fn of_process(pid: u32) -> anyhow::Result<Duration> {
    let read =
        || clock_getcpuclockid(Pid::from_raw(i32::try_from(pid).ok()?)).and_then(|clock| clock.now()).ok();
    let time = read().with_context(|| format!("failed to read the CPU time of process {pid}"))?;
    Ok(Duration::from(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_of_a_process_agrees_with_its_resource_usage() {
        let before = of_process(std::process::id()).unwrap();
        let usage = of_this_process().unwrap();
        let mut sum = 0_u64;
        while of_this_process().unwrap() < usage + Duration::from_millis(20) {
            sum = sum.wrapping_add(std::hint::black_box(1));
        }
        let used = of_process(std::process::id()).unwrap() - before;
        assert!(used >= Duration::from_millis(15), "{used:?}");
    }

    #[test]
    fn a_process_that_does_not_exist_is_an_error() {
        // Linux gives no process a greater number than 2^22.
        assert!(of_process((1 << 22) + 1).is_err());
    }
}
