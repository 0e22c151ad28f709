//! Serves HTTP/1.1 and HTTP/2 on the connections of a port, until told to drain.

use std::{future::Future, pin::pin, time::Duration};

use axum::Router;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto::Builder, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use tokio::task::JoinSet;
use tracing::debug;

use super::Listener;

/// How long a client may take to send the head of a request, or have nothing to send. Exporters
/// send at least once a minute.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);
/// A client that went away without a word is noticed by then.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// Serves until `draining` is done, then finishes the requests in flight.
///
/// A client has 75 s for the head of a request, also of the next one on a connection.
pub async fn serve_http(mut listener: Listener, router: Router, draining: impl Future<Output = ()>) {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(KEEPALIVE);
    let connections = GracefulShutdown::new();
    let mut serving = JoinSet::new();
    let mut draining = pin!(draining);
    loop {
        let connection = tokio::select! {
            connection = listener.accept() => connection,
            Some(_) = serving.join_next() => continue,
            () = &mut draining => break,
        };
        let service = TowerToHyperService::new(router.clone());
        let served = builder.serve_connection(TokioIo::new(connection), service).into_owned();
        let served = connections.watch(served);
        serving.spawn(async move {
            if let Err(error) = served.await {
                debug!(error, "a connection ended");
            }
        });
    }
    drop(listener);
    connections.shutdown().await;
}
