//! Clients on all doors: they send what is planned, and again as a Collector does, until it is acknowledged.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use correlate_proof::{
    arrival::Arrivals,
    book::Book,
    mutation::{self, Once},
    plan::Planned,
    recording::Telemetry,
};
use loadgen::{
    output::Progress,
    request::Request,
    sender::{Failure, Sender},
};
use rand::Rng as _;
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use crate::{
    attempts::{Attempts, Outcome},
    mutation::Mutation,
    standing::{Standing, Standings},
};

// `retry_on_failure` of the Collector's exporters: 5 s, 30 s, a factor of 1.5, half of it at random. A tenth of
// these times, so that the clients do not hide how soon a request would be taken again.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LAST_WAIT: Duration = Duration::from_secs(3);
const FACTOR: f64 = 1.5;
const JITTER: f64 = 0.5;
/// `max_elapsed_time` of the Collector is 300 s; longer than anything here is away.
const PATIENCE: Duration = Duration::from_secs(150);
/// `queue_size` of the Collector is 1,000 requests. Beyond it nothing more is sent for now.
const IN_FLIGHT_MAX: usize = 1_000;
/// One request in so many is of a client that tries once, as at the end of its process.
const ONCE_ONE_IN: usize = 20;
/// What nobody acknowledged may arrive at any time from then on.
const NEVER: Duration = Duration::from_secs(86_400);

/// What all clients share.
#[derive(Debug)]
pub(crate) struct Clients {
    pub(crate) book: Arc<Book>,
    sender: Sender,
    pub(crate) attempts: Attempts,
    pub(crate) standings: Standings,
    pub(crate) arrivals: Arrivals,
    add_span: Once,
    lose_request: Once,
}

impl Clients {
    pub(crate) fn new(
        book: &Arc<Book>,
        sender: Sender,
        arrivals: Arrivals,
        mutation: Option<Mutation>,
    ) -> Arc<Self> {
        let requests = book.copies.iter().map(|copy| copy.recording.requests.len()).sum();
        let mutation = mutation.and_then(Mutation::of_proof);
        Arc::new(Self {
            book: Arc::clone(book),
            sender,
            attempts: Attempts::default(),
            standings: Standings::of(requests),
            arrivals,
            add_span: Once::of(mutation, mutation::Mutation::AddSpan),
            lose_request: Once::of(mutation, mutation::Mutation::LoseRequest),
        })
    }

    /// Sends everything at its time after `start`, as far as there is time before `end`, and waits until
    /// every request has an answer or is given up. Answers how many requests were not sent for lack of time.
    ///
    /// # Errors
    /// When a task fails.
    pub(crate) async fn run(
        self: Arc<Self>,
        planned: Vec<Planned>,
        start: Instant,
        end: Instant,
    ) -> anyhow::Result<usize> {
        let (mut sending, mut progress) = (JoinSet::new(), Progress::default());
        let (room, all) = (Arc::new(Semaphore::new(IN_FLIGHT_MAX)), planned.len());
        let mut unsent = 0;
        for (number, planned) in planned.into_iter().enumerate() {
            sleep_until((start + planned.at).min(end)).await;
            let place = Arc::clone(&room).acquire_owned().await.context("the clients have ended")?;
            if Instant::now() >= end {
                unsent += 1;
                continue;
            }
            let clients = Arc::clone(&self);
            sending.spawn(async move {
                let _place = place;
                clients.send(planned).await;
            });
            while let Some(sent) = sending.try_join_next() {
                sent?;
            }
            progress.show(|| {
                let waiting = IN_FLIGHT_MAX - room.available_permits();
                format!("{number} of {all} requests begun, {waiting} not acknowledged yet")
            });
        }
        while let Some(sent) = sending.join_next().await {
            sent?;
        }
        Ok(unsent)
    }

    async fn send(&self, planned: Planned) {
        let (request, begun) = (planned.sending.request, Instant::now());
        let standing = if self.lose_request.is_now() {
            Standing::Acknowledged
        } else {
            self.deliver(&self.request(request), planned, begun).await
        };
        let until = if standing == Standing::Acknowledged { Instant::now() } else { begun + NEVER };
        self.arrivals.note(planned.copy, request, begun, until);
        self.standings.rise(request, standing);
    }

    /// Sends a request until it is acknowledged or given up.
    async fn deliver(&self, request: &Request, planned: Planned, begun: Instant) -> Standing {
        let (sending, traces) = (planned.sending, self.traces_of(planned.sending.request));
        let is_patient = !sending.request.is_multiple_of(ONCE_ONE_IN);
        let end = if is_patient { begun + PATIENCE } else { begun };
        let (mut wait, mut standing) = (FIRST_WAIT, Standing::Refused);
        for turn in 0.. {
            let door = self.sender.after(sending.door, turn);
            let attempt = Instant::now();
            let failure = match self.sender.attempt(request, door, sending.gzip).await {
                Ok(answer) if answer.rejected == 0 => {
                    self.attempts.note(door.into(), traces, attempt, Outcome::Accepted);
                    return Standing::Acknowledged;
                }
                Ok(answer) => {
                    let words = format!("{door:?} rejected {} items: {}", answer.rejected, answer.message);
                    self.attempts.note_wrong(words);
                    return standing;
                }
                Err(failure) => failure,
            };
            let Failure { error, is_retryable, is_answered, retry_after } = failure;
            let outcome = if is_answered { Outcome::Refused } else { Outcome::Unanswered };
            self.attempts.note(door.into(), traces, attempt, outcome);
            if !is_answered {
                standing = Standing::Unknown;
            }
            if !is_retryable {
                self.attempts.note_wrong(format!("{door:?}: {error:#}"));
                break;
            }
            let jittered = wait.mul_f64(rand::rng().random_range(1.0 - JITTER..1.0 + JITTER));
            let pause = jittered.max(retry_after.unwrap_or_default());
            if Instant::now() + pause >= end {
                break;
            }
            sleep(pause).await;
            wait = wait.mul_f64(FACTOR).min(LAST_WAIT);
        }
        standing
    }

    fn traces_of(&self, request: usize) -> usize {
        self.book.copies[0].recording.requests[request].traces()
    }

    fn request(&self, number: usize) -> Request {
        let copy = &self.book.copies[0];
        match &copy.recording.requests[number] {
            telemetry @ Telemetry::Traces(_) if self.add_span.is_now() => {
                telemetry.with_a_span_more().disguised(&copy.disguise)
            }
            telemetry => telemetry.disguised(&copy.disguise),
        }
    }
}
