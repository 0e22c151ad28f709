//! What an engine fails by, and how it is mended.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use h2::{SendStream, client::ResponseFuture};
use http::Request;
use testbed::{
    EngineOptions, EngineProcess, Signal,
    redis::{Network, Proxy},
};
use tokio::{net::TcpStream, task::JoinSet, time::timeout};

use crate::client::EXPORT;

/// How much later an engine answers that is slow: its health still counts as told in time.
const DELAY: Duration = Duration::from_millis(300);
/// Room of an engine that is going to refuse: more than a light load needs.
const PLACES: usize = 4;
/// A request that has no answer after this time has taken a place.
const REFUSED_WITHIN: Duration = Duration::from_millis(20);
/// Requests that are sent until all places are taken.
const ATTEMPTS_MAX: usize = 100;

/// A way to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// SIGKILL.
    Killed,
    /// SIGSTOP: connections stay, and nothing is answered.
    Hung,
    /// SIGTERM.
    Draining,
    /// Everything arrives later.
    Slow,
    /// `UNAVAILABLE` to every request; health says that all is well.
    Refusing,
}

impl Fault {
    /// Whether the gateway leaves the engine because of its health, or because of its answers.
    pub(super) fn is_told_by_health(self) -> bool {
        matches!(self, Self::Killed | Self::Hung | Self::Draining)
    }
}

/// The engine that fails.
pub(super) struct Victim {
    fault: Fault,
    engine: EngineProcess,
    /// Stands before an engine that is going to be slow.
    network: Option<Proxy>,
    /// Take all the places of an engine that refuses.
    held: Option<Held>,
}

impl Victim {
    pub(super) async fn start(fault: Fault) -> anyhow::Result<Self> {
        let settings = match fault {
            Fault::Refusing => {
                vec![("grpc.limits.requests_in_flight_max".to_owned(), PLACES.to_string())]
            }
            _ => Vec::new(),
        };
        let engine = EngineProcess::start(EngineOptions { settings, ..EngineOptions::default() }).await?;
        let network = match fault {
            Fault::Slow => Some(Proxy::start(engine.grpc())?),
            _ => None,
        };
        Ok(Self { fault, engine, network, held: None })
    }

    pub(super) fn engine(&self) -> &EngineProcess {
        &self.engine
    }

    /// Where the gateway finds it.
    pub(super) fn url(&self) -> String {
        match &self.network {
            Some(proxy) => format!("http://{}", proxy.address()),
            None => self.engine.url(),
        }
    }

    pub(super) async fn fail(&mut self) -> anyhow::Result<()> {
        match self.fault {
            Fault::Killed => self.engine.process().kill(),
            Fault::Hung => self.engine.process().pause(),
            Fault::Draining => self.engine.process().signal(Signal::SIGTERM),
            Fault::Slow => {
                self.turn(Network::Slow(DELAY));
                Ok(())
            }
            Fault::Refusing => {
                self.held = Some(Held::all(self.engine.grpc()).await?);
                Ok(())
            }
        }
    }

    /// Mends it; one that has ended is started again, and ready.
    pub(super) async fn recover(&mut self) -> anyhow::Result<()> {
        match self.fault {
            Fault::Killed | Fault::Draining => self.engine.restart().await,
            Fault::Hung => self.engine.process().resume(),
            Fault::Slow => {
                self.turn(Network::Whole);
                Ok(())
            }
            Fault::Refusing => {
                self.held = None;
                Ok(())
            }
        }
    }

    fn turn(&self, network: Network) {
        if let Some(proxy) = &self.network {
            proxy.turn(network);
        }
    }
}

/// Requests that do not end, as many as there are places.
struct Held {
    _requests: Vec<(ResponseFuture, SendStream<Bytes>)>,
    _connection: JoinSet<()>,
}

impl Held {
    async fn all(engine: SocketAddr) -> anyhow::Result<Self> {
        let (mut requests, connection) = h2::client::handshake(TcpStream::connect(engine).await?).await?;
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            // It ends with the engine or with this, and neither says more.
            let _ = connection.await;
        });
        let mut held = Vec::new();
        for _ in 0..ATTEMPTS_MAX {
            let head = Request::post(format!("http://{engine}{EXPORT}"));
            let head = head.header("content-type", "application/grpc").header("te", "trailers").body(())?;
            requests = requests.ready().await.context("the engine ended the connection")?;
            let (mut answer, body) = requests.send_request(head, false)?;
            if timeout(REFUSED_WITHIN, &mut answer).await.is_err() {
                held.push((answer, body));
            }
            if held.len() == PLACES {
                return Ok(Self { _requests: held, _connection: driver });
            }
        }
        bail!("{} of {PLACES} places could be taken", held.len())
    }
}
