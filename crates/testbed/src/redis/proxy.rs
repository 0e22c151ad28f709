//! A network between the clients of a Redis server and the server, with the faults of one.
//!
//! Replicas reach their primary through it as well, because a cluster has one address for each node.
//! They are told by their commands and never disturbed: the faults are those of clients.

use std::{net::SocketAddr, time::Duration};

use anyhow::Context as _;
use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, tcp},
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep_until},
};

use crate::ports::Port;

/// Bytes that are read at once.
const CHUNK_BYTES: usize = 64 << 10;
/// Chunks that are on their way in one connection; beyond it the sender waits.
const CHUNKS_MAX: usize = 1_024;

/// What happens to the connections of clients, those that are there and new ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// Everything arrives.
    Whole,
    /// Connections end as soon as they are there.
    Cut,
    /// Connections stay and are accepted, and nothing arrives in either direction. They end when the
    /// network becomes another one: what they have swallowed is gone.
    Silent,
    /// Requests arrive later by this time; answers at once.
    Slow(Duration),
    /// Script calls arrive and are done; then their connection ends in the place of the answer.
    LosesAnswers,
}

/// The network as it is now, and what it has done.
#[derive(Debug, Clone, Copy)]
struct State {
    network: Network,
    /// How often it changed in a way that connections of clients do not survive. Counted, so that a
    /// connection which looks only after the next change has ended all the same.
    ends: u64,
}

/// A proxy in front of one Redis server; ends when dropped.
#[derive(Debug)]
pub struct Proxy {
    port: Port,
    state: watch::Sender<State>,
    /// Accepts, and owns the connections.
    _acceptor: JoinSet<()>,
}

impl Proxy {
    /// Listens on a free port for connections to `server`. Needs a tokio runtime.
    ///
    /// # Errors
    /// When no port is free.
    pub fn start(server: SocketAddr) -> anyhow::Result<Self> {
        let port = Port::free()?;
        let listen = || {
            let listener = std::net::TcpListener::bind(port.address())?;
            listener.set_nonblocking(true)?;
            TcpListener::from_std(listener)
        };
        let listener =
            listen().with_context(|| format!("failed to listen on {} for a proxy", port.address()))?;
        let state = watch::Sender::new(State { network: Network::Whole, ends: 0 });
        let mut acceptor = JoinSet::new();
        acceptor.spawn(accept(listener, server, state.subscribe()));
        Ok(Self { port, state, _acceptor: acceptor })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Changes the network, for the connections that are there too.
    pub fn turn(&self, network: Network) {
        self.state.send_modify(|state| {
            if network == Network::Cut || state.network == Network::Silent {
                state.ends += 1;
            }
            state.network = network;
        });
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, state: watch::Receiver<State>) {
    let mut connections = JoinSet::new();
    loop {
        // An accept that fails says something about one connection, or will do so again: no reason to end.
        if let Ok((client, _)) = listener.accept().await {
            let begun_at = state.borrow().ends;
            let connection = Connection { state: state.clone(), begun_at, kind: Mutex::default() };
            connections.spawn(connection.serve(client, server));
        }
        while connections.try_join_next().is_some() {}
    }
}

/// Who is at the other end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Kind {
    /// Nothing but `PING` has come, with which replicas begin too.
    #[default]
    Unknown,
    Client {
        /// A script call is on its way.
        has_called: bool,
    },
    Replica,
}

#[derive(Debug)]
struct Connection {
    state: watch::Receiver<State>,
    /// What [`State::ends`] was when it began.
    begun_at: u64,
    kind: Mutex<Kind>,
}

impl Connection {
    async fn serve(self, client: TcpStream, server: SocketAddr) {
        // A server that is not there: the client sees its connection end.
        let Ok(mut upstream) = TcpStream::connect(server).await else { return };
        let mut client = client;
        let _ = (client.set_nodelay(true), upstream.set_nodelay(true));
        {
            let (from_client, to_client) = client.split();
            let (from_server, to_server) = upstream.split();
            tokio::select! {
                () = self.requests(from_client, to_server) => {}
                () = self.answers(from_server, to_client) => {}
                () = self.ended_by_change() => {}
            }
        }
        // Ends as a network that fails does, not as a peer that says goodbye.
        let _ = client.set_zero_linger();
    }

    /// What the network does to this connection now.
    fn network(&self) -> Network {
        if *self.kind.lock() == Kind::Replica { Network::Whole } else { self.state.borrow().network }
    }

    async fn requests(&self, mut from: tcp::ReadHalf<'_>, mut to: tcp::WriteHalf<'_>) {
        let (queue, mut queued) = mpsc::channel::<(Instant, Vec<u8>)>(CHUNKS_MAX);
        let read = async move {
            let mut buffer = vec![0; CHUNK_BYTES];
            while let Ok(length @ 1..) = from.read(&mut buffer).await {
                let chunk = &buffer[..length];
                let kind = self.kind.lock().after(chunk);
                *self.kind.lock() = kind;
                let is_known = kind != Kind::Unknown;
                let due = match self.network() {
                    Network::Cut if is_known => return,
                    Network::Silent if is_known => continue,
                    Network::Slow(delay) => Instant::now() + delay,
                    _ => Instant::now(),
                };
                if queue.send((due, chunk.to_vec())).await.is_err() {
                    return;
                }
            }
        };
        let write = async {
            while let Some((due, chunk)) = queued.recv().await {
                sleep_until(due).await;
                if to.write_all(&chunk).await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            () = read => {}
            () = write => {}
        }
    }

    async fn answers(&self, mut from: tcp::ReadHalf<'_>, mut to: tcp::WriteHalf<'_>) {
        let mut buffer = vec![0; CHUNK_BYTES];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            let kind = *self.kind.lock();
            match self.network() {
                Network::Cut if kind != Kind::Unknown => return,
                Network::Silent if kind != Kind::Unknown => continue,
                Network::LosesAnswers if kind == (Kind::Client { has_called: true }) => return,
                _ => {}
            }
            if to.write_all(&buffer[..length]).await.is_err() {
                return;
            }
        }
    }

    /// Waits for a change of the network that this connection does not survive.
    async fn ended_by_change(&self) {
        let mut state = self.state.clone();
        let is_ended = |state: &State| state.ends != self.begun_at && *self.kind.lock() != Kind::Replica;
        // An error: the proxy has ended, and its connections with it.
        let _ = state.wait_for(is_ended).await;
    }
}

impl Kind {
    /// What a connection is after these bytes from it.
    fn after(self, chunk: &[u8]) -> Self {
        let has = |word: &[u8]| chunk.windows(word.len()).any(|part| part.eq_ignore_ascii_case(word));
        match self {
            Self::Replica => Self::Replica,
            _ if has(b"REPLCONF") || has(b"PSYNC") => Self::Replica,
            Self::Unknown if chunk.eq_ignore_ascii_case(b"*1\r\n$4\r\nPING\r\n") => Self::Unknown,
            Self::Unknown => Self::Client { has_called: has(b"EVALSHA") },
            Self::Client { has_called } => Self::Client { has_called: has_called || has(b"EVALSHA") },
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    const SOON: Duration = Duration::from_secs(5);
    const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";
    const CALL: &[u8] = b"*1\r\n$7\r\nEVALSHA\r\n";
    const SYNC: &[u8] = b"*1\r\n$5\r\nPSYNC\r\n";

    /// A server that answers every chunk with itself, and a proxy before it.
    async fn echo() -> (Proxy, JoinSet<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                connections.spawn(async move {
                    let (mut from, mut to) = stream.split();
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                });
            }
        });
        (Proxy::start(server).unwrap(), tasks)
    }

    async fn connect(proxy: &Proxy) -> TcpStream {
        TcpStream::connect(proxy.address()).await.unwrap()
    }

    /// Sends and reads the answer; none when the connection has ended.
    async fn exchange(stream: &mut TcpStream, request: &[u8]) -> Option<Vec<u8>> {
        stream.write_all(request).await.ok()?;
        let mut answer = vec![0; request.len()];
        timeout(SOON, stream.read_exact(&mut answer)).await.unwrap().ok()?;
        Some(answer)
    }

    #[tokio::test]
    async fn a_cut_ends_clients_and_no_replica() {
        let (proxy, _server) = echo().await;
        let (mut client, mut replica) = (connect(&proxy).await, connect(&proxy).await);
        assert_eq!(exchange(&mut client, CALL).await.as_deref(), Some(CALL));
        assert_eq!(exchange(&mut replica, SYNC).await.as_deref(), Some(SYNC));
        proxy.turn(Network::Cut);
        assert_eq!(exchange(&mut client, CALL).await, None);
        assert_eq!(exchange(&mut connect(&proxy).await, CALL).await, None);
        assert_eq!(exchange(&mut replica, SYNC).await.as_deref(), Some(SYNC));
        let mut newcomer = connect(&proxy).await;
        assert_eq!(exchange(&mut newcomer, PING).await.as_deref(), Some(PING), "a replica begins so");
        assert_eq!(exchange(&mut newcomer, SYNC).await.as_deref(), Some(SYNC));
        proxy.turn(Network::Whole);
        assert_eq!(exchange(&mut connect(&proxy).await, CALL).await.as_deref(), Some(CALL));
    }

    #[tokio::test]
    async fn a_silent_network_takes_everything_and_gives_nothing() {
        let (proxy, _server) = echo().await;
        let mut client = connect(&proxy).await;
        proxy.turn(Network::Silent);
        client.write_all(CALL).await.unwrap();
        let mut answer = [0; 1];
        assert!(timeout(Duration::from_millis(200), client.read(&mut answer)).await.is_err(), "it hangs");
        proxy.turn(Network::Whole);
        assert!(!matches!(timeout(SOON, client.read(&mut answer)).await.unwrap(), Ok(1..)), "it has ended");
    }

    #[tokio::test]
    async fn a_lost_answer_is_one_of_a_call() {
        let (proxy, _server) = echo().await;
        proxy.turn(Network::LosesAnswers);
        let mut client = connect(&proxy).await;
        assert_eq!(exchange(&mut client, PING).await.as_deref(), Some(PING));
        assert_eq!(exchange(&mut client, CALL).await, None);
    }

    #[tokio::test]
    async fn a_slow_network_delays_every_request_by_its_time_once() {
        let (proxy, _server) = echo().await;
        let delay = Duration::from_millis(100);
        proxy.turn(Network::Slow(delay));
        let mut client = connect(&proxy).await;
        let begin = Instant::now();
        assert_eq!(exchange(&mut client, CALL).await.as_deref(), Some(CALL));
        assert!(begin.elapsed() >= delay);
    }
}
