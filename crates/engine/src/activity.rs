//! When this engine has taken something in last. Whoever takes something in looks often for what is due
//! of it, so that those with nothing to do need not.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

/// The time of the latest arrival. Cheap to clone; a clone tells the same.
#[derive(Debug, Clone)]
pub(crate) struct Activity {
    began: Instant,
    /// Milliseconds since then, and one more; 0 as long as there was none.
    latest_ms: Arc<AtomicU64>,
    /// Wakes who waits for the next.
    arrived: Arc<Notify>,
}

impl Activity {
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), latest_ms: Arc::default(), arrived: Arc::default() }
    }

    /// Something was taken in.
    pub(crate) fn note(&self) {
        self.latest_ms.fetch_max(self.began.elapsed().as_millis() as u64 + 1, Ordering::Relaxed);
        self.arrived.notify_one();
    }

    /// Waits for the next arrival, or for one that nobody has waited for.
    pub(crate) async fn arrival(&self) {
        self.arrived.notified().await;
    }

    /// Whether that was less than so long ago.
    pub(crate) fn is_within(&self, time: Duration) -> bool {
        let latest = self.latest_ms.load(Ordering::Relaxed).checked_sub(1).map(Duration::from_millis);
        latest.is_some_and(|latest| self.began.elapsed().saturating_sub(latest) < time)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{advance, timeout};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_engine_is_active_for_a_time_after_an_arrival() {
        const TIME: Duration = Duration::from_secs(60);
        let activity = Activity::new();
        assert!(!activity.is_within(TIME), "nothing has arrived");
        assert!(timeout(TIME, activity.arrival()).await.is_err());
        activity.clone().note();
        timeout(TIME, activity.arrival()).await.unwrap();
        assert!(activity.is_within(TIME));
        advance(TIME).await;
        assert!(!activity.is_within(TIME));
    }
}
