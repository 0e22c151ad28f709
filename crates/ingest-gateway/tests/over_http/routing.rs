//! Which engine a trace goes to: any, one of its own, or those of its pool; and where engines are.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use otlp_proto::opentelemetry::proto::{
    collector::trace::v1::{
        ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
    },
    trace::v1::{ResourceSpans, ScopeSpans, Span},
};
use prost::Message as _;
use tonic::Code;

use crate::{
    engine::{Answer, FakeEngine},
    gateway::{Gateway, JSON, PROTOBUF, Reply},
};

/// Two spans of each trace, first those with span id 1, then those with 2.
fn request(traces: std::ops::Range<u16>) -> Vec<u8> {
    let span = |trace: u16, span: u8| Span {
        trace_id: [&[7; 14][..], &trace.to_be_bytes()].concat(),
        span_id: vec![span; 8],
        ..Span::default()
    };
    let spans = [1, 2].into_iter().flat_map(|id| traces.clone().map(move |trace| span(trace, id)));
    let scope_spans = vec![ScopeSpans { spans: spans.collect(), ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

/// How many spans of each trace an engine was sent.
fn received(engine: &FakeEngine) -> BTreeMap<u16, usize> {
    let mut traces = BTreeMap::new();
    for (_, request) in engine.received() {
        for resource in ExportTraceServiceRequest::decode(request).unwrap().resource_spans {
            for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                *traces.entry(u16::from_be_bytes([span.trace_id[14], span.trace_id[15]])).or_default() += 1;
            }
        }
    }
    traces
}

fn traces(engine: &FakeEngine) -> BTreeSet<u16> {
    received(engine).into_keys().collect()
}

async fn export(gateway: &Gateway, traces: std::ops::Range<u16>) -> Reply {
    Reply::of(gateway.post("/v1/traces", PROTOBUF, request(traces))).await
}

/// Engines that know nothing of each other.
async fn apart() -> [FakeEngine; 2] {
    let engines = [FakeEngine::start().await, FakeEngine::start().await];
    engines[0].has_state("one");
    engines[1].has_state("two");
    engines
}

#[tokio::test]
async fn every_trace_is_whole_at_one_engine_when_engines_share_no_state() {
    let engines = apart().await;
    let gateway = Gateway::start(&[&engines[0], &engines[1]], &[]).await;
    for _ in 0..5 {
        let reply = export(&gateway, 0..100).await;
        assert_eq!((reply.status, reply.body.len()), (200, 0), "{}", gateway.log());
    }
    let [one, two] = [received(&engines[0]), received(&engines[1])];
    assert!(one.keys().all(|trace| !two.contains_key(trace)), "no trace is in both");
    assert_eq!(one.len() + two.len(), 100);
    assert!((20..80).contains(&one.len()), "{} of 100", one.len());
    assert!(one.values().chain(two.values()).all(|&spans| spans == 10), "nothing is lost or sent twice");
    assert_eq!(gateway.metric("gateway_pool_sticky", "").await, 1.0);
    assert!(gateway.log().contains("engines of this pool have states of their own"), "{}", gateway.log());
}

#[tokio::test]
async fn any_engine_takes_any_trace_once_all_share_one_state() {
    let engines = apart().await;
    let gateway = Gateway::start(&[&engines[0], &engines[1]], &[]).await;
    gateway.wait_for("sticky", async || gateway.metric("gateway_pool_sticky", "").await == 1.0).await;
    engines[1].has_state("one");
    gateway.wait_for("balanced", async || gateway.metric("gateway_pool_sticky", "").await == 0.0).await;
    gateway
        .wait_for("one trace at both", async || {
            assert_eq!(export(&gateway, 0..1).await.status, 200);
            engines.iter().all(|engine| !engine.received().is_empty())
        })
        .await;
}

#[tokio::test]
async fn traces_of_an_engine_that_dies_go_to_the_others_and_no_request_fails() {
    let [dying, good] = apart().await;
    let gateway = Gateway::start(&[&dying, &good], &["engines.routing=sticky"]).await;
    assert_eq!(export(&gateway, 0..100).await.status, 200);
    let before = traces(&good);
    assert!((20..80).contains(&before.len()));
    dying.kill().await;
    for _ in 0..20 {
        assert_eq!(export(&gateway, 0..100).await.status, 200, "{}", gateway.log());
    }
    assert_eq!(traces(&good).len(), 100);
}

#[tokio::test]
async fn a_request_at_an_engine_that_hangs_moves_once_that_is_not_ready() {
    let [hanging, good] = apart().await;
    let gateway = Gateway::start(&[&hanging, &good], &["engines.hedge_ms=100"]).await;
    hanging.answers(Answer::When(Default::default()));
    let exporting = async {
        assert_eq!(export(&gateway, 0..100).await.status, 200, "{}", gateway.log());
    };
    let failing = async {
        hanging.called().await;
        assert!(traces(&good).len() < 100, "it waits while the engine says that it is well");
        hanging.set_serving(false).await;
    };
    tokio::join!(exporting, failing);
    assert_eq!(traces(&good).len(), 100);
}

#[tokio::test]
async fn an_engine_that_refuses_keeps_its_traces() {
    let [refusing, good] = apart().await;
    let gateway = Gateway::start(&[&refusing, &good], &[]).await;
    refusing.fails(Code::Unavailable);
    let reply = export(&gateway, 0..100).await;
    assert_eq!((reply.status, reply.header("retry-after")), (503, Some("1")), "all of it must come again");
    assert!(traces(&good).is_disjoint(&traces(&refusing)), "another engine would not know the rest of them");
}

#[tokio::test]
async fn what_one_engine_rejects_is_told_and_the_rest_is_kept() {
    let engines = apart().await;
    let gateway = Gateway::start(&[&engines[0], &engines[1]], &[]).await;
    engines[0].fails(Code::InvalidArgument);
    let partial = ExportTracePartialSuccess { rejected_spans: 3, error_message: "no id".to_owned() };
    let partial = ExportTraceServiceResponse { partial_success: Some(partial) };
    engines[1].answers(Answer::Bytes(partial.encode_to_vec().into()));
    let reply = export(&gateway, 0..100).await;
    assert_eq!(reply.status, 200);
    let answer = ExportTraceServiceResponse::decode(&reply.body[..]).unwrap().partial_success.unwrap();
    let refused: usize = received(&engines[0]).values().sum();
    assert_eq!(answer.rejected_spans, 3 + i64::try_from(refused).unwrap());
    assert!(answer.error_message.contains("no id") && answer.error_message.contains("said the engine"));
}

#[tokio::test]
async fn logs_without_a_trace_go_by_their_key() {
    let engines = apart().await;
    let keys = "engines.correlation_keys=['order.id']";
    let gateway = Gateway::start(&[&engines[0], &engines[1]], &[keys]).await;
    let request = |order: u32| {
        let attributes =
            serde_json::json!([{ "key": "order.id", "value": { "stringValue": format!("order {order}") } }]);
        // The body differs: the key alone must decide.
        let record = |body: &str| serde_json::json!({ "body": { "stringValue": body }, "attributes": attributes.clone() });
        [record("placed"), record("paid")].map(|record| {
            serde_json::json!({ "resourceLogs": [{ "scopeLogs": [{ "logRecords": [record] }] }] }).to_string()
        })
    };
    for order in 0..20 {
        let before = engines.each_ref().map(|engine| engine.received().len());
        for log in request(order) {
            assert_eq!(Reply::of(gateway.post("/v1/logs", JSON, log)).await.status, 200);
        }
        let after = engines.each_ref().map(|engine| engine.received().len());
        let sent = [after[0] - before[0], after[1] - before[1]];
        assert!(sent == [2, 0] || sent == [0, 2], "order {order}: {sent:?}");
    }
    assert!(engines.iter().all(|engine| !engine.received().is_empty()), "orders are spread");
}

#[tokio::test]
async fn logs_that_name_their_key_in_a_text_go_with_those_that_carry_it() {
    let engines = apart().await;
    let settings =
        ["engines.correlation_keys=['order.id']", "engines.text_patterns=['order (?<order.id>[0-9]+)']"];
    let gateway = Gateway::start(&[&engines[0], &engines[1]], &settings).await;
    for order in 0..20 {
        let before = engines.each_ref().map(|engine| engine.received().len());
        let attributes =
            serde_json::json!([{ "key": "order.id", "value": { "stringValue": order.to_string() } }]);
        for record in [
            serde_json::json!({ "attributes": attributes }),
            serde_json::json!({ "body": { "stringValue": format!("order {order} is paid") } }),
        ] {
            let log = serde_json::json!({ "resourceLogs": [{ "scopeLogs": [{ "logRecords": [record] }] }] });
            assert_eq!(Reply::of(gateway.post("/v1/logs", JSON, log.to_string())).await.status, 200);
        }
        let after = engines.each_ref().map(|engine| engine.received().len());
        let sent = [after[0] - before[0], after[1] - before[1]];
        assert!(sent == [2, 0] || sent == [0, 2], "order {order}: {sent:?}");
    }
    assert!(engines.iter().all(|engine| !engine.received().is_empty()), "orders are spread");
}

/// A file of two pools.
fn pools(file: &Path, [stable, canary]: [&FakeEngine; 2], weights: [u32; 2]) {
    let pool = |name, weight, engine: &FakeEngine| {
        format!("[[pool]]\nname = '{name}'\nweight = {weight}\nurls = ['{}']\n", engine.url())
    };
    let text = pool("stable", weights[0], stable) + &pool("canary", weights[1], canary);
    // In one step, so that no half of it is read.
    let new = file.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, file).unwrap();
}

#[tokio::test]
async fn every_pool_gets_its_part_of_the_traces_and_a_change_needs_no_restart() {
    let engines = [FakeEngine::start().await, FakeEngine::start().await];
    let both = [&engines[0], &engines[1]];
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pools.toml");
    pools(&file, both, [90, 10]);
    let setting = format!("engines.pools={}", file.display());
    let gateway = Gateway::spawn(&[], &[&setting, "engines.refresh_ms=100"]).await;
    gateway.wait_engines_ready(2).await;
    for _ in 0..3 {
        assert_eq!(export(&gateway, 0..1_000).await.status, 200);
    }
    let canary = traces(&engines[1]);
    assert!((60..140).contains(&canary.len()), "{} of 1000", canary.len());
    assert!(canary.is_disjoint(&traces(&engines[0])), "a trace stays in its pool");
    assert_eq!(gateway.metric("gateway_pool_requests_total", "canary").await, 3.0);

    // Half: those that were in the canary stay there.
    let weight = async |expected: f64| {
        let name = format!("a weight of {expected}");
        gateway
            .wait_for(&name, async || gateway.metric("gateway_pool_weight", "canary").await == expected)
            .await;
    };
    pools(&file, both, [50, 50]);
    weight(50.0).await;
    assert_eq!(export(&gateway, 0..1_000).await.status, 200);
    let half = traces(&engines[1]);
    assert!((400..600).contains(&half.len()) && half.is_superset(&canary), "{} of 1000", half.len());

    // Back: nothing goes there any more, and nothing is refused.
    pools(&file, both, [100, 0]);
    weight(0.0).await;
    let before = engines[1].received().len();
    assert_eq!(export(&gateway, 0..1_000).await.status, 200);
    assert_eq!(engines[1].received().len(), before);

    // What cannot be used is said, and changes nothing.
    fs::write(&file, "[[pool]]\nname = 'stable'").unwrap();
    gateway.wait_for("a complaint", async || gateway.log().contains("changed files cannot be used")).await;
    assert_eq!(export(&gateway, 0..10).await.status, 200);
}

#[tokio::test]
async fn a_pool_without_a_ready_engine_gives_its_traces_to_the_others() {
    let engines = [FakeEngine::start().await, FakeEngine::start().await];
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pools.toml");
    pools(&file, [&engines[0], &engines[1]], [1, 1]);
    let setting = format!("engines.pools={}", file.display());
    let gateway = Gateway::spawn(&[], &[&setting]).await;
    gateway.wait_engines_ready(2).await;
    engines[1].set_serving(false).await;
    gateway.wait_engines_ready(1).await;
    assert_eq!(export(&gateway, 0..100).await.status, 200);
    assert_eq!(traces(&engines[0]).len(), 100);
}

#[tokio::test]
async fn traces_of_a_pool_whose_engine_dies_go_to_the_others_and_no_request_fails() {
    let [dying, good] = apart().await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pools.toml");
    pools(&file, [&good, &dying], [1, 1]);
    let setting = format!("engines.pools={}", file.display());
    let gateway = Gateway::spawn(&[], &[&setting]).await;
    gateway.wait_engines_ready(2).await;
    dying.kill().await;
    // Before the gateway knows.
    for _ in 0..20 {
        assert_eq!(export(&gateway, 0..100).await.status, 200, "{}", gateway.log());
    }
    assert_eq!(traces(&good).len(), 100);
}

#[tokio::test]
async fn lists_unite_what_engines_know_and_deletes_reach_all() {
    let engines = apart().await;
    let gateway = Gateway::start(&[&engines[0], &engines[1]], &[]).await;
    let stats = gateway.get("/api/v1/stats").await.json();
    assert_eq!(stats["correlations"], 14, "seven at each");
    assert_eq!(
        (&stats["engines"][0]["pool"], &stats["engines"][0]["state"]),
        (&"default".into(), &"redis-cluster".into())
    );
    let ledger = gateway.get("/api/v1/ledger").await.json();
    assert_eq!((&ledger["balanced"], &ledger["spans"]["kept"]), (&true.into(), &10.into()), "five at each");
    let found = gateway.get("/api/v1/correlations/order=4%2F2").await.json();
    assert_eq!(found["spans"], 6, "three at each");
    let request = gateway.client.delete(gateway.url("/api/v1/correlations/order=4%2F2"));
    assert_eq!(Reply::of(request).await.status, 204);
    engines[1].fails(Code::Unavailable);
    assert_eq!(
        gateway.get("/api/v1/correlations").await.status,
        503,
        "half a list would look like a whole one"
    );
    assert_eq!(gateway.get("/api/v1/correlations/order=4%2F2").await.json()["spans"], 3);
}

/// Answers names from a file, whose changes it follows.
fn nss_wrapper() -> PathBuf {
    let directories = fs::read_dir("/usr/lib").unwrap();
    let mut libraries = directories
        .filter_map(|entry| Some(entry.ok()?.path().join("libnss_wrapper.so")))
        .filter(|library| library.is_file());
    libraries.next().expect("libnss_wrapper.so is not installed; install it with: sh deploy/setup.sh")
}

#[tokio::test]
async fn engines_come_and_go_with_the_addresses_of_a_dns_name() {
    let first = FakeEngine::start().await;
    let port = first.address.port();
    let second = FakeEngine::start_at(([127, 0, 0, 2], port).into()).await;
    let directory = tempfile::tempdir().unwrap();
    let hosts = directory.path().join("hosts");
    let resolve = |addresses: &[&str]| {
        let lines: Vec<_> = addresses.iter().map(|address| format!("{address} engines.test\n")).collect();
        let new = hosts.with_extension("new");
        fs::write(&new, lines.concat()).unwrap();
        fs::rename(new, &hosts).unwrap();
    };
    resolve(&["127.0.0.1"]);
    let library = nss_wrapper();
    let environment =
        [("LD_PRELOAD", library.to_str().unwrap()), ("NSS_WRAPPER_HOSTS", hosts.to_str().unwrap())];
    let urls = format!("engines.urls=http://engines.test:{port}");
    let gateway = Gateway::spawn_in(&environment, &[], &[&urls, "engines.refresh_ms=100"]).await;
    gateway.wait_engines_ready(1).await;
    assert_eq!(export(&gateway, 0..1).await.status, 200);
    assert_eq!((first.received().len(), second.received().len()), (1, 0));

    resolve(&["127.0.0.1", "127.0.0.2"]);
    gateway.wait_engines_ready(2).await;
    gateway
        .wait_for("a request at the new engine", async || {
            assert_eq!(export(&gateway, 0..1).await.status, 200);
            !second.received().is_empty()
        })
        .await;

    resolve(&["127.0.0.2"]);
    gateway.wait_engines_ready(1).await;
    let before = first.received().len();
    for _ in 0..20 {
        assert_eq!(export(&gateway, 0..1).await.status, 200);
    }
    assert_eq!(first.received().len(), before, "it runs, but nobody names it any more");
}
