//! OTLP/HTTP as the specification and the Collector have it; names in brackets are rows of the
//! conformance table.

use std::{io::Write, sync::Arc, time::Duration};

use bytes::Bytes;
use flate2::{
    Compression,
    write::{GzEncoder, ZlibEncoder},
};
use otlp_proto::opentelemetry::proto::{
    collector::trace::v1::{
        ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
    },
    trace::v1::{ResourceSpans, ScopeSpans, Span},
};
use prost::Message;
use serde_json::json;
use tokio::sync::Notify;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt, pb};

use crate::{
    engine::{Answer, FakeEngine},
    gateway::{Gateway, JSON, PROTOBUF, Reply},
};

async fn start() -> (FakeEngine, Gateway) {
    start_with(&[]).await
}

async fn start_with(settings: &[&str]) -> (FakeEngine, Gateway) {
    let engine = FakeEngine::start().await;
    let gateway = Gateway::start(&[&engine], settings).await;
    (engine, gateway)
}

/// A request with one span called `name`.
fn request(name: &str) -> ExportTraceServiceRequest {
    let span =
        Span { trace_id: vec![0xab; 16], span_id: vec![0xcd; 8], name: name.to_owned(), ..Span::default() };
    let scope_spans = vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }];
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }],
    }
}

fn request_json(name: &str) -> String {
    let span = json!({ "traceId": "AB".repeat(16), "spanId": "cd".repeat(8), "name": name });
    json!({ "resourceSpans": [{ "scopeSpans": [{ "spans": [span] }] }] }).to_string()
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn status_in(reply: &Reply) -> pb::Status {
    assert_eq!(reply.content_type(), PROTOBUF);
    pb::Status::decode(reply.body.as_slice()).unwrap()
}

/// [H1]
#[tokio::test]
async fn a_protobuf_body_reaches_the_engine_byte_for_byte() {
    let (engine, gateway) = start().await;
    // A field that no version knows, which decoding and encoding would lose or move.
    let body = [request("a").encode_to_vec(), vec![0xfa, 0x3e, 1, 0xff]].concat();
    for (path, signal) in [("/v1/traces", "traces"), ("/v1/logs", "logs")] {
        let reply = Reply::of(gateway.post(path, PROTOBUF, body.clone())).await;
        assert_eq!((reply.status, reply.content_type(), reply.body.len()), (200, PROTOBUF, 0));
        assert_eq!(engine.received().pop().unwrap(), (signal, Bytes::from(body.clone())));
    }
}

/// [H2]
#[tokio::test]
async fn a_json_body_reaches_the_engine_as_protobuf() {
    let (engine, gateway) = start().await;
    let reply = Reply::of(gateway.post("/v1/traces", JSON, request_json("a"))).await;
    assert_eq!((reply.status, reply.content_type(), reply.text()), (200, JSON, "{}".to_owned()));
    assert_eq!(engine.received(), [("traces", Bytes::from(request("a").encode_to_vec()))]);
}

/// [H3, H3a]
#[tokio::test]
async fn the_media_type_alone_is_compared_and_the_answer_has_no_parameters() {
    let (_engine, gateway) = start().await;
    for (given, answered) in [
        ("application/json; charset=utf-8", JSON),
        ("APPLICATION/JSON", JSON),
        ("application/x-protobuf;v=1", PROTOBUF),
        ("Application/X-Protobuf", PROTOBUF),
    ] {
        let body = if answered == JSON { "{}" } else { "" };
        let reply = Reply::of(gateway.post("/v1/logs", given, body)).await;
        assert_eq!((reply.status, reply.content_type()), (200, answered), "{given}");
    }
}

#[tokio::test]
async fn what_an_engine_refused_in_part_is_passed_on_in_the_encoding_of_the_request() {
    let (engine, gateway) = start().await;
    let partial = ExportTraceServiceResponse {
        partial_success: Some(ExportTracePartialSuccess {
            rejected_spans: 2,
            error_message: "invalid trace id".to_owned(),
        }),
    };
    engine.answers(Answer::Bytes(partial.encode_to_vec().into()));
    let reply = Reply::of(gateway.post("/v1/traces", PROTOBUF, "")).await;
    assert_eq!((reply.status, reply.body), (200, partial.encode_to_vec()));
    let reply = Reply::of(gateway.post("/v1/traces", JSON, "{}")).await;
    let expected = json!({
        "partialSuccess": { "rejectedSpans": "2", "errorMessage": "invalid trace id" }
    });
    assert_eq!((reply.status, reply.json()), (200, expected));
}

/// [H4]
#[tokio::test]
async fn other_content_types_are_refused_with_415() {
    let (engine, gateway) = start().await;
    let without = gateway.client.post(gateway.url("/v1/traces")).body("{}");
    for refused in [without, gateway.post("/v1/traces", "text/plain", "{}")] {
        let reply = Reply::of(refused).await;
        assert_eq!((reply.status, reply.content_type()), (415, JSON));
        let message = "unsupported media type, supported: [application/json, application/x-protobuf]";
        assert_eq!(reply.json(), json!({ "code": 3, "message": message }));
    }
    assert!(engine.received().is_empty());
}

/// [H5]
#[tokio::test]
async fn other_methods_are_refused_with_405_and_allow() {
    let (_engine, gateway) = start().await;
    for method in ["GET", "PATCH", "OPTIONS"] {
        let url = gateway.url("/v1/traces");
        let reply = Reply::of(gateway.client.request(method.parse().unwrap(), url)).await;
        assert_eq!((reply.status, reply.header("allow")), (405, Some("POST")), "{method}");
        assert_eq!(reply.json()["code"], 12);
    }
}

/// [H6]
#[tokio::test]
async fn compressed_bodies_are_decompressed() {
    let (engine, gateway) = start().await;
    let plain = request(&"long ".repeat(100_000)).encode_to_vec();
    let mut deflate = ZlibEncoder::new(Vec::new(), Compression::default());
    deflate.write_all(&plain).unwrap();
    for (encoding, body) in [
        ("gzip", gzip(&plain)),
        ("GZIP", gzip(&plain)),
        ("deflate", deflate.finish().unwrap()),
        ("zstd", zstd::encode_all(plain.as_slice(), 3).unwrap()),
        ("identity", plain.clone()),
    ] {
        let sent = gateway.post("/v1/traces", PROTOBUF, body).header("content-encoding", encoding);
        assert_eq!(Reply::of(sent).await.status, 200, "{encoding}");
        assert_eq!(engine.received().pop().unwrap().1, plain, "{encoding}");
    }
    let json = gateway.post("/v1/traces", JSON, gzip(request_json("a").as_bytes()));
    let reply = Reply::of(json.header("content-encoding", "gzip")).await;
    assert_eq!((reply.status, reply.text()), (200, "{}".to_owned()));
}

#[tokio::test]
async fn bodies_count_decompressed_until_an_engine_has_answered() {
    let room = ["http.max_body_bytes=1000000", "http.limits.bytes_in_flight_max=1000000"];
    let (engine, gateway) = start_with(&room).await;
    let answer = Arc::new(Notify::new());
    engine.answers(Answer::When(Arc::clone(&answer)));
    let body = gzip(&[7; 600_000]);
    let send = || gateway.post("/v1/traces", PROTOBUF, body.clone()).header("content-encoding", "gzip");
    let waiting = tokio::spawn(Reply::of(send()));
    engine.called().await;
    let refused = Reply::of(send()).await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    let status = status_in(&refused);
    assert!(status.message.contains("http.limits.bytes_in_flight_max"), "{status:?}");
    answer.notify_one();
    assert_eq!(waiting.await.unwrap().status, 200);
}

/// [H7, H8, H9]
#[tokio::test]
async fn a_body_that_is_not_what_it_says_is_a_permanent_error_in_its_encoding() {
    let (engine, gateway) = start().await;
    let truncated = gzip(&request("a").encode_to_vec());
    let truncated = truncated[..truncated.len() - 4].to_vec();
    for (media, encoding, body, expected) in [
        (PROTOBUF, "br", b"x".to_vec(), "unsupported Content-Encoding: br"),
        (JSON, "br", b"{}".to_vec(), "unsupported Content-Encoding: br"),
        (PROTOBUF, "gzip", b"plain".to_vec(), "failed to decompress the body as Gzip"),
        (JSON, "gzip", b"{}".to_vec(), "failed to decompress the body as Gzip"),
        (PROTOBUF, "gzip", truncated, "failed to decompress the body as Gzip"),
        (JSON, "identity", b"".to_vec(), ""),
        (JSON, "identity", b"{".to_vec(), ""),
        (JSON, "identity", br#"{"resourceSpans":7}"#.to_vec(), ""),
    ] {
        let sent = gateway.post("/v1/traces", media, body).header("content-encoding", encoding);
        let reply = Reply::of(sent).await;
        assert_eq!((reply.status, reply.content_type()), (400, media), "{expected}");
        assert_eq!(reply.header("retry-after"), None);
        let (code, message) = if media == JSON {
            let violation = &reply.json()["details"][0]["fieldViolations"][0];
            assert_eq!(violation["field"], "body", "{}", reply.text());
            let message = reply.json()["message"].as_str().unwrap().to_owned();
            (reply.json()["code"].as_i64().unwrap(), message)
        } else {
            let status = status_in(&reply);
            assert_eq!(status.details[0].type_url, "type.googleapis.com/google.rpc.BadRequest");
            (i64::from(status.code), status.message)
        };
        assert_eq!(code, 3);
        assert!(message.contains(expected) && !message.is_empty(), "{message}");
    }
    assert!(engine.received().is_empty(), "no engine was bothered");
}

/// [H9]
#[tokio::test]
async fn an_empty_protobuf_body_is_an_empty_request() {
    let (engine, gateway) = start().await;
    assert_eq!(Reply::of(gateway.post("/v1/traces", PROTOBUF, "")).await.status, 200);
    assert_eq!(engine.received(), [("traces", Bytes::new())]);
}

/// [H11]
#[tokio::test]
async fn a_body_over_the_limit_is_413_before_and_after_decompression() {
    let (engine, gateway) = start_with(&["http.max_body_bytes=200000"]).await;
    let fits = vec![0u8; 200_000];
    let over = vec![0u8; 200_001];
    let chunks = |body: &[u8]| {
        let chunks: Vec<_> =
            body.chunks(1_000).map(|chunk| Ok::<_, std::io::Error>(chunk.to_vec())).collect();
        reqwest::Body::wrap_stream(tokio_stream::iter(chunks))
    };
    for (encoding, body) in [
        ("identity", reqwest::Body::from(over.clone())),
        ("identity", chunks(&over)),
        ("gzip", reqwest::Body::from(gzip(&over))),
        ("gzip", reqwest::Body::from(gzip(&vec![0; 50_000_000]))),
    ] {
        let sent = gateway.post("/v1/traces", PROTOBUF, body).header("content-encoding", encoding);
        let reply = Reply::of(sent).await;
        assert_eq!((reply.status, reply.header("retry-after")), (413, None));
        let status = status_in(&reply);
        assert_eq!(status.code, 8);
        assert!(status.message.contains("http.max_body_bytes"), "{}", status.message);
    }
    assert!(engine.received().is_empty());
    for (encoding, body) in [("identity", chunks(&fits)), ("gzip", gzip(&fits).into())] {
        let sent = gateway.post("/v1/traces", PROTOBUF, body).header("content-encoding", encoding);
        assert_eq!(Reply::of(sent).await.status, 200);
    }
}

/// [H12, H13, H14]
#[tokio::test]
async fn the_status_of_an_engine_becomes_an_http_code() {
    let (engine, gateway) = start().await;
    let quota = ErrorDetails::with_retry_info(Some(Duration::from_millis(2_500)));
    let quota = Status::with_error_details(Code::ResourceExhausted, "quota", quota);
    let plain = |code| Status::new(code, "said the engine");
    for (status, http, retry_after) in [
        (plain(Code::Cancelled), 503, Some("1")),
        (plain(Code::DeadlineExceeded), 503, Some("1")),
        (plain(Code::Aborted), 503, Some("1")),
        (plain(Code::OutOfRange), 503, Some("1")),
        (plain(Code::Unavailable), 503, Some("1")),
        (plain(Code::DataLoss), 503, Some("1")),
        (quota, 429, Some("3")),
        (plain(Code::ResourceExhausted), 413, None),
        (plain(Code::InvalidArgument), 400, None),
        (plain(Code::Unauthenticated), 401, None),
        (plain(Code::PermissionDenied), 403, None),
        (plain(Code::Unimplemented), 404, None),
        (plain(Code::Internal), 500, None),
    ] {
        engine.answers(Answer::Status(status.clone()));
        let reply = Reply::of(gateway.post("/v1/traces", PROTOBUF, "")).await;
        assert_eq!((reply.status, reply.header("retry-after")), (http, retry_after), "{status:?}");
        let body = status_in(&reply);
        assert_eq!((body.code, body.message.as_str()), (status.code().into(), status.message()));
        let reply = Reply::of(gateway.post("/v1/traces", JSON, "{}")).await;
        assert_eq!((reply.status, reply.content_type()), (http, JSON));
        assert_eq!(reply.json()["message"], status.message());
    }
}

/// [H17]
#[tokio::test]
async fn http_1_and_http_2_without_tls_are_served_on_the_same_port() {
    let (_engine, gateway) = start().await;
    let h2 = reqwest::Client::builder().http2_prior_knowledge().no_proxy().build().unwrap();
    for (client, version) in
        [(h2, reqwest::Version::HTTP_2), (gateway.client.clone(), reqwest::Version::HTTP_11)]
    {
        for _ in 0..2 {
            let request = client.post(gateway.url("/v1/traces")).header("content-type", PROTOBUF);
            let response = request.send().await.unwrap();
            assert_eq!((response.status().as_u16(), response.version()), (200, version));
        }
    }
}

/// [H18]
#[tokio::test]
async fn unknown_paths_and_metrics_are_404_with_a_status() {
    let (_engine, gateway) = start().await;
    let reply = Reply::of(gateway.post("/v1/metrics", PROTOBUF, "")).await;
    assert_eq!(reply.status, 404);
    let status = status_in(&reply);
    assert_eq!(status.code, 12);
    assert!(status.message.contains("OTEL_METRICS_EXPORTER=none"), "{}", status.message);
    let reply = Reply::of(gateway.post("/v1/profiles", JSON, "{}")).await;
    assert_eq!((reply.status, reply.content_type(), reply.json()["code"].as_i64()), (404, JSON, Some(5)));
}

#[tokio::test]
async fn an_engine_that_does_not_answer_in_time_is_503() {
    let (engine, gateway) = start_with(&["http.timeout_ms=300"]).await;
    engine.answers(Answer::When(Arc::new(Notify::new())));
    let reply = Reply::of(gateway.post("/v1/traces", JSON, "{}")).await;
    assert_eq!((reply.status, reply.header("retry-after")), (503, Some("1")));
    assert_eq!(reply.json()["code"], 4, "{}", reply.text());
}

#[tokio::test]
async fn a_body_that_is_not_complete_in_time_is_503() {
    let (_engine, gateway) = start_with(&["http.timeout_ms=300"]).await;
    let endless = tokio_stream::pending::<Result<Vec<u8>, std::io::Error>>();
    let body = reqwest::Body::wrap_stream(endless);
    let reply = Reply::of(gateway.post("/v1/traces", JSON, body)).await;
    assert_eq!((reply.status, reply.header("retry-after")), (503, Some("1")));
}

#[tokio::test]
async fn requests_are_counted_by_what_became_of_them() {
    let (engine, gateway) = start().await;
    Reply::of(gateway.post("/v1/traces", PROTOBUF, vec![0x0a, 0])).await;
    Reply::of(gateway.post("/v1/logs", JSON, "{")).await;
    Reply::of(gateway.post("/v1/logs", "text/plain", "")).await;
    engine.fails(Code::Unavailable);
    Reply::of(gateway.post("/v1/traces", PROTOBUF, "")).await;
    let metrics = gateway.admin("/metrics").await.text();
    for line in [
        r#"gateway_requests_accepted_total{signal="traces",transport="http_protobuf"} 1"#,
        r#"gateway_requests_refused_total{signal="logs",transport="http_json",reason="invalid_argument"} 1"#,
        r#"gateway_requests_refused_total{signal="logs",transport="http_unknown",reason="invalid_argument"} 1"#,
        r#"gateway_requests_refused_total{signal="traces",transport="http_protobuf",reason="unavailable"} 1"#,
        r#"gateway_received_bytes_total{signal="traces",transport="http_protobuf"} 2"#,
        r#"gateway_requests_in_flight{signal="traces"} 0"#,
        r#"gateway_request_duration_seconds_count{signal="logs"} 2"#,
        r#"gateway_engine_attempts_total{result="answered"} 1"#,
        r#"gateway_engine_attempts_total{result="retryable"} 1"#,
        "gateway_engines_known 1",
        "gateway_engines_ready 1",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} is missing in:\n{metrics}");
    }
    for metric in ingest_gateway::METRICS {
        let is_described = metrics.contains(&format!("# TYPE {} ", metric.name));
        assert!(is_described || metric.name == "gateway_queries_total", "{} is not recorded", metric.name);
    }
}
