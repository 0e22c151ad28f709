//! Follows the endpoints: lanes for those that are added, none for those that are gone, others for those
//! that have changed.

use std::{sync::Arc, time::Duration};

use tokio::{task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    client::Transport,
    endpoint::{Endpoint, EndpointError},
    lane::{Lane, Worker},
    lanes::{CurrentLanes, Lanes},
    metric,
};
use state_core::Signal;

/// How often it is looked whether they have changed.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The endpoints as they are now.
pub(crate) type Source = Box<dyn Fn() -> Arc<Vec<Endpoint>> + Send>;

/// Keeps lanes for the endpoints, and the workers of all lanes.
pub(crate) struct Roster<Connect> {
    source: Source,
    /// What the lanes are for.
    seen: Arc<Vec<Endpoint>>,
    connect: Connect,
    members: Vec<Member>,
    workers: JoinSet<()>,
    current: CurrentLanes,
    draining: CancellationToken,
}

/// An endpoint that has lanes.
struct Member {
    endpoint: Endpoint,
    lanes: Vec<Arc<Lane>>,
    /// Then its workers send what they have, and end.
    gone: CancellationToken,
}

impl<T: Transport, Connect> Roster<Connect>
where
    Connect: Fn(&Endpoint, Signal) -> Result<T, EndpointError> + Send + 'static,
{
    /// Makes the first lanes.
    ///
    /// # Errors
    /// An endpoint that cannot be used.
    pub(crate) fn open(
        source: Source,
        connect: Connect,
        current: CurrentLanes,
        draining: CancellationToken,
    ) -> Result<Self, EndpointError> {
        let seen = source();
        let (members, workers) = (Vec::new(), JoinSet::new());
        let mut roster = Self { source, seen, connect, members, workers, current, draining };
        roster.apply()?;
        Ok(roster)
    }

    /// Follows the endpoints until it is to drain, and then waits for the workers until the time is up.
    pub(crate) async fn run(mut self, time_is_up: CancellationToken) {
        loop {
            tokio::select! {
                () = self.draining.cancelled() => break,
                () = sleep(LOOK_INTERVAL) => {}
            }
            while self.workers.try_join_next().is_some() {}
            let now = (self.source)();
            if !Arc::ptr_eq(&now, &self.seen) {
                self.seen = now;
                match self.apply() {
                    Ok(()) => metric::endpoints_changed("used"),
                    Err(error) => {
                        metric::endpoints_changed("refused");
                        let error = &error as &dyn std::error::Error;
                        warn!(error, "changed endpoints cannot be used; those before stay in use");
                    }
                }
            }
        }
        let finished = async { while self.workers.join_next().await.is_some() {} };
        tokio::select! {
            () = finished => {}
            () = time_is_up.cancelled() => self.workers.shutdown().await,
        }
    }

    /// Has a lane for each signal of each endpoint; those of unchanged ones stay as they are.
    fn apply(&mut self) -> Result<(), EndpointError> {
        let endpoints = Arc::clone(&self.seen);
        let is_kept = |member: &Member| endpoints.contains(&member.endpoint);
        let is_new = |endpoint: &&Endpoint| !self.members.iter().any(|member| member.endpoint == **endpoint);
        // Everything that can fail comes first.
        let mut ways = Vec::new();
        for endpoint in endpoints.iter().filter(is_new) {
            let connect = |signal: &Signal| Ok((*signal, (self.connect)(endpoint, *signal)?));
            ways.push((endpoint, endpoint.signals.iter().map(connect).collect::<Result<Vec<_>, _>>()?));
        }
        let (kept, gone) = std::mem::take(&mut self.members).into_iter().partition(is_kept);
        self.members = kept;
        let gone: Vec<Member> = gone;
        for (endpoint, transports) in ways {
            info!(?endpoint, "closed correlations are delivered");
            self.add(endpoint, transports);
        }
        let longest = self.members.iter().map(|member| member.endpoint.timeout).max().unwrap_or_default();
        let lanes = self.members.iter().flat_map(|member| &member.lanes).cloned().collect();
        self.current.replace(Lanes::new(lanes, longest));
        for Member { endpoint, lanes, gone } in gone {
            info!(endpoint = endpoint.name, "nothing more is delivered as it was configured before");
            gone.cancel();
            lanes.iter().for_each(|lane| lane.retire());
        }
        Ok(())
    }

    fn add(&mut self, endpoint: &Endpoint, transports: Vec<(Signal, T)>) {
        let gone = self.draining.child_token();
        let mut lanes = Vec::new();
        for (signal, transport) in transports {
            let lanes_before = self.members.iter().flat_map(|member| &member.lanes).chain(&lanes);
            let taken = lanes_before.fold(0, |set, lane| set | lane.bit);
            let (lane, incoming) = Lane::new(&endpoint.name, signal, (!taken).trailing_zeros());
            let worker = Worker::new(Arc::clone(&lane), incoming, transport, endpoint.batch_bytes_max);
            self.workers.spawn(worker.run(gone.clone()));
            lanes.push(lane);
        }
        self.members.push(Member { endpoint: endpoint.clone(), lanes, gone });
    }
}
