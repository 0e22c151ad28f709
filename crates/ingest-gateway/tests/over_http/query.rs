//! The query API: JSON over HTTP in front of the gRPC service of the engines.

use prost_types::Timestamp;
use serde_json::{Value, json};
use tonic::Code;

use crate::{
    engine::FakeEngine,
    gateway::{Gateway, Reply},
};

async fn start() -> (FakeEngine, Gateway) {
    let engine = FakeEngine::start().await;
    let gateway = Gateway::start(&[&engine], &[]).await;
    (engine, gateway)
}

pub(crate) fn summary() -> Value {
    json!({
        "correlation_id": "order=4/2",
        "trace_id": "",
        "status": "",
        "service": "cart",
        "environment": "",
        "services": ["cart", "pay"],
        "root_span_name": "",
        "first_seen": "2023-11-14T22:13:20.005Z",
        "last_updated": null,
        "first_event": null,
        "last_event": null,
        "spans": 3,
        "logs": 1,
        "errors": 0,
        "bytes": 0,
        "metadata": { "order": "4/2" },
        "conflicts": 0,
    })
}

/// The default answer, of a correlation whose telemetry is empty.
fn tree() -> Value {
    let mut tree = summary();
    for list in ["tree", "missing_parents", "service_counts", "log_records"] {
        tree[list] = json!([]);
    }
    tree["truncated"] = json!({ "spans": 0, "logs": 0, "levels": 0, "missing_parents": 0, "services": 0 });
    tree
}

pub(crate) fn assert_problem(reply: &Reply, status: u16, detail: &str) {
    assert_eq!((reply.status, reply.content_type()), (status, "application/problem+json"));
    let problem = reply.json();
    assert_eq!(problem["status"], status);
    assert_eq!(problem["type"], "about:blank");
    let found = problem["detail"].as_str().unwrap();
    assert!(found.contains(detail), "{detail:?} is not in {found:?}");
}

#[tokio::test]
async fn a_list_passes_its_parameters_on_and_returns_summaries() {
    let (engine, gateway) = start().await;
    let reply = gateway
        .get("/api/v1/correlations?from=2023-11-14T22:13:20Z&to=1700000001.5&service=cart&limit=5&page_token=x")
        .await;
    assert_eq!((reply.status, reply.content_type()), (200, "application/json"));
    let expected = json!({ "correlations": [summary()], "next_page_token": "next", "stopped_early": true });
    assert_eq!(reply.json(), expected);
    let listed = engine.listed().pop().unwrap();
    assert_eq!(listed.from, Some(Timestamp { seconds: 1_700_000_000, nanos: 0 }));
    assert_eq!(listed.to, Some(Timestamp { seconds: 1_700_000_001, nanos: 500_000_000 }));
    assert_eq!((listed.service.as_str(), listed.page_size, listed.page_token.as_str()), ("cart", 5, "x"));
}

#[tokio::test]
async fn what_is_related_is_passed_on_with_its_link() {
    let (_engine, gateway) = start().await;
    let reply = gateway.get("/api/v1/correlations/order=4%2F2/related?depth=3&limit=5").await;
    let related = json!({
        "correlation_id": "limit=5",
        "depth": 3,
        "direction": "down",
        "from": "order=4/2",
        "to": "limit=5",
        "confidence": 0.75,
        "keys": ["order=4/2"],
        "synthetic": true,
        "summary": null,
    });
    let expected = json!({ "correlation_id": "order=4/2", "related": [related], "truncated": true });
    assert_eq!((reply.status, reply.json()), (200, expected));
    assert_problem(&gateway.get("/api/v1/correlations/unknown/related").await, 404, "no correlation unknown");
}

#[tokio::test]
async fn a_bad_parameter_is_named_with_what_is_allowed() {
    let (engine, gateway) = start().await;
    for (path, detail) in [
        ("/api/v1/correlations?from=yesterday", r#"parameter from = "yesterday": expected RFC 3339"#),
        ("/api/v1/correlations?limit=0", r#"parameter limit = "0": expected a number from 1 to 1000"#),
        ("/api/v1/correlations?form=1", r#"parameter form = "1": unknown; there is from, to,"#),
        ("/api/v1/correlations?to=1&to=2", r#"parameter to = "2": expected only once"#),
        ("/api/v1/correlations/a?view=all", r#"parameter view = "all": expected tree, summary or full"#),
        (
            "/api/v1/correlations/a/related?depth=33",
            r#"parameter depth = "33": expected a number from 1 to 32"#,
        ),
        (
            "/api/v1/correlations/a/related?depht=1",
            r#"parameter depht = "1": unknown; there is depth and limit"#,
        ),
        ("/api/v1/correlations/%ff", "the correlation id in the path is not percent-encoded UTF-8"),
    ] {
        assert_problem(&gateway.get(path).await, 400, detail);
    }
    assert!(engine.listed().is_empty());
}

#[tokio::test]
async fn a_correlation_is_found_by_its_percent_encoded_id() {
    let (_engine, gateway) = start().await;
    for (path, expected) in [
        ("/api/v1/correlations/order=4%2F2", tree()),
        ("/api/v1/correlations/order%3D4%2f2?view=tree", tree()),
        ("/api/v1/correlations/order%3D4%2f2?view=summary", summary()),
    ] {
        let reply = gateway.get(path).await;
        assert_eq!((reply.status, reply.content_type(), reply.json()), (200, "application/json", expected));
    }
    assert_problem(&gateway.get("/api/v1/correlations/nothing").await, 404, "no correlation nothing");
}

#[tokio::test]
async fn the_full_view_adds_the_telemetry_as_otlp_json() {
    let (_engine, gateway) = start().await;
    let reply = gateway.get("/api/v1/correlations/order=4%2F2?view=full").await;
    let mut expected = summary();
    expected["traces_data"] = json!({ "resourceSpans": [{}] });
    expected["logs_data"] = json!({ "resourceLogs": [{}] });
    assert_eq!((reply.status, reply.json()), (200, expected));
}

#[tokio::test]
async fn who_accepts_otlp_gets_the_telemetry_alone() {
    let (_engine, gateway) = start().await;
    let get = async |path: &str, accept: &str| {
        Reply::of(gateway.client.get(gateway.url(path)).header("accept", accept)).await
    };
    let path = "/api/v1/correlations/order=4%2F2";
    let reply = get(path, "text/plain, application/x-protobuf;q=0.9").await;
    assert_eq!(
        (reply.status, reply.content_type(), &reply.body[..]),
        (200, "application/x-protobuf", &[0x0a, 0][..])
    );
    let reply = get(path, "Application/JSON").await;
    assert_eq!((reply.status, reply.content_type()), (200, "application/json"));
    assert_eq!(reply.json(), json!({ "resourceSpans": [{}] }));
    let reply = get(&format!("{path}?signal=logs"), "application/json").await;
    assert_eq!(reply.json(), json!({ "resourceLogs": [{}] }));
    for (query, accept, expected) in [
        ("", "*/*", tree()),
        ("", "text/html", tree()),
        ("?view=tree", "application/json", tree()),
        ("?view=summary", "application/json", summary()),
    ] {
        assert_eq!(get(&format!("{path}{query}"), accept).await.json(), expected, "{query} {accept}");
    }
    let detail = r#"parameter signal = "metrics": expected traces or logs"#;
    assert_problem(&get(&format!("{path}?signal=metrics"), "application/json").await, 400, detail);
    assert_problem(
        &get("/api/v1/correlations/nothing", "application/json").await,
        404,
        "no correlation nothing",
    );
}

#[tokio::test]
async fn deleting_answers_204_or_404() {
    let (_engine, gateway) = start().await;
    let delete = |id: &str| {
        let url = gateway.url(&format!("/api/v1/correlations/{id}"));
        Reply::of(gateway.client.delete(url))
    };
    let reply = delete("order=4%2F2").await;
    assert_eq!((reply.status, reply.body.len()), (204, 0));
    assert_problem(&delete("other").await, 404, "no correlation other");
}

#[tokio::test]
async fn stats_count_correlations_and_list_engines() {
    let (engine, gateway) = start().await;
    let expected = json!({
        "correlations": 7,
        "state": "redis-cluster",
        "engines": [{ "url": engine.url(), "pool": "default", "ready": true, "state": "redis-cluster" }],
    });
    assert_eq!(gateway.get("/api/v1/stats").await.json(), expected);
}

#[tokio::test]
async fn the_ledger_tells_all_accounts() {
    let (_engine, gateway) = start().await;
    let zeros = json!({
        "received": 0, "kept": 0, "duplicate": 0, "refused": {}, "delivered": 0, "stored": 0, "pending": 0,
        "expired": {}, "deleted": 0,
    });
    let mut spans = zeros.clone();
    spans["received"] = 9.into();
    spans["kept"] = 5.into();
    spans["duplicate"] = 1.into();
    spans["refused"] = json!({ "spans_max": 3 });
    spans["delivered"] = 3.into();
    spans["expired"] = json!({ "undelivered": 2 });
    let expected = json!({ "balanced": true, "spans": spans, "logs": zeros });
    assert_eq!(gateway.get("/api/v1/ledger").await.json(), expected);
}

#[tokio::test]
async fn a_passing_fault_is_503_and_says_when_to_come_back() {
    let (engine, gateway) = start().await;
    engine.fails(Code::Unavailable);
    for path in ["/api/v1/correlations", "/api/v1/correlations/a", "/api/v1/ledger", "/api/v1/stats"] {
        let reply = gateway.get(path).await;
        assert_problem(&reply, 503, "said the engine");
        assert_eq!(reply.header("retry-after"), Some("1"));
    }
    engine.fails(Code::InvalidArgument);
    assert_problem(&gateway.get("/api/v1/correlations?page_token=x").await, 400, "said the engine");
    let metrics = gateway.admin("/metrics").await.text();
    assert!(metrics.contains(r#"gateway_queries_total{query="list",code="503"} 1"#), "{metrics}");
}

#[tokio::test]
async fn other_paths_and_methods_are_problems_too() {
    let (_engine, gateway) = start().await;
    assert_problem(&gateway.get("/api/v1/traces").await, 404, "there is no /api/v1/traces");
    for (path, allow) in [
        ("/api/v1/correlations", "GET, HEAD"),
        ("/api/v1/correlations/a", "GET, HEAD, DELETE"),
        ("/api/v1/ledger", "GET, HEAD"),
        ("/api/v1/events", "GET, HEAD, POST"),
        ("/api/v1/stats", "GET, HEAD"),
    ] {
        let reply = Reply::of(gateway.client.put(gateway.url(path))).await;
        assert_problem(&reply, 405, allow);
        assert_eq!(reply.header("allow"), Some(allow));
    }
}
