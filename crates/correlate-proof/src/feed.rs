//! Sends what is planned, each request until it is acknowledged.

use std::sync::Arc;

use anyhow::{Context as _, ensure};
use correlate_proof::{
    arrival::Arrivals,
    book::Book,
    delivered::Delivered,
    mutation::{Mutation, Once},
    plan::Planned,
    recording::Telemetry,
};
use loadgen::{output::Progress, sender::Sender};
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, sleep_until},
};

/// Most requests in flight: an engine that is killed holds up some of them for a while.
const IN_FLIGHT_MAX: usize = 64;

/// What is needed to send.
#[derive(Debug)]
pub(crate) struct Feed {
    book: Arc<Book>,
    sender: Sender,
    add_span: Once,
    arrivals: Arrivals,
}

impl Feed {
    pub(crate) fn new(book: &Arc<Book>, sender: Sender, mutation: Option<Mutation>) -> Self {
        Self {
            book: Arc::clone(book),
            sender,
            add_span: Once::of(mutation, Mutation::AddSpan),
            arrivals: Arrivals::default(),
        }
    }

    /// Sends everything at its time after `start`.
    ///
    /// # Errors
    /// When a request is refused for good, or not acknowledged within a minute.
    pub(crate) async fn run(
        self: Arc<Self>,
        plan: Vec<Planned>,
        start: Instant,
        delivered: &Delivered,
    ) -> anyhow::Result<()> {
        let (mut sending, mut progress) = (JoinSet::new(), Progress::default());
        let (room, all) = (Arc::new(Semaphore::new(IN_FLIGHT_MAX)), plan.len());
        for (number, planned) in plan.into_iter().enumerate() {
            sleep_until(start + planned.at).await;
            let place = Arc::clone(&room).acquire_owned().await.context("the feed has ended")?;
            let feed = Arc::clone(&self);
            sending.spawn(async move {
                let _place = place;
                feed.send(planned).await
            });
            while let Some(sent) = sending.try_join_next() {
                sent??;
            }
            progress
                .show(|| format!("{number} of {all} requests sent, {} items delivered", delivered.count()));
        }
        while let Some(sent) = sending.join_next().await {
            sent??;
        }
        progress.finish(&format!("{all} requests sent, {} attempts were repeated", self.sender.retries()));
        Ok(())
    }

    /// Sends one request of a copy.
    pub(crate) async fn send(&self, planned: Planned) -> anyhow::Result<()> {
        let copy = &self.book.copies[planned.copy];
        let telemetry = &copy.recording.requests[planned.sending.request];
        let request = match telemetry {
            Telemetry::Traces(_) if planned.copy == 0 && self.add_span.is_now() => {
                telemetry.with_a_span_more().disguised(&copy.disguise)
            }
            telemetry => telemetry.disguised(&copy.disguise),
        };
        let begun = Instant::now();
        let answer = self.sender.send(&request, planned.sending).await?;
        ensure!(answer.rejected == 0, "{} items were refused for good: {}", answer.rejected, answer.message);
        self.arrivals.note(planned.copy, planned.sending.request, begun, Instant::now());
        Ok(())
    }

    /// When everything that was sent arrived.
    pub(crate) fn arrivals(&self) -> &Arrivals {
        &self.arrivals
    }
}
