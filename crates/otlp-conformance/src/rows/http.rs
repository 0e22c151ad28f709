//! H: OTLP/HTTP, sent to the gateway.

use bytes::Bytes;
use otlp_proto::opentelemetry::proto::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message as _;
use serde_json::{Value, json};
use tonic::Code;
use tonic_types::pb;

use super::{Door, SIGNALS};
use crate::{
    doors::{Doors, NARROW_BYTES_MAX},
    http1::{Answer, Connection, JSON, PROTOBUF, Request},
    scripted::Script,
    stored::Stored,
    telemetry::{Trace, gzip, log, logs, traces},
};

/// Both encodings of an empty request.
const EMPTY: [(&str, &str); 2] = [(PROTOBUF, ""), (JSON, "{}")];

async fn send(doors: &Doors, request: Request) -> Answer {
    request.send(doors.open.gateway.http()).await.unwrap()
}

/// A span as OTLP/JSON, in a request.
fn request_json(trace: Trace) -> String {
    let span = json!({ "traceId": trace.hex(), "spanId": "00000000000000ab", "name": "operation" });
    json!({ "resourceSpans": [{ "scopeSpans": [{ "spans": [span] }] }] }).to_string()
}

/// The `google.rpc.Status` in an answer: code, message and the types of its details.
fn status_in(answer: &Answer, media: &str) -> (i32, String, Vec<String>) {
    assert_eq!(answer.content_type(), media, "{answer:?}");
    if media == PROTOBUF {
        let status = pb::Status::decode(answer.body.as_slice()).unwrap();
        let types = status.details.into_iter().map(|detail| detail.type_url);
        return (status.code, status.message, types.collect());
    }
    let status = answer.json();
    let known = ["code", "message", "details"];
    assert!(status.as_object().unwrap().keys().all(|key| known.contains(&key.as_str())), "{status}");
    let details = status["details"].as_array().cloned().unwrap_or_default();
    let types = details.iter().map(|detail| detail["@type"].as_str().unwrap().to_owned());
    let code = i32::try_from(status["code"].as_i64().unwrap()).unwrap();
    (code, status["message"].as_str().unwrap().to_owned(), types.collect())
}

/// Checks that an answer is an error with a Status that says something, and returns its code.
fn refused(answer: &Answer, http: u16, media: &str) -> Code {
    assert_eq!(answer.status, http, "{answer:?}");
    let (code, message, _details) = status_in(answer, media);
    assert!(!message.is_empty() && message.len() <= 2048, "{message}");
    assert_ne!(code, 0, "an error has a code");
    Code::from(code)
}

pub(super) async fn h1_protobuf_is_answered_in_protobuf(doors: &Doors) {
    let trace = Trace::new();
    for (path, body) in [
        ("/v1/traces", trace.request().encode_to_vec()),
        ("/v1/logs", logs(vec![trace.log()]).encode_to_vec()),
    ] {
        let answer = send(doors, Request::post(path, PROTOBUF, body)).await;
        assert_eq!((answer.status, answer.content_type()), (200, PROTOBUF), "{answer:?}");
        assert!(answer.body.is_empty(), "partial_success is unset: {answer:?}");
    }
    let stored = Stored::get(&doors.open.gateway, &trace.hex()).await;
    assert_eq!((stored.spans().len(), stored.logs().len()), (1, 1));
}

pub(super) async fn h2_json_is_answered_in_json(doors: &Doors) {
    let trace = Trace::new();
    let record = json!({ "traceId": trace.hex(), "body": { "stringValue": "a log record" } });
    let records = json!({ "resourceLogs": [{ "scopeLogs": [{ "logRecords": [record] }] }] }).to_string();
    for (path, body) in [("/v1/traces", request_json(trace)), ("/v1/logs", records)] {
        let answer = send(doors, Request::post(path, JSON, body)).await;
        assert_eq!((answer.status, answer.content_type(), answer.text()), (200, JSON, "{}"));
    }
    let stored = Stored::get(&doors.open.gateway, &trace.hex()).await;
    assert_eq!((stored.spans().len(), stored.logs().len()), (1, 1));
}

pub(super) async fn h3_a_media_type_is_compared_without_parameters_and_case(doors: &Doors) {
    for (given, body) in [
        ("application/json; charset=utf-8", "{}"),
        ("application/json;charset=UTF-8", "{}"),
        ("APPLICATION/JSON", "{}"),
        ("Application/X-Protobuf", ""),
        ("application/x-protobuf; v=1", ""),
    ] {
        for (_, path) in SIGNALS {
            assert_eq!(send(doors, Request::post(path, given, body)).await.status, 200, "{given}");
        }
    }
}

pub(super) async fn h3a_the_content_type_of_an_answer_has_no_parameters(doors: &Doors) {
    for (media, bad) in [(PROTOBUF, "\x0a"), (JSON, "{")] {
        let given = format!("{media}; charset=utf-8");
        for (_, path) in SIGNALS {
            let empty = if media == JSON { "{}" } else { "" };
            for (body, status) in [(empty, 200), (bad, 400)] {
                let answer = send(doors, Request::post(path, &given, body)).await;
                assert_eq!((answer.status, answer.content_type()), (status, media), "{answer:?}");
            }
        }
    }
}

pub(super) async fn h4_another_content_type_is_415(doors: &Doors) {
    for (_, path) in SIGNALS {
        let without = Request::new("POST", path);
        for request in [without, Request::post(path, "text/plain", "{}"), Request::post(path, "", "{}")] {
            let answer = send(doors, request).await;
            assert_eq!(refused(&answer, 415, JSON), Code::InvalidArgument);
            assert!(answer.text().contains("[application/json, application/x-protobuf]"), "{answer:?}");
        }
    }
}

pub(super) async fn h5_another_method_is_405(doors: &Doors) {
    for (_, path) in SIGNALS {
        for method in ["GET", "PUT", "PATCH", "DELETE"] {
            let answer = send(doors, Request::new(method, path)).await;
            assert_eq!(refused(&answer, 405, JSON), Code::Unimplemented, "{method}");
            assert_eq!(answer.header("allow"), Some("POST"), "{method}");
        }
    }
}

pub(super) async fn h6_gzip_is_accepted(doors: &Doors) {
    for encoding in ["gzip", "GZIP"] {
        let (protobuf, json) = (Trace::new(), Trace::new());
        let binary = Request::post("/v1/traces", PROTOBUF, gzip(&protobuf.request().encode_to_vec()));
        let text = Request::post("/v1/traces", JSON, gzip(request_json(json).as_bytes()));
        for (request, trace) in [(binary, protobuf), (text, json)] {
            let answer = send(doors, request.header("Content-Encoding", encoding)).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            assert_eq!(Stored::get(&doors.open.gateway, &trace.hex()).await.spans().len(), 1);
        }
    }
    // The choice of further ones.
    let trace = Trace::new();
    let zstd = zstd::encode_all(trace.request().encode_to_vec().as_slice(), 1).unwrap();
    let request = Request::post("/v1/traces", PROTOBUF, zstd).header("Content-Encoding", "zstd");
    assert_eq!(send(doors, request).await.status, 200);
    assert_eq!(Stored::get(&doors.open.gateway, &trace.hex()).await.spans().len(), 1);
}

pub(super) async fn h7_an_unknown_content_encoding_is_400(doors: &Doors) {
    for (media, body) in EMPTY {
        for encoding in ["br", "gzip, gzip", "x-unknown"] {
            let request = Request::post("/v1/traces", media, body).header("Content-Encoding", encoding);
            let answer = send(doors, request).await;
            assert_eq!(refused(&answer, 400, media), Code::InvalidArgument, "{encoding}");
            let (_, message, _) = status_in(&answer, media);
            assert!(message.contains(&format!("unsupported Content-Encoding: {encoding}")), "{message}");
        }
    }
}

pub(super) async fn h8_a_body_that_is_not_gzip_is_400(doors: &Doors) {
    for (media, plain) in
        [(PROTOBUF, Trace::new().request().encode_to_vec()), (JSON, request_json(Trace::new()).into_bytes())]
    {
        let whole = gzip(&plain);
        let mut damaged = whole.clone();
        let middle = damaged.len() / 2;
        damaged[middle] ^= 0xff;
        for body in [plain.clone(), whole[..whole.len() - 3].to_vec(), damaged, Vec::new()] {
            let request = Request::post("/v1/traces", media, body).header("Content-Encoding", "gzip");
            assert_eq!(refused(&send(doors, request).await, 400, media), Code::InvalidArgument);
        }
    }
}

pub(super) async fn h9_an_undecodable_body_is_400_with_a_bad_request(doors: &Doors) {
    for (media, bodies) in [
        (PROTOBUF, vec!["\x0a", "{}", "\x0a\x05abc"]),
        (JSON, vec!["", "{", "[]", "null", "7", r#"{"resourceSpans":7,"resourceLogs":7}"#, "{} {}"]),
    ] {
        for body in bodies {
            for (_, path) in SIGNALS {
                let answer = send(doors, Request::post(path, media, body)).await;
                assert_eq!(refused(&answer, 400, media), Code::InvalidArgument, "{body:?}");
                let (_, _, details) = status_in(&answer, media);
                assert_eq!(details, ["type.googleapis.com/google.rpc.BadRequest"], "{body:?}");
                assert_eq!(answer.header("retry-after"), None);
            }
        }
    }
    // No bytes are a whole protobuf message.
    assert_eq!(send(doors, Request::post("/v1/traces", PROTOBUF, "")).await.status, 200);
}

pub(super) async fn h10_every_error_is_a_status_in_the_encoding_of_the_request(doors: &Doors) {
    let narrow = doors.narrow.gateway.http();
    let adrift = doors.adrift.gateway.http();
    let open = doors.open.gateway.http();
    for media in [PROTOBUF, JSON] {
        let empty = if media == JSON { "{}" } else { "" };
        let with = |method: &str, path: &str| Request::new(method, path).header("Content-Type", media);
        for (address, request, http, code) in [
            (open, Request::post("/v1/traces", media, "\x0a"), 400, Code::InvalidArgument),
            (open, with("POST", "/v1/nothing"), 404, Code::NotFound),
            (open, with("POST", "/v1/metrics"), 404, Code::Unimplemented),
            (open, with("GET", "/v1/traces"), 405, Code::Unimplemented),
            (
                narrow,
                Request::post("/v1/traces", media, vec![b' '; NARROW_BYTES_MAX + 1]),
                413,
                Code::ResourceExhausted,
            ),
            (adrift, Request::post("/v1/traces", media, empty), 503, Code::Unavailable),
        ] {
            let answer = request.send(address).await.unwrap();
            assert_eq!(refused(&answer, http, media), code, "{request:?}");
        }
    }
}

pub(super) async fn h11_a_body_over_the_limit_is_413(doors: &Doors) {
    let narrow = doors.narrow.gateway.http();
    // Spaces around it are JSON as well, so that any length can be had.
    let json = |bytes: usize| format!("{{}}{}", " ".repeat(bytes - 2)).into_bytes();
    let (fits, over) = (json(NARROW_BYTES_MAX), json(NARROW_BYTES_MAX + 1));
    for body in [Request::post("/v1/traces", JSON, fits.clone()), gzipped(JSON, &fits)] {
        assert_eq!(body.send(narrow).await.unwrap().status, 200);
    }
    let bomb = vec![0; 50_000_000];
    for (media, request) in [
        (JSON, Request::post("/v1/traces", JSON, over.clone())),
        (PROTOBUF, Request::post("/v1/traces", PROTOBUF, over.clone())),
        (JSON, gzipped(JSON, &over)),
        (PROTOBUF, gzipped(PROTOBUF, &bomb)),
    ] {
        let answer = request.send(narrow).await.unwrap();
        assert_eq!(refused(&answer, 413, media), Code::ResourceExhausted);
        assert_eq!(answer.header("retry-after"), None, "a client must not send it again");
        let (_, message, _) = status_in(&answer, media);
        assert!(message.contains("http.max_body_bytes"), "{message}");
    }
    // By default 64 MiB; a client that asks before it sends is told without having sent any of it.
    let answer = send(doors, Request::announced("/v1/traces", PROTOBUF, 64 << 20)).await;
    assert_eq!(answer.status, 100, "send it");
    let answer = send(doors, Request::announced("/v1/traces", PROTOBUF, (64 << 20) + 1)).await;
    assert_eq!(refused(&answer, 413, PROTOBUF), Code::ResourceExhausted);
}

fn gzipped(media: &str, plain: &[u8]) -> Request {
    Request::post("/v1/traces", media, gzip(plain)).header("Content-Encoding", "gzip")
}

async fn scripted(doors: &Doors, code: Code, retry_after_ms: u64) -> Answer {
    let script = Script { code: code.into(), retry_after_ms }.encode_to_vec();
    Request::post("/v1/traces", PROTOBUF, script).send(doors.scripted.http()).await.unwrap()
}

pub(super) async fn h12_overload_is_503_or_429_with_retry_after(doors: &Doors) {
    for (code, http) in [(Code::Unavailable, 503), (Code::ResourceExhausted, 429)] {
        for (delay_ms, seconds) in [(1, "1"), (2_500, "3"), (30_000, "30")] {
            let answer = scripted(doors, code, delay_ms).await;
            assert_eq!(refused(&answer, http, PROTOBUF), code);
            assert_eq!(answer.header("retry-after"), Some(seconds), "whole seconds, rounded up");
        }
    }
    // The engine's memory is full.
    let request = Request::post("/v1/traces", JSON, request_json(Trace::new()));
    let answer = request.send(doors.full.gateway.http()).await.unwrap();
    assert_eq!(refused(&answer, 503, JSON), Code::Unavailable);
    assert_eq!(answer.header("retry-after"), Some("1"));
}

pub(super) async fn h13_a_store_that_is_away_is_503(doors: &Doors) {
    for (media, body) in
        [(PROTOBUF, Trace::new().request().encode_to_vec()), (JSON, request_json(Trace::new()).into())]
    {
        let answer =
            Request::post("/v1/traces", media, body).send(doors.adrift.gateway.http()).await.unwrap();
        assert_eq!(refused(&answer, 503, media), Code::Unavailable);
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
}

pub(super) async fn h14_the_status_of_an_engine_becomes_its_http_code(doors: &Doors) {
    for (code, http, retry_after) in [
        (Code::Cancelled, 503, Some("1")),
        (Code::Unknown, 500, None),
        (Code::InvalidArgument, 400, None),
        (Code::DeadlineExceeded, 503, Some("1")),
        (Code::NotFound, 404, None),
        (Code::AlreadyExists, 500, None),
        (Code::PermissionDenied, 403, None),
        // Without RetryInfo it is a message that is too large: never 429.
        (Code::ResourceExhausted, 413, None),
        (Code::FailedPrecondition, 500, None),
        (Code::Aborted, 503, Some("1")),
        (Code::OutOfRange, 503, Some("1")),
        (Code::Unimplemented, 404, None),
        (Code::Internal, 500, None),
        (Code::Unavailable, 503, Some("1")),
        (Code::DataLoss, 503, Some("1")),
        (Code::Unauthenticated, 401, None),
    ] {
        let answer = scripted(doors, code, 0).await;
        assert_eq!(refused(&answer, http, PROTOBUF), code);
        assert_eq!(answer.header("retry-after"), retry_after, "{code:?}");
    }
    assert_eq!(scripted(doors, Code::Ok, 0).await.status, 200);
}

pub(super) async fn h15_an_answer_is_not_compressed(doors: &Doors) {
    for (media, body) in [(PROTOBUF, ""), (JSON, "{}"), (PROTOBUF, "\x0a"), (JSON, "{")] {
        let request = Request::post("/v1/traces", media, body).header("Accept-Encoding", "gzip");
        let answer = send(doors, request).await;
        assert_eq!(answer.header("content-encoding"), None, "{answer:?}");
        if answer.status == 200 {
            let plain = if media == JSON { "{}" } else { "" };
            assert_eq!(answer.text(), plain);
        } else {
            refused(&answer, 400, media);
        }
    }
}

pub(super) async fn h16_json_and_protobuf_share_a_port(doors: &Doors) {
    let mut connection = Connection::open(doors.open.gateway.http()).await.unwrap();
    for (media, body) in [EMPTY[0], EMPTY[1], EMPTY[0]] {
        let answer = connection.send(&Request::post("/v1/traces", media, body)).await.unwrap();
        assert_eq!((answer.status, answer.content_type()), (200, media));
    }
    // gRPC has a port of its own; the error says which paths there are here.
    let request = Request::post(crate::grpc::TRACES, "application/grpc", "");
    assert_eq!(refused(&send(doors, request).await, 404, JSON), Code::NotFound);
}

pub(super) async fn h17_connections_are_kept_and_http_2_is_spoken(doors: &Doors) {
    let address = doors.open.gateway.http();
    let mut connection = Connection::open(address).await.unwrap();
    for body in ["", "\x0a", "", "\x0a"] {
        let expected = if body.is_empty() { 200 } else { 400 };
        let answer = connection.send(&Request::post("/v1/traces", PROTOBUF, body)).await.unwrap();
        assert_eq!(answer.status, expected, "an error does not end the connection");
    }
    // Pipelined: answers come in the order of the requests.
    for body in ["{}", "{", "{}"] {
        connection.write(&Request::post("/v1/traces", JSON, body)).await.unwrap();
    }
    for expected in [200, 400, 200] {
        assert_eq!(connection.read().await.unwrap().status, expected);
    }
    let close = Request::post("/v1/traces", JSON, "{}").header("Connection", "close");
    assert_eq!(connection.send(&close).await.unwrap().status, 200);
    assert!(connection.read().await.is_err(), "the connection ends as asked");

    // HTTP/2 without TLS and without an upgrade.
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let (requests, connection) = h2::client::handshake(stream).await.unwrap();
    let driver = tokio::spawn(connection);
    let mut requests = requests.ready().await.unwrap();
    let trace = Trace::new();
    let head = ::http::Request::post(format!("http://{address}/v1/traces"));
    let head = head.header("content-type", PROTOBUF).body(()).unwrap();
    let (response, mut sending) = requests.send_request(head, false).unwrap();
    sending.send_data(Bytes::from(trace.request().encode_to_vec()), true).unwrap();
    assert_eq!(response.await.unwrap().status(), 200);
    driver.abort();
    assert_eq!(Stored::get(&doors.open.gateway, &trace.hex()).await.spans().len(), 1);
}

pub(super) async fn h18_an_unknown_path_is_404_with_a_status(doors: &Doors) {
    for media in [PROTOBUF, JSON] {
        for path in ["/", "/v1/profiles", "/v1/traces/x"] {
            let answer = send(doors, Request::post(path, media, "")).await;
            assert_eq!(refused(&answer, 404, media), Code::NotFound, "{path}");
        }
        let answer = send(doors, Request::post("/v1/metrics", media, "")).await;
        assert_eq!(refused(&answer, 404, media), Code::Unimplemented);
        let (_, message, _) = status_in(&answer, media);
        assert!(message.contains("OTEL_METRICS_EXPORTER=none"), "{message}");
    }
}

pub(super) async fn h19_there_is_no_cross_origin_access(doors: &Doors) {
    let preflight = Request::new("OPTIONS", "/v1/traces")
        .header("Origin", "https://shop.example")
        .header("Access-Control-Request-Method", "POST")
        .header("Access-Control-Request-Headers", "content-type");
    let export = Request::post("/v1/traces", JSON, "{}").header("Origin", "https://shop.example");
    for (request, status) in [(preflight, 405), (export, 200)] {
        let answer = send(doors, request).await;
        assert_eq!(answer.status, status);
        for name in ["origin", "methods", "headers", "credentials"] {
            assert_eq!(answer.header(&format!("access-control-allow-{name}")), None, "{answer:?}");
        }
    }
}

pub(super) async fn h20_paths_and_port_are_the_defaults(doors: &Doors) {
    let trace = Trace::new();
    let spans = Door::Http.traces(&doors.open, &traces(vec![trace.span(1)])).await;
    assert_eq!(spans, ExportTraceServiceResponse::default());
    let records = Door::Http.logs(&doors.open, &logs(vec![log("of no trace")])).await;
    assert_eq!(records.partial_success, None);
    // A query string is no part of the path.
    assert_eq!(send(doors, Request::post("/v1/traces?x=1", JSON, "{}")).await.status, 200);
    let sample = include_str!("../../../../deploy/config/gateway.toml");
    assert!(sample.contains("listen = \"127.0.0.1:4318\""), "the default port is the one of OTLP");
    let stats: Value = send(doors, Request::new("GET", "/api/v1/stats")).await.json();
    assert!(stats["correlations"].as_u64().is_some_and(|count| count > 0), "{stats}");
}
