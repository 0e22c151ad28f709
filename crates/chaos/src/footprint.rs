//! How much memory and how many descriptors engines and gateways hold, at most.

use std::{
    fs,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use bench_kit::memory;
use correlate_proof::cluster::Cluster;
use testbed::{EngineProcess, GatewayProcess, Process};
use tokio::time::sleep;

const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// More is no bounded memory: the limits of the configuration allow far more than this traffic needs.
pub(crate) const MEMORY_MIB_MAX: u64 = 512;
/// Twice the 1,000 requests that clients may have on their way, each on a connection of its own over HTTP.
pub(crate) const DESCRIPTORS_MAX: u64 = 2_000;

/// The most that any of them has held.
#[derive(Debug, Default)]
pub(crate) struct Footprint {
    memory_bytes: AtomicU64,
    descriptors: AtomicU64,
}

impl Footprint {
    /// Looks at all processes now and then until it is told to stop.
    pub(crate) async fn watch(&self, cluster: &Cluster, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            cluster.engines().iter().map(EngineProcess::process).for_each(|process| self.look(process));
            cluster.gateways().iter().map(GatewayProcess::process).for_each(|process| self.look(process));
            sleep(LOOK_INTERVAL).await;
        }
    }

    pub(crate) fn memory_mib(&self) -> u64 {
        self.memory_bytes.load(Ordering::Relaxed) >> 20
    }

    pub(crate) fn descriptors(&self) -> u64 {
        self.descriptors.load(Ordering::Relaxed)
    }

    /// One that has just been killed says nothing.
    fn look(&self, process: &Process) {
        let pid = process.pid();
        if let Ok(bytes) = memory::peak_of(pid) {
            self.memory_bytes.fetch_max(bytes, Ordering::Relaxed);
        }
        if let Ok(open) = fs::read_dir(format!("/proc/{pid}/fd")) {
            self.descriptors.fetch_max(open.count() as u64, Ordering::Relaxed);
        }
    }
}
