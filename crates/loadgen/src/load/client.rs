//! Sends requests as a Collector does: again, while the answer allows it.

mod answer;
mod door;

use std::time::Duration;

use rand::Rng as _;
use tokio::time::{Instant, sleep, timeout};

pub use answer::Code;
pub use door::{Doors, Protocol};

use super::traffic::Request;
use answer::{Answer, Verdict};
use door::Door;

/// Waits between attempts double from the first to the last of these, unless the answer names one.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LAST_WAIT: Duration = Duration::from_secs(2);

/// Sends requests to several doors in turn.
#[derive(Debug)]
pub struct Client {
    doors: Vec<Door>,
    patience: Patience,
}

/// How long a client waits.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For an answer.
    pub answer: Duration,
    /// For an answer that accepts, over all attempts. None is repeated when this is zero.
    pub acceptance: Duration,
}

/// What came of a request.
#[derive(Debug)]
pub struct Sent {
    /// How it ended.
    pub outcome: Outcome,
    /// What each attempt was answered.
    pub answers: Vec<Code>,
    /// What was said against it, in the end or in a partial success; may be empty.
    pub message: String,
}

/// How sending a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver is answerable for it.
    Accepted {
        /// For all but so many spans or records, which it refuses for good.
        rejected: u64,
    },
    /// Refused for good.
    Refused,
    /// Refused for the moment, again and again.
    GivenUp,
    /// Not accepted, and at least one attempt was not answered: it may have been kept.
    Unknown,
}

impl Client {
    /// Connects on first use.
    ///
    /// # Errors
    /// When a URL or a header is not one.
    pub fn new(doors: &Doors, patience: Patience) -> anyhow::Result<Self> {
        Ok(Self { doors: doors.open()?, patience })
    }

    /// Sends a request; again, to the next door, while the answers allow it.
    pub async fn send(&self, request: &Request) -> Sent {
        let end = Instant::now() + self.patience.acceptance;
        let mut wait = FIRST_WAIT;
        let mut answers = Vec::with_capacity(1);
        let mut is_known = true;
        loop {
            let Answer { code, verdict, message } = self.attempt(request, answers.len()).await;
            answers.push(code);
            let named = match verdict {
                Verdict::Accepted { rejected } => {
                    return Sent { outcome: Outcome::Accepted { rejected }, answers, message };
                }
                Verdict::Refused => {
                    let outcome = if is_known { Outcome::Refused } else { Outcome::Unknown };
                    return Sent { outcome, answers, message };
                }
                Verdict::Later { wait } => wait,
                Verdict::NoAnswer => {
                    is_known = false;
                    None
                }
            };
            // Jitter, so that what failed together does not come back together.
            let jitter = rand::rng().random_range(0.5..1.0);
            let pause = named.unwrap_or_else(|| wait.mul_f64(jitter));
            if Instant::now() + pause >= end {
                let outcome = if is_known { Outcome::GivenUp } else { Outcome::Unknown };
                return Sent { outcome, answers, message };
            }
            sleep(pause).await;
            wait = (wait * 2).min(LAST_WAIT);
        }
    }

    async fn attempt(&self, request: &Request, attempts: usize) -> Answer {
        let turn = request.number as usize + attempts;
        let door = &self.doors[turn % self.doors.len()];
        let attempt = timeout(self.patience.answer, door.attempt(request.signal, request.body.clone()));
        attempt.await.unwrap_or_else(|_| Answer::too_late())
    }
}

impl Sent {
    /// Whether any attempt was refused.
    #[must_use]
    pub fn was_refused(&self) -> bool {
        self.answers.iter().any(|code| code.is_refusal())
    }
}
