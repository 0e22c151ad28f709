//! Takes connections: bounded in number, with TLS where the port has it.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, sleep, timeout_at},
};
use tracing::{debug, warn};

use super::{
    Connection, Tls,
    connection::{Place, Stream},
};
use crate::metric;

/// How long a client may take to do TLS and to begin to speak. OTLP clients give up after 10 s.
const GREETING_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause after the operating system refused a connection: most often there are no file descriptors.
const PAUSE: Duration = Duration::from_millis(500);

/// Connections of one port.
pub struct Listener {
    listener: TcpListener,
    /// The word for the port in metrics.
    door: &'static str,
    tls: Option<Tls>,
    places: Arc<Semaphore>,
    /// Clients that have not said anything yet, or are doing TLS.
    greeting: JoinSet<Option<Connection>>,
}

impl Listener {
    /// Takes at most `connections_max` connections at once; those beyond are closed at once, so that
    /// their clients try another replica. `door` is the word for the port in metrics.
    pub fn new(listener: TcpListener, door: &'static str, connections_max: usize, tls: Option<Tls>) -> Self {
        let places = Arc::new(Semaphore::new(connections_max.min(Semaphore::MAX_PERMITS)));
        Self { listener, door, tls, places, greeting: JoinSet::new() }
    }

    /// Where it listens.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// The next connection on which a client has begun to speak. May be cancelled.
    pub async fn accept(&mut self) -> Connection {
        loop {
            tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => self.greet(stream),
                    Err(error) => {
                        warn!(%error, door = self.door, "failed to accept a connection");
                        sleep(PAUSE).await;
                    }
                },
                Some(greeted) = self.greeting.join_next() => {
                    if let Ok(Some(connection)) = greeted {
                        return connection;
                    }
                }
            }
        }
    }

    fn greet(&mut self, stream: TcpStream) {
        let door = self.door;
        let Ok(permit) = Arc::clone(&self.places).try_acquire_owned() else {
            metric::connection_refused(door, "connections_max");
            return;
        };
        let place = Place::new(door, permit);
        let tls = self.tls.as_ref().map(Tls::acceptor);
        self.greeting.spawn(async move {
            let greeting = async {
                // Answers are small, and clients wait for them.
                stream.set_nodelay(true)?;
                if stream.peek(&mut [0]).await? == 0 {
                    return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
                }
                Ok(match tls {
                    None => Stream::Plain(stream),
                    Some(tls) => Stream::Tls(Box::new(tls.accept(stream).await?)),
                })
            };
            let deadline = Instant::now() + GREETING_TIMEOUT;
            match timeout_at(deadline, greeting).await {
                Ok(Ok(stream)) => Some(Connection::new(stream, place, deadline)),
                // A port scan, or a load balancer that only looks whether somebody listens.
                Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => None,
                Ok(Err(error)) => {
                    metric::connection_refused(door, "handshake");
                    debug!(%error, door, "a client did not come in");
                    None
                }
                Err(_elapsed) => {
                    metric::connection_refused(door, "silent");
                    None
                }
            }
        });
    }
}
