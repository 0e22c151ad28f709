//! Two ways to send: as fast as answers come, and as fast as a clock says.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, timeout},
};

use super::client::{Answer, Client};

/// So many requests may lack an answer; beyond, what is due is not sent, which the rate then shows.
const UNANSWERED_MAX: usize = 4_000;
/// What is due is sent this often.
const TICK: Duration = Duration::from_millis(1);
/// How long the last answers may take; a request gives up sooner.
const LAST_ANSWERS: Duration = Duration::from_secs(15);

/// A client, and what it sends again and again.
pub(super) struct Load {
    client: Client,
    /// Never empty.
    requests: Vec<Bytes>,
    next: AtomicUsize,
}

/// What came of requests that were sent whatever was answered.
#[derive(Debug, Default)]
pub(super) struct Offered {
    pub(super) sent: usize,
    /// How long each took that was accepted while others were still sent.
    pub(super) accepted: Vec<Duration>,
    /// Refused as they should be.
    pub(super) refused: usize,
    /// Answered in any other way, or not at all.
    pub(super) failed: usize,
    /// The first of those.
    pub(super) failure: Option<anyhow::Error>,
}

impl Load {
    pub(super) fn new(client: Client, compressed: &[Bytes]) -> Self {
        let requests = compressed.iter().map(|request| client.prepare(request)).collect();
        Self { client, requests, next: AtomicUsize::new(0) }
    }

    async fn send(&self) -> anyhow::Result<Answer> {
        let next = self.next.fetch_add(1, Ordering::Relaxed) % self.requests.len();
        self.client.send(self.requests[next].clone()).await
    }

    /// Keeps so many requests on their way for a time; answers how many were accepted per second.
    ///
    /// # Errors
    /// When one is not accepted.
    pub(super) async fn saturate(self: &Arc<Self>, at_once: usize, time: Duration) -> anyhow::Result<f64> {
        let (begin, mut senders) = (Instant::now(), JoinSet::new());
        for _ in 0..at_once {
            let load = Arc::clone(self);
            senders.spawn(async move {
                let mut accepted = 0_u32;
                while begin.elapsed() < time {
                    let answer = load.send().await?;
                    ensure!(answer == Answer::Accepted, "a request was refused without overload");
                    accepted += 1;
                }
                anyhow::Ok(accepted)
            });
        }
        let mut accepted = 0;
        while let Some(sender) = senders.join_next().await {
            accepted += sender??;
        }
        Ok(f64::from(accepted) / begin.elapsed().as_secs_f64())
    }

    /// Sends so many requests a second for a time, whatever is answered; none is sent again.
    ///
    /// # Errors
    /// When the last answers do not come.
    pub(super) async fn offer(self: &Arc<Self>, per_second: f64, time: Duration) -> anyhow::Result<Offered> {
        let (mut offered, mut unanswered) = (Offered::default(), JoinSet::new());
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (begin, mut due_before) = (Instant::now(), 0);
        while begin.elapsed() < time {
            ticks.tick().await;
            let due = (begin.elapsed().as_secs_f64() * per_second) as usize;
            let room = UNANSWERED_MAX - unanswered.len();
            for _ in 0..(due - due_before).min(room) {
                let (load, sent) = (Arc::clone(self), Instant::now());
                unanswered.spawn(async move { (load.send().await, sent.elapsed()) });
                offered.sent += 1;
            }
            due_before = due;
            while let Some(answered) = unanswered.try_join_next() {
                let (answer, took) = answered?;
                if offered.count(answer) == Some(Answer::Accepted) {
                    offered.accepted.push(took);
                }
            }
        }
        let last = async {
            while let Some(answered) = unanswered.join_next().await {
                offered.count(answered?.0);
            }
            anyhow::Ok(())
        };
        timeout(LAST_ANSWERS, last).await.context("the last answers did not come")??;
        Ok(offered)
    }
}

impl Offered {
    /// Counts what was not accepted; answers what is correct.
    fn count(&mut self, answer: anyhow::Result<Answer>) -> Option<Answer> {
        match answer {
            Ok(answer) => {
                self.refused += usize::from(answer == Answer::Refused);
                Some(answer)
            }
            Err(error) => {
                self.failed += 1;
                self.failure.get_or_insert(error);
                None
            }
        }
    }
}
