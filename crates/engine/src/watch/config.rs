//! `[watch]`: how many are told of closes, and how far behind they may be.

use serde::{Deserialize, Serialize};
use service_lifecycle::Violation;

/// `[watch]`: who is told of closes as they happen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WatchConfig {
    /// Most watchers at once. Default 250: the streams of two gateways, and room for others.
    pub watchers_max: usize,
    /// Most bytes of events that wait for one watcher; of those beyond it is told only how many it has
    /// missed. Default 1 MiB: some thousand events.
    pub queue_bytes_max: usize,
}

impl Default for WatchConfig {
    fn default() -> Self {
        Self { watchers_max: 250, queue_bytes_max: 1 << 20 }
    }
}

impl WatchConfig {
    pub(crate) fn violations(&self) -> Vec<Violation> {
        let limits =
            [(self.watchers_max, "watch.watchers_max"), (self.queue_bytes_max, "watch.queue_bytes_max")];
        let broken = limits.into_iter().filter(|(limit, _)| *limit == 0);
        broken.map(|(_, key)| Violation::new(key, "expected at least 1")).collect()
    }
}
