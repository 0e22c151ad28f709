//! Memory that a process holds, as the kernel accounts it.

use std::fs;

use anyhow::Context as _;

/// The most resident memory of a process since [`forget_peak`], or since it started, in bytes.
///
/// The kernel keeps it (`VmHWM`), so no peak can lie between two looks.
///
/// # Errors
/// When there is no such process.
pub fn peak_of(pid: u32) -> anyhow::Result<u64> {
    let read = || {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok()
    };
    let kibibytes = read().with_context(|| format!("failed to read the memory of process {pid}"))?;
    Ok(kibibytes * 1024)
}

/// Lets the peak of a process begin again at what it holds now.
///
/// # Errors
/// When there is no such process, or it belongs to another user.
pub fn forget_peak(pid: u32) -> anyhow::Result<()> {
    // proc(5), /proc/pid/clear_refs: 5 resets the peak.
    fs::write(format!("/proc/{pid}/clear_refs"), "5")
        .with_context(|| format!("failed to reset the peak memory of process {pid}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peak_is_remembered_until_it_is_forgotten() {
        const BYTES: u64 = 64 << 20;
        let pid = std::process::id();
        let before = peak_of(pid).unwrap();
        drop(std::hint::black_box(vec![1_u8; BYTES as usize]));
        let peak = peak_of(pid).unwrap();
        assert!(peak > before + BYTES / 2, "{peak} after {before}");
        forget_peak(pid).unwrap();
        assert!(peak_of(pid).unwrap() < peak - BYTES / 2);
    }
}
