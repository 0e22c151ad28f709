//! Stands between a client and a door and counts what the client sends.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::Context as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

/// A running relay; it ends when dropped, and its connections with it.
pub(crate) struct Relay {
    address: SocketAddr,
    sent: Arc<AtomicU64>,
    accepting: JoinHandle<()>,
}

impl Relay {
    pub(crate) async fn start(door: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("failed to bind a relay")?;
        let address = listener.local_addr()?;
        let sent = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&sent);
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(relay(client, door, Arc::clone(&count)));
            }
        });
        Ok(Self { address, sent, accepting })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Bytes that clients have sent.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Ends when either side does; a client that is cut off says so itself.
async fn relay(client: TcpStream, door: SocketAddr, sent: Arc<AtomicU64>) {
    let Ok(server) = TcpStream::connect(door).await else { return };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let upward = async {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(length @ 1..) = from_client.read(&mut buffer).await {
            sent.fetch_add(length as u64, Ordering::Relaxed);
            if to_server.write_all(&buffer[..length]).await.is_err() {
                break;
            }
        }
    };
    tokio::select! {
        () = upward => {}
        _ended = tokio::io::copy(&mut from_server, &mut to_client) => {}
    }
}
