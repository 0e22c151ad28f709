//! The admin port: health for orchestrators, metrics for Prometheus.

use axum::{
    Router,
    extract::{RawQuery, State},
    http::{StatusCode, header::CONTENT_TYPE},
    response::IntoResponse,
    routing::get,
};
use metrics_exporter_prometheus::PrometheusHandle;

use crate::{AdminConfig, Files, Listener, Readiness, Tls, bind};

/// What the admin port is called in metrics.
const DOOR: &str = "admin";
/// Most connections at once. Those who ask are few; others cannot take all file descriptors.
const CONNECTIONS_MAX: usize = 1_000;

/// Prometheus' text format.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Listens on the admin port.
///
/// # Errors
/// When the certificate or the address cannot be used.
pub(crate) async fn listen(files: &Files, config: &AdminConfig) -> anyhow::Result<Listener> {
    let tls = Tls::open(files, &config.tls, &["h2", "http/1.1"])?;
    let listener = bind(config.listen, "admin.listen").await?;
    Ok(Listener::new(listener, DOOR, CONNECTIONS_MAX, tls))
}

#[derive(Clone)]
struct Admin {
    readiness: Readiness,
    metrics: PrometheusHandle,
}

/// `/livez`, `/readyz`, `/healthz` and `/metrics`.
///
/// `/livez` says only that the process runs: no dependency that fails may get it restarted.
/// `/healthz` is `/readyz` under an older name. Decide by the status code, 200 or 503; the text is
/// for people, and `?verbose` adds the checks that are ready.
pub(crate) fn router(readiness: Readiness, metrics: PrometheusHandle) -> Router {
    Router::new()
        .route("/livez", get("ok\n"))
        .route("/readyz", get(readyz))
        .route("/healthz", get(readyz))
        .route("/metrics", get(render_metrics))
        .fallback(|| async { (StatusCode::NOT_FOUND, "not found; there are /livez, /readyz and /metrics\n") })
        .with_state(Admin { readiness, metrics })
}

async fn readyz(State(admin): State<Admin>, RawQuery(query): RawQuery) -> impl IntoResponse {
    let (is_ready, checks) = admin.readiness.report();
    let parameters = query.unwrap_or_default();
    let is_verbose =
        parameters.split('&').any(|parameter| parameter == "verbose" || parameter.starts_with("verbose="));
    let (status, mut text) = match is_ready {
        true => (StatusCode::OK, "ok\n".to_owned()),
        false => (StatusCode::SERVICE_UNAVAILABLE, "not ready\n".to_owned()),
    };
    for (name, missing) in checks {
        match missing {
            Some(reason) => text.push_str(&format!("[-] {name}: {reason}\n")),
            None if is_verbose => text.push_str(&format!("[+] {name}\n")),
            None => {}
        }
    }
    (status, text)
}

async fn render_metrics(State(admin): State<Admin>) -> impl IntoResponse {
    ([(CONTENT_TYPE, METRICS_TYPE)], admin.metrics.render())
}

#[cfg(test)]
mod tests {
    use std::{future::pending, time::Duration};

    use axum::{
        body::{Body, to_bytes},
        extract::Request,
    };
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpStream,
        time::timeout,
    };
    use tower::ServiceExt;

    use super::*;
    use crate::serve_http;

    async fn get(router: &Router, path: &str) -> (u16, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    fn admin() -> (Readiness, Router) {
        let readiness = Readiness::new();
        let router = router(readiness.clone(), crate::metric::recorder().handle());
        (readiness, router)
    }

    #[tokio::test]
    async fn ready_only_when_the_checks_are() {
        let (readiness, router) = admin();
        let (state, disk) = (readiness.check("state"), readiness.check("disk"));
        disk.ready();
        for path in ["/readyz", "/healthz"] {
            assert_eq!(get(&router, path).await, (503, "not ready\n[-] state: starting\n".to_owned()));
        }
        state.ready();
        assert_eq!(get(&router, "/readyz").await, (200, "ok\n".to_owned()));
        let verbose = "ok\n[+] disk\n[+] state\n".to_owned();
        assert_eq!(get(&router, "/readyz?verbose").await, (200, verbose));
    }

    #[tokio::test]
    async fn alive_while_not_ready_and_while_draining() {
        let (readiness, router) = admin();
        assert_eq!(get(&router, "/livez").await, (200, "ok\n".to_owned()));
        readiness.drain();
        assert_eq!(get(&router, "/livez").await.0, 200);
        let draining = "not ready\n[-] process: draining\n".to_owned();
        assert_eq!(get(&router, "/readyz").await, (503, draining));
    }

    #[tokio::test]
    async fn metrics_answer_and_other_paths_say_what_there_is() {
        let (_, router) = admin();
        assert_eq!(get(&router, "/metrics").await.0, 200);
        let (status, text) = get(&router, "/").await;
        assert_eq!(status, 404);
        assert!(text.contains("/readyz"), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_says_nothing_or_too_little_is_left() {
        let config = AdminConfig { listen: "127.0.0.1:0".parse().unwrap(), ..AdminConfig::default() };
        let listener = listen(&Files::default(), &config).await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(serve_http(listener, admin().1, pending()));
        for said in ["", "PRI * HT", "GET /readyz HTTP/1.1\r\nhost: "] {
            let mut client = TcpStream::connect(address).await.unwrap();
            client.write_all(said.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            let left = timeout(Duration::from_secs(600), client.read_to_end(&mut answer)).await;
            assert_eq!(left.expect("its connection is closed").unwrap(), 0, "{said:?}");
        }
        serving.abort();
    }
}
