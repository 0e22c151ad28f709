//! A light load that goes on whatever happens, as that of many clients does.

use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use testbed::GatewayProcess;
use tokio::{
    sync::oneshot,
    task::JoinSet,
    time::{Instant, interval},
};

use crate::{
    client::Door,
    requests::{self, Shape},
};

/// A few percent of what the machine could take.
pub(super) const PER_SECOND: f64 = 200.0;
/// Requests that are made; they are sent again and again.
const REQUESTS: usize = 200;
/// What would be sent beyond waits: nothing grows without a limit.
const UNANSWERED_MAX: usize = 2_000;

/// Requests of 20 spans to a gateway over HTTP, until it is ended or dropped.
pub(super) struct SteadyLoad {
    end: oneshot::Sender<()>,
    sending: JoinSet<anyhow::Result<Vec<Sent>>>,
}

/// One request and its answer.
pub(super) struct Sent {
    pub(super) at: Instant,
    pub(super) took: Duration,
    /// `None` when it was accepted.
    pub(super) error: Option<anyhow::Error>,
}

impl SteadyLoad {
    pub(super) fn begin(gateway: &GatewayProcess) -> anyhow::Result<Self> {
        let door = Door::of_gateway(&gateway.url(), "application/x-protobuf")?;
        let requests = requests::protobuf(Shape::SMALL, REQUESTS * Shape::SMALL.traces * Shape::SMALL.spans);
        let (end, ended) = oneshot::channel();
        let mut sending = JoinSet::new();
        sending.spawn(send(door, requests, ended));
        Ok(Self { end, sending })
    }

    /// Sends no more; answers all that was sent, once it is answered.
    ///
    /// # Errors
    /// When sending has failed.
    pub(super) async fn end(mut self) -> anyhow::Result<Vec<Sent>> {
        drop(self.end);
        self.sending.join_next().await.context("nothing was sent")??
    }
}

async fn send(
    door: Door,
    requests: Vec<Bytes>,
    mut ended: oneshot::Receiver<()>,
) -> anyhow::Result<Vec<Sent>> {
    let (mut unanswered, mut sent) = (JoinSet::new(), Vec::new());
    let mut ticks = interval(Duration::from_secs_f64(1.0 / PER_SECOND));
    for request in requests.iter().cycle() {
        tokio::select! {
            _ = ticks.tick(), if unanswered.len() < UNANSWERED_MAX => {}
            _ = &mut ended => break,
        }
        let (mut door, request) = (door.clone(), request.clone());
        unanswered.spawn(async move {
            let at = Instant::now();
            let error = door.send(request).await.err();
            Sent { at, took: at.elapsed(), error }
        });
        while let Some(answered) = unanswered.try_join_next() {
            sent.push(answered?);
        }
    }
    while let Some(answered) = unanswered.join_next().await {
        sent.push(answered?);
    }
    Ok(sent)
}
