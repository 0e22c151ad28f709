//! G: OTLP/gRPC, sent to the engine.

use futures::future::join_all;
use otlp_proto::opentelemetry::proto::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message as _;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::{Door, SIGNALS};
use crate::{
    doors::{Doors, NARROW_BYTES_MAX, NARROW_SPANS_MAX},
    grpc::{Call, Connection, METRICS, Reply, TRACES, finish},
    stored::Stored,
    telemetry::{Trace, attribute, gzip, log, logs, text, traces},
};

/// The table of OTLP: whether a client sends the request again.
fn is_retryable(status: &Status) -> bool {
    match status.code() {
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => true,
        Code::ResourceExhausted => status.get_details_retry_info().is_some(),
        _ => false,
    }
}

/// A request of exactly this many bytes, with one span.
fn request_of(trace: Trace, bytes: usize) -> Vec<u8> {
    let padded = |padding: usize| {
        let mut span = trace.span(1);
        span.attributes = vec![attribute("padding", text(&"x".repeat(padding)))];
        traces(vec![span]).encode_to_vec()
    };
    let around = padded(bytes).len() - bytes;
    // The prefixes of lengths may be a byte shorter or longer than they were.
    let exact = (0..8).map(|less| padded(bytes - around - less)).find(|request| request.len() == bytes);
    exact.unwrap_or_else(|| padded(bytes - around + 1))
}

pub(super) async fn g1_an_export_of_either_signal_is_answered(doors: &Doors) {
    let trace = Trace::new();
    for (method, request) in [
        (SIGNALS[0].0, trace.request().encode_to_vec()),
        (SIGNALS[1].0, logs(vec![trace.log()]).encode_to_vec()),
    ] {
        let reply = Call::new(method, &request).send(doors.open.engine.grpc()).await.unwrap();
        assert_eq!((reply.http_status, reply.code()), (200, Code::Ok), "{reply:?}");
        assert!(reply.message().is_empty(), "partial_success is unset: {reply:?}");
        assert!(reply.headers.get("grpc-status").is_none(), "the status follows the message: {reply:?}");
    }
    let stored = Stored::get(&doors.open.gateway, &trace.hex()).await;
    assert_eq!((stored.spans().len(), stored.logs().len()), (1, 1));
    let sample = include_str!("../../../../deploy/config/engine.toml");
    assert!(sample.contains("listen = \"127.0.0.1:4317\""), "the default port is the one of OTLP");
}

pub(super) async fn g2_gzip_is_accepted(doors: &Doors) {
    let trace = Trace::new();
    for (method, request) in [
        (SIGNALS[0].0, trace.request().encode_to_vec()),
        (SIGNALS[1].0, logs(vec![trace.log()]).encode_to_vec()),
    ] {
        let call = Call::compressed(method, "gzip", &gzip(&request));
        let reply = call.send(doors.open.engine.grpc()).await.unwrap();
        assert!(reply.message().is_empty(), "{reply:?}");
    }
    let stored = Stored::get(&doors.open.gateway, &trace.hex()).await;
    assert_eq!((stored.spans().len(), stored.logs().len()), (1, 1));
}

pub(super) async fn g3_zstd_is_accepted_and_other_encodings_are_unimplemented(doors: &Doors) {
    let trace = Trace::new();
    let zstd = zstd::encode_all(trace.request().encode_to_vec().as_slice(), 1).unwrap();
    let reply = Call::compressed(TRACES, "zstd", &zstd).send(doors.open.engine.grpc()).await.unwrap();
    assert!(reply.message().is_empty(), "{reply:?}");
    assert_eq!(Stored::get(&doors.open.gateway, &trace.hex()).await.spans().len(), 1);

    for encoding in ["snappy", "x-unknown"] {
        let call = Call::compressed(TRACES, encoding, b"anything");
        let reply = call.send(doors.open.engine.grpc()).await.unwrap();
        assert_eq!(reply.code(), Code::Unimplemented, "{encoding}: {reply:?}");
        let both = [&reply.headers, &reply.trailers];
        let accepted = both.into_iter().find_map(|headers| headers.get("grpc-accept-encoding"));
        let accepted = accepted.unwrap_or_else(|| panic!("what is accepted is not named: {reply:?}"));
        assert!(accepted.to_str().unwrap().split(',').any(|it| it.trim() == "gzip"), "{accepted:?}");
    }
}

pub(super) async fn g4_an_empty_request_succeeds(doors: &Doors) {
    let nothing = traces(Vec::new()).encode_to_vec();
    // A ResourceSpans without anything in it.
    for request in [&[][..], &[0x0a, 0], &nothing] {
        for (method, _) in SIGNALS {
            let reply = Call::new(method, request).send(doors.open.engine.grpc()).await.unwrap();
            assert!(reply.message().is_empty(), "{request:?}: {reply:?}");
        }
    }
}

/// What a message over the limit is answered: permanent, and with what to do.
fn assert_too_large(reply: &Reply) {
    let status = reply.status();
    assert_eq!(status.code(), Code::ResourceExhausted, "{reply:?}");
    assert!(status.get_details_retry_info().is_none(), "a client must not send it again: {reply:?}");
    assert!(status.message().contains("grpc.max_message_bytes"), "{reply:?}");
}

pub(super) async fn g5_an_oversize_message_is_refused(doors: &Doors) {
    let (fits, over) = (Trace::new(), Trace::new());
    let just_fits = request_of(fits, NARROW_BYTES_MAX);
    let one_more = request_of(over, NARROW_BYTES_MAX + 1);
    assert_eq!((just_fits.len(), one_more.len()), (NARROW_BYTES_MAX, NARROW_BYTES_MAX + 1));
    let narrow = &doors.narrow;
    for call in [Call::new(TRACES, &just_fits), Call::compressed(TRACES, "gzip", &gzip(&just_fits))] {
        assert!(call.send(narrow.engine.grpc()).await.unwrap().message().is_empty());
    }
    assert_eq!(Stored::get(&narrow.gateway, &fits.hex()).await.spans().len(), 1);

    let bomb = gzip(&vec![0; 50_000_000]);
    let zstd = zstd::encode_all(one_more.as_slice(), 1).unwrap();
    for call in [
        Call::compressed(TRACES, "gzip", &gzip(&one_more)),
        Call::compressed(TRACES, "zstd", &zstd),
        Call::compressed(TRACES, "gzip", &bomb),
    ] {
        assert_too_large(&call.send(narrow.engine.grpc()).await.unwrap());
    }
    assert!(Stored::find(&narrow.gateway, &over.hex()).await.is_none());

    // By default 64 MiB; a prefix that announces more is answered before any of it has come.
    for (method, _) in SIGNALS {
        let call = Call::announced(method, (64 << 20) + 1);
        assert_too_large(&call.send(doors.open.engine.grpc()).await.unwrap());
    }
}

pub(super) async fn g5a_an_oversize_message_is_not_retryable(doors: &Doors) {
    let over = request_of(Trace::new(), NARROW_BYTES_MAX + 1);
    for (method, _) in SIGNALS {
        let reply = Call::new(method, &over).send(doors.narrow.engine.grpc()).await.unwrap();
        assert_too_large(&reply);
        assert!(!is_retryable(&reply.status()), "{reply:?}");
    }
}

pub(super) async fn g6_undecodable_bytes_are_an_invalid_argument(doors: &Doors) {
    // A length beyond the end, a varint without an end, a wire type that there is not, field 0.
    for broken in [&[0x0a, 0xff, 0xff][..], &[0x0a, 0x80], &[0xff; 12], &[0x0f], &[0x02, 0x00]] {
        for (method, _) in SIGNALS {
            let reply = Call::new(method, broken).send(doors.open.engine.grpc()).await.unwrap();
            let status = reply.status();
            assert_eq!(status.code(), Code::InvalidArgument, "{broken:?}: {reply:?}");
            assert!(status.get_details_bad_request().is_some(), "{reply:?}");
        }
    }
}

pub(super) async fn g7_bad_spans_are_counted_and_the_rest_is_kept(doors: &Doors) {
    let trace = Trace::new();
    let mut bad = trace.span(2);
    bad.span_id.clear();
    let request = traces(vec![bad.clone(), trace.span(1), bad]).encode_to_vec();
    let reply = Call::new(TRACES, &request).send(doors.open.engine.grpc()).await.unwrap();
    let partial = ExportTraceServiceResponse::decode(reply.message()).unwrap().partial_success.unwrap();
    assert_eq!(partial.rejected_spans, 2, "{partial:?}");
    assert!(partial.error_message.contains("span_id"), "{partial:?}");
    assert_eq!(Stored::get(&doors.open.gateway, &trace.hex()).await.spans().len(), 1);
}

pub(super) async fn g8_nothing_is_said_when_everything_is_accepted(doors: &Doors) {
    let trace = Trace::new();
    let sent_before = trace.request();
    Door::Grpc.traces(&doors.open, &sent_before).await;
    let mut conflict = trace.span(1);
    conflict.name = "another name".to_owned();
    for request in [sent_before, traces(vec![conflict])] {
        let response = Door::Grpc.traces(&doors.open, &request).await;
        assert_eq!(response.partial_success, None);
    }
    let response = Door::Grpc.logs(&doors.open, &logs(vec![log("of no trace")])).await;
    assert_eq!(response.partial_success, None);
}

pub(super) async fn g9_a_store_that_is_away_is_unavailable(doors: &Doors) {
    for (method, request) in [
        (SIGNALS[0].0, Trace::new().request().encode_to_vec()),
        (SIGNALS[1].0, logs(vec![log("of no trace")]).encode_to_vec()),
    ] {
        let status = Call::new(method, &request).send(doors.adrift.engine.grpc()).await.unwrap().status();
        assert_eq!(status.code(), Code::Unavailable, "{status}");
        let delay = status.get_details_retry_info().and_then(|info| info.retry_delay);
        assert!(delay.is_some_and(|delay| !delay.is_zero()), "{status:?}");
    }
}

pub(super) async fn g10_a_full_store_is_retryable_and_a_full_correlation_is_not(doors: &Doors) {
    let request = Trace::new().request().encode_to_vec();
    let status = Call::new(TRACES, &request).send(doors.full.engine.grpc()).await.unwrap().status();
    assert!(is_retryable(&status) && status.get_details_retry_info().is_some(), "{status:?}");

    let trace = Trace::new();
    let count = NARROW_SPANS_MAX as u64 + 1;
    let request = traces((1..=count).map(|number| trace.span(number)).collect());
    let partial = Door::Grpc.traces(&doors.narrow, &request).await.partial_success.unwrap();
    assert_eq!(partial.rejected_spans, NARROW_SPANS_MAX as i64 + 1, "{partial:?}");
    assert!(partial.error_message.contains("correlation.spans_max"), "{partial:?}");
}

pub(super) async fn g11_only_passing_faults_are_retryable(doors: &Doors) {
    let valid = Trace::new().request().encode_to_vec();
    let (open, adrift) = (doors.open.engine.grpc(), doors.adrift.engine.grpc());
    for (address, call, expected) in [
        (adrift, Call::new(TRACES, &valid), true),
        (doors.full.engine.grpc(), Call::new(TRACES, &valid), true),
        (open, Call::new(TRACES, &[0x0a, 0xff]), false),
        // What can never be read is permanent, whatever the store is doing.
        (adrift, Call::new(TRACES, &[0x0a, 0xff]), false),
        (open, Call::compressed(TRACES, "gzip", b"this is not gzip"), false),
        (open, Call::compressed(TRACES, "snappy", &valid), false),
        (open, Call::announced(TRACES, u32::MAX), false),
        (open, Call::new(METRICS, &valid), false),
        (open, Call::new("/no.such.Service/Method", &valid), false),
    ] {
        let status = call.clone().send(address).await.unwrap().status();
        assert_ne!(status.code(), Code::Ok, "{call:?}");
        assert_eq!(is_retryable(&status), expected, "{call:?}: {status:?}");
    }
}

pub(super) async fn g12_an_expired_deadline_is_retryable(doors: &Doors) {
    // The store hangs for longer than this.
    let call = Call::new(TRACES, &Trace::new().request().encode_to_vec()).header("grpc-timeout", "50m");
    let status = call.send(doors.adrift.engine.grpc()).await.unwrap().status();
    assert!(matches!(status.code(), Code::Cancelled | Code::DeadlineExceeded), "{status:?}");
    assert!(is_retryable(&status));
}

pub(super) async fn g13_metrics_are_unimplemented(doors: &Doors) {
    let reply = Call::new(METRICS, &[]).send(doors.open.engine.grpc()).await.unwrap();
    assert_eq!((reply.http_status, reply.code()), (200, Code::Unimplemented), "{reply:?}");
}

pub(super) async fn g14_a_hundred_calls_on_one_connection_are_all_answered(doors: &Doors) {
    let connection = Connection::open(doors.open.engine.grpc()).await.unwrap();
    let held = Trace::new();
    let body = held.request().encode_to_vec();
    // One call that does not end must not hold up the others.
    let head = Call::new(TRACES, &body);
    let (mut sending, answering) = connection.begin(&head).await.unwrap();
    let calls = (0..100).map(|_| {
        let trace = Trace::new();
        let call = Call::new(TRACES, &trace.request().encode_to_vec());
        let connection = &connection;
        async move { (trace, connection.send(call).await.unwrap()) }
    });
    for (trace, reply) in join_all(calls).await {
        assert!(reply.message().is_empty(), "{reply:?}");
        assert_eq!(Stored::get(&doors.open.gateway, &trace.hex()).await.spans().len(), 1);
    }
    finish(&mut sending, head.into_body());
    assert!(answering.reply().await.unwrap().message().is_empty());
    assert_eq!(Stored::get(&doors.open.gateway, &held.hex()).await.spans().len(), 1);
}

pub(super) async fn g15_the_same_request_twice_succeeds_and_is_kept_once(doors: &Doors) {
    let trace = Trace::new();
    for door in [Door::Grpc, Door::Grpc, Door::Http, Door::Http] {
        let spans = door.traces(&doors.open, &traces(vec![trace.span(1), trace.span(2)])).await;
        assert_eq!(spans.partial_success, None);
        let records = door.logs(&doors.open, &logs(vec![trace.log()])).await;
        assert_eq!(records.partial_success, None);
    }
    let stored = Stored::get(&doors.open.gateway, &trace.hex()).await;
    assert_eq!((stored.spans().len(), stored.logs().len()), (2, 1));
    assert_eq!((&stored.0["spans"], &stored.0["logs"]), (&2.into(), &1.into()));
}

pub(super) async fn g16_a_response_stays_short(doors: &Doors) {
    let trace = Trace::new();
    let bad = (0..10_000).map(|number| {
        let mut span = trace.span(number);
        span.trace_id = vec![number as u8; 17 + number as usize % 1000];
        span
    });
    let request = traces(bad.collect());
    for door in Door::BOTH {
        let partial = door.traces(&doors.open, &request).await.partial_success.unwrap();
        assert_eq!(partial.rejected_spans, 10_000);
        assert!((1..1024).contains(&partial.error_message.len()), "{}", partial.error_message);
    }
}
