//! What fails while everything is sent: engines are killed, the endpoint refuses, hangs and is away.

use std::time::Duration;

use anyhow::Context as _;
use correlate_proof::{
    cluster::Cluster,
    sink::{Mood, Sink},
};
use futures::future::try_join_all;
use loadgen::output::note;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use tokio::{
    sync::{Mutex, Semaphore},
    time::{Instant, sleep, sleep_until},
};

/// The parts of the time in which engines are killed.
const KILLED_FROM: f64 = 0.1;
const KILLED_TO: f64 = 0.95;
/// How long a killed engine stays away.
const DOWN_MIN: Duration = Duration::from_millis(200);
const DOWN_MAX: Duration = Duration::from_secs(4);

/// From which part of the time on the endpoint is how.
const MOODS: [(f64, Mood); 8] = [
    (0.12, Mood::Refuses),
    (0.22, Mood::Takes),
    (0.32, Mood::LosesAnswers),
    (0.36, Mood::Takes),
    (0.45, Mood::Hangs),
    (0.57, Mood::Takes),
    (0.68, Mood::IsAway),
    (0.82, Mood::Takes),
];

/// The death of one engine.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Kill {
    /// From the beginning.
    at: Duration,
    engine: usize,
    down: Duration,
}

/// Plans deaths over a time; the same for the same seed.
pub(crate) fn kills(count: usize, engines: usize, time: Duration, seed: u64) -> Vec<Kill> {
    let mut random = StdRng::seed_from_u64(seed);
    let kill = |_| Kill {
        at: time.mul_f64(random.random_range(KILLED_FROM..KILLED_TO)),
        engine: random.random_range(0..engines),
        down: random.random_range(DOWN_MIN..DOWN_MAX),
    };
    (0..count).map(kill).collect()
}

/// Kills engines with SIGKILL and starts them again at the same ports. One of them always lives: a death
/// that would take the last one waits. Answers how many were killed.
///
/// # Errors
/// When one does not start again.
pub(crate) async fn kill_engines(cluster: &Cluster, kills: &[Kill], start: Instant) -> anyhow::Result<usize> {
    let engines = cluster.engines();
    let (may_be_down, taken) = (Semaphore::new(engines.len() - 1), engines.iter().map(|_| Mutex::new(())));
    let taken: Vec<_> = taken.collect();
    let killed = kills.iter().map(async |kill| {
        sleep_until(start + kill.at).await;
        let _one_at_a_time = taken[kill.engine].lock().await;
        let _others_live = may_be_down.acquire().await.context("nobody is killed any more")?;
        let engine = &engines[kill.engine];
        engine.process().kill()?;
        note(&format!(
            "{} was killed {:.1} s after the beginning",
            engine.process().name(),
            start.elapsed().as_secs_f64()
        ));
        sleep(kill.down).await;
        engine.restart().await
    });
    Ok(try_join_all(killed).await?.len())
}

/// Lets the endpoint fail.
///
/// # Errors
/// When it cannot come back.
pub(crate) async fn trouble(sink: &mut Sink, start: Instant, time: Duration) -> anyhow::Result<()> {
    for (part, mood) in MOODS {
        sleep_until(start + time.mul_f64(part)).await;
        sink.becomes(mood).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_the_end_the_endpoint_takes_everything() {
        assert_eq!(MOODS.last().map(|(_, mood)| *mood), Some(Mood::Takes));
        assert!(MOODS.is_sorted_by_key(|(part, _)| *part));
    }

    #[test]
    fn deaths_are_a_function_of_their_seed_and_fall_into_the_time() {
        let time = Duration::from_secs(60);
        assert_eq!(kills(6, 3, time, 7), kills(6, 3, time, 7));
        assert_ne!(kills(6, 3, time, 7), kills(6, 3, time, 8));
        assert!(kills(100, 3, time, 7).iter().all(|kill| kill.at < time && kill.engine < 3));
    }
}
