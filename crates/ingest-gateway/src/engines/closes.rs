//! What all engines close, as one stream that follows engines as they come and go.
//!
//! Each close is told of by one engine, so nothing is there twice. What an engine closes while it is not watched
//! is not told of, and that is said.

use std::{collections::HashSet, net::SocketAddr, sync::Arc, time::Duration};

use access::Caller;
use futures::{
    StreamExt as _,
    future::join_all,
    stream::{self, BoxStream, SelectAll},
};
use otlp_proto::correlation::v1::{
    ClosedEvent, WatchRequest, WatchResponse, watch_response, watch_service_client::WatchServiceClient,
};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep_until, timeout, timeout_at};
use tonic::{Request, Status, Streaming};
use tracing::debug;

use super::{Engines, engine::Engine};
use crate::status;

/// How often it is looked for engines that have come.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// How long an engine may take to begin to tell.
const OPEN_TIMEOUT: Duration = Duration::from_secs(2);
/// Shortest time until an engine is asked again.
const PAUSE_MIN: Duration = Duration::from_millis(250);
/// Longest time until one is asked again that refuses again and again.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// Something that whoever listens is told.
#[derive(Debug)]
pub(crate) enum Told {
    Closed(Box<ClosedEvent>),
    /// Closes were not told of, and why.
    Missed {
        /// How many; `None` when nobody knows.
        count: Option<u64>,
        reason: String,
    },
}

/// The closes of all engines, in the name of one caller.
pub(crate) struct Closes {
    watch: Watch,
    /// Engines that have a line.
    watched: HashSet<SocketAddr>,
    lines: SelectAll<BoxStream<'static, Heard>>,
    looks: Interval,
}

/// What comes from one engine; nothing is the end of its line.
type Heard = (SocketAddr, Option<Told>);

/// What every engine is asked.
#[derive(Clone)]
struct Watch {
    engines: Arc<Engines>,
    caller: Caller,
    request: WatchRequest,
}

impl Closes {
    /// Watches every engine that is ready. What they close is told of from when this has returned.
    ///
    /// # Errors
    /// `UNAVAILABLE` when no engine is ready; what they say when not one of them can be watched.
    pub(crate) async fn open(
        engines: Arc<Engines>,
        caller: Caller,
        request: WatchRequest,
        deadline: Instant,
    ) -> Result<Self, Status> {
        let ready = engines.ready();
        if ready.is_empty() {
            return Err(engines.none_ready());
        }
        let watch = Watch { engines, caller, request };
        let opening = ready.iter().map(async |engine| {
            let opened = timeout_at(deadline, watch.open(engine)).await;
            let late = |_elapsed| Status::deadline_exceeded("engines did not begin to tell in time");
            (engine.address, opened.map_err(late).flatten())
        });
        let mut opened = join_all(opening).await;
        if opened.iter().all(|(_, it)| it.is_err())
            && let Some((_, any)) = opened.pop()
        {
            any?;
        }
        let mut looks = interval(LOOK_INTERVAL);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut closes = Self { watch, watched: HashSet::new(), lines: SelectAll::new(), looks };
        for (address, opened) in opened {
            let standing =
                opened.map_or_else(|answer| Standing::Lost(status::root_cause(&answer)), Standing::Open);
            closes.begin(address, standing);
        }
        Ok(closes)
    }

    /// The next thing to tell. Never ends; may be cancelled.
    pub(crate) async fn next(&mut self) -> Told {
        loop {
            tokio::select! {
                Some((address, told)) = self.lines.next() => match told {
                    Some(told) => return told,
                    None => {
                        self.watched.remove(&address);
                    }
                },
                _ = self.looks.tick() => {
                    for engine in self.watch.engines.ready() {
                        self.begin(engine.address, Standing::away(Duration::ZERO));
                    }
                }
            }
        }
    }

    /// Begins to follow an engine, unless that is done already.
    fn begin(&mut self, address: SocketAddr, standing: Standing) {
        if self.watched.insert(address) {
            let line = Line { watch: self.watch.clone(), address, standing };
            self.lines.push(stream::unfold(line, Line::next).boxed());
        }
    }
}

impl Watch {
    async fn open(&self, engine: &Engine) -> Result<Streaming<WatchResponse>, Status> {
        let mut request = Request::new(self.request.clone());
        self.engines.signature.sign(request.metadata_mut(), &self.caller)?;
        let opening = async { WatchServiceClient::new(engine.watching()).watch(request).await };
        let opened = timeout(OPEN_TIMEOUT, opening).await;
        let opened = opened.unwrap_or_else(|_elapsed| {
            Err(status::unavailable(format!("engine {} does not begin to tell", engine.url())))
        });
        opened.map(tonic::Response::into_inner)
    }
}

impl Engines {
    /// Engines that are ready, each address once.
    fn ready(&self) -> Vec<Arc<Engine>> {
        let mut seen = HashSet::new();
        let known = self.known.load();
        let engines = known.iter().flat_map(|pool| &pool.engines);
        engines.filter(|it| it.is_ready() && seen.insert(it.address)).cloned().collect()
    }

    fn at(&self, address: SocketAddr) -> Option<Arc<Engine>> {
        let known = self.known.load();
        known.iter().flat_map(|pool| &pool.engines).find(|engine| engine.address == address).cloned()
    }
}

/// One engine, for as long as it is known.
struct Line {
    watch: Watch,
    address: SocketAddr,
    standing: Standing,
}

enum Standing {
    /// It tells.
    Open(Streaming<WatchResponse>),
    /// It does not tell any more, which has not been said yet.
    Lost(String),
    /// It is asked again, after a pause.
    Away { until: Instant, pause: Duration },
    /// It is not known any more.
    Gone,
}

impl Standing {
    fn away(pause: Duration) -> Self {
        Self::Away { until: Instant::now() + pause, pause }
    }
}

impl Line {
    /// What comes next, and the line as it stands then; `None` after its end.
    async fn next(mut self) -> Option<(Heard, Self)> {
        let address = self.address;
        let missed = |reason| Some(Told::Missed { count: None, reason });
        let (told, standing) = loop {
            self.standing = match self.standing {
                Standing::Open(mut messages) => match messages.message().await {
                    Ok(Some(message)) => match told(message) {
                        Some(told) => break (Some(told), Standing::Open(messages)),
                        None => Standing::Open(messages),
                    },
                    Ok(None) => Standing::Lost("it has ended its answer".to_owned()),
                    Err(answer) => Standing::Lost(status::root_cause(&answer)),
                },
                Standing::Lost(reason) => {
                    let reason = format!("engine {address} is not watched for now: {reason}");
                    break (missed(reason), Standing::away(PAUSE_MIN));
                }
                Standing::Away { until, pause } => {
                    sleep_until(until).await;
                    let Some(engine) = self.watch.engines.at(address) else { break (None, Standing::Gone) };
                    if !engine.is_ready() {
                        self.standing = Standing::away(PAUSE_MIN);
                        continue;
                    }
                    match self.watch.open(&engine).await {
                        Ok(messages) => {
                            let reason = format!("engine {address} is watched from now on");
                            break (missed(reason), Standing::Open(messages));
                        }
                        Err(answer) => {
                            debug!(engine = %address, %answer, "an engine does not tell of what it closes");
                            Standing::away((pause * 2).clamp(PAUSE_MIN, PAUSE_MAX))
                        }
                    }
                }
                Standing::Gone => return None,
            };
        };
        self.standing = standing;
        Some(((address, told), self))
    }
}

fn told(message: WatchResponse) -> Option<Told> {
    Some(match message.told? {
        watch_response::Told::Closed(event) => Told::Closed(Box::new(event)),
        watch_response::Told::Missed(count) => {
            Told::Missed { count: Some(count), reason: "events are not read as fast as they come".to_owned() }
        }
    })
}
