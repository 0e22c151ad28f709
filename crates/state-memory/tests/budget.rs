//! Memory is bounded: what does not fit is refused for now, and nothing alive is evicted.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail them by panicking too")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use chrono::DateTime;
use state_core::{Append, CorrelationKey, Facts, Fragment, Outcome, Settings, Signal, StateManager};
use state_memory::{Config, InMemoryStateManager};

/// A clock that stands at a second until it is moved.
#[derive(Clone, Default)]
struct Clock(Arc<AtomicI64>);

fn store(clock: &Clock, bytes_max: u64) -> InMemoryStateManager {
    let settings = Settings { ttl: Duration::from_secs(60), ..Settings::default() };
    let clock = clock.clone();
    let now = move || DateTime::from_timestamp(clock.0.load(Ordering::Relaxed), 0).unwrap();
    InMemoryStateManager::with_clock(&Config { bytes_max }, settings, now)
}

fn append(number: u32, bytes: usize) -> Append {
    let key = CorrelationKey { tenant: Default::default(), id: format!("n={number}").parse().unwrap() };
    let payload = Bytes::from(vec![number as u8; bytes]);
    Append { key, fragment: Fragment::new(Signal::Traces, payload, vec![[0; 16]], Facts::default()) }
}

#[tokio::test]
async fn what_does_not_fit_is_refused_for_now_until_something_has_expired() {
    let clock = Clock::default();
    let store = store(&clock, 100_000);
    let mut kept = 0;
    let error = loop {
        match store.append(vec![append(kept, 10_000)]).await {
            Ok(outcomes) => assert_eq!(outcomes, [Outcome::Added]),
            Err(error) => break error,
        }
        kept += 1;
    };
    assert!(error.is_retryable(), "{error:?}");
    assert!(format!("{error:?}").contains("memory.bytes_max"), "{error:?}");
    assert!((5..10).contains(&kept), "{kept} of 10,000 bytes each");
    assert_eq!(store.get_correlation_count().await.unwrap(), u64::from(kept), "nothing was evicted");

    clock.0.fetch_add(61, Ordering::Relaxed);
    for number in 0..kept {
        assert_eq!(store.append(vec![append(number, 10_000)]).await.unwrap(), [Outcome::Added]);
    }
}

#[tokio::test]
async fn duplicates_and_removals_leave_the_budget_as_it_was() {
    let clock = Clock::default();
    let store = store(&clock, 100_000);
    for _ in 0..100 {
        store.append(vec![append(1, 20_000)]).await.unwrap();
        store.append(vec![append(2, 20_000)]).await.unwrap();
        let entry = store.get_correlation(&append(2, 20_000).key).await.unwrap().unwrap();
        store.set_correlation(&append(2, 0).key, entry, None).await.unwrap();
        assert!(store.delete_correlation(&append(2, 0).key).await.unwrap());
    }
    store.cleanup_old_correlations(DateTime::from_timestamp(1, 0).unwrap()).await.unwrap();
    for number in 0..7 {
        store.append(vec![append(number, 10_000)]).await.expect("all of the budget is free again");
    }
}
