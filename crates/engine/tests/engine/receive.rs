//! OTLP over gRPC: what is accepted, refused, and how the answer says so.

use otlp_proto::{
    correlation::v1::{CountCorrelationsRequest, GetCorrelationRequest, ListCorrelationsRequest, View},
    opentelemetry::proto::{
        collector::{logs::v1::ExportLogsServiceResponse, trace::v1::ExportTraceServiceResponse},
        logs::v1::LogsData,
        trace::v1::TracesData,
    },
    raw::trace::trace_service_client::TraceServiceClient as RawTraceServiceClient,
};
use prost::Message as _;
use testbed::{EngineOptions, EngineProcess};
use tonic::{Code, codec::CompressionEncoding};
use tonic_types::StatusExt as _;

use crate::client::{
    channel, correlations, engine, export, get, hex, log, log_request, logs, request, request_of, span,
    span_count, trace_id, traces,
};

#[tokio::test(flavor = "multi_thread")]
async fn spans_come_back_as_they_were_sent() {
    let engine = engine().await;
    let mut sent = span(1, 1);
    sent.trace_state = "vendor=1".into();
    export(&engine, vec![sent.clone()]).await;
    export(&engine, vec![span(1, 2), span(2, 1), span(1, 3)]).await;
    let response = get(&engine, 1).await.unwrap();
    let traces = TracesData::decode(&response.traces_data[..]).unwrap();
    let spans: Vec<_> =
        traces.resource_spans.iter().flat_map(|part| &part.scope_spans[0].spans).cloned().collect();
    assert_eq!(spans, [sent, span(1, 2), span(1, 3)]);
    let summary = response.summary.unwrap();
    assert_eq!((summary.service.as_str(), summary.environment.as_str()), ("shop", "test"));
    assert_eq!(summary.root_span_name, "operation 1");
    assert_eq!((summary.spans, summary.logs), (3, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_sent_again_or_in_other_batches_counts_once() {
    let engine = engine().await;
    let batches = [vec![1, 2, 3], vec![1, 2, 3], vec![3, 2], vec![1], vec![2, 3, 4]];
    for batch in batches {
        export(&engine, batch.into_iter().map(|number| span(1, number)).collect()).await;
    }
    let response = get(&engine, 1).await.unwrap();
    assert_eq!(response.summary.unwrap().spans, 4);
    let traces = TracesData::decode(&response.traces_data[..]).unwrap();
    let count: usize =
        traces.resource_spans.iter().flat_map(|part| &part.scope_spans).map(|part| part.spans.len()).sum();
    assert_eq!(count, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_payload_under_the_same_span_id_is_a_conflict() {
    let engine = engine().await;
    export(&engine, vec![span(1, 1)]).await;
    let mut other = span(1, 1);
    other.name = "another name".into();
    export(&engine, vec![other]).await;
    let response = get(&engine, 1).await.unwrap();
    assert_eq!(response.summary.unwrap().conflicts, 1);
    let traces = TracesData::decode(&response.traces_data[..]).unwrap();
    assert_eq!(traces.resource_spans[0].scope_spans[0].spans, [span(1, 1)], "the first one is kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_join_their_trace() {
    let engine = engine().await;
    export(&engine, vec![span(1, 1)]).await;
    let response =
        logs(&engine).export(log_request(vec![log(Some(1), "one"), log(Some(1), "two")])).await.unwrap();
    assert_eq!(response.into_inner(), ExportLogsServiceResponse { partial_success: None });
    let response = get(&engine, 1).await.unwrap();
    let logs = LogsData::decode(&response.logs_data[..]).unwrap();
    assert_eq!(logs.resource_logs[0].scope_logs[0].log_records, [log(Some(1), "one"), log(Some(1), "two")]);
    let summary = response.summary.unwrap();
    assert_eq!((summary.spans, summary.logs), (1, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_without_a_trace_join_by_the_first_key_or_stay_on_their_own() {
    let settings = vec![("correlation.keys".to_owned(), r#"["order.id", "user.id"]"#.to_owned())];
    let engine = EngineProcess::start(EngineOptions { settings, ..Default::default() }).await.unwrap();
    let mut keyed = log(None, "ordered");
    for (key, value) in [("user.id", "u-1"), ("order.id", "7")] {
        let record =
            request_of(value, vec![]).resource_spans[0].resource.clone().unwrap().attributes[0].clone();
        keyed
            .attributes
            .push(otlp_proto::opentelemetry::proto::common::v1::KeyValue { key: key.into(), ..record });
    }
    let response = logs(&engine).export(log_request(vec![keyed, log(None, "lonely")])).await.unwrap();
    assert_eq!(response.into_inner().partial_success, None, "logs without a trace are accepted");
    let request = GetCorrelationRequest { correlation_id: "order.id=7".into(), view: View::Full.into() };
    let response = correlations(&engine).get_correlation(request).await.unwrap().into_inner();
    assert_eq!(response.summary.unwrap().logs, 1);
    let listed = correlations(&engine)
        .list_correlations(ListCorrelationsRequest::default())
        .await
        .unwrap()
        .into_inner();
    let mut ids: Vec<_> = listed.correlations.into_iter().map(|summary| summary.correlation_id).collect();
    ids.sort();
    assert!(ids[0].starts_with("fragment=") && ids[1] == "order.id=7" && ids.len() == 2, "{ids:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_that_name_a_trace_or_a_key_in_their_text_join_it() {
    let settings = [
        ("correlation.keys", r#"["order.id"]"#),
        ("correlation.text_patterns", "['trace=(?<trace_id>[0-9a-f]+)', 'order (?<order.id>[0-9]+)']"),
    ];
    let settings = settings.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    let engine = EngineProcess::start(EngineOptions { settings, ..Default::default() }).await.unwrap();
    export(&engine, vec![span(1, 1)]).await;
    let of_trace = log(None, &format!("trace={} order 7 is paid", hex(&trace_id(1))));
    let records = vec![of_trace.clone(), log(None, "order 7 is packed"), log(None, "nothing")];
    logs(&engine).export(log_request(records)).await.unwrap();
    let response = get(&engine, 1).await.unwrap();
    let logs = LogsData::decode(&response.logs_data[..]).unwrap();
    assert_eq!(logs.resource_logs[0].scope_logs[0].log_records, [of_trace], "as it was sent");
    let request = GetCorrelationRequest { correlation_id: "order.id=7".into(), view: View::Full.into() };
    let response = correlations(&engine).get_correlation(request).await.unwrap().into_inner();
    assert_eq!(response.summary.unwrap().logs, 1);
    let (_, metrics) = engine.admin_get("/metrics").await.unwrap();
    for line in ["engine_items_named_in_text_total 2", "engine_uncorrelated_items_total 1"] {
        assert!(metrics.lines().any(|known| known == line), "{line} is not in {metrics}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_ids_are_refused_and_the_rest_is_kept() {
    let engine = engine().await;
    let (mut zero, mut short, mut nameless) = (span(1, 2), span(1, 3), span(1, 4));
    zero.trace_id = vec![0; 16];
    short.trace_id.pop();
    nameless.span_id = vec![0; 8];
    let response = traces(&engine).export(request(vec![zero, span(1, 1), short, nameless])).await.unwrap();
    let partial = response.into_inner().partial_success.expect("some spans were rejected");
    assert_eq!(partial.rejected_spans, 3);
    assert!(partial.error_message.contains("trace_id"), "{}", partial.error_message);
    assert_eq!(span_count(&engine, 1).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_correlation_refuses_and_names_the_limit() {
    let settings = vec![("correlation.spans_max".to_owned(), "2".to_owned())];
    let engine = EngineProcess::start(EngineOptions { settings, ..Default::default() }).await.unwrap();
    let spans = vec![span(1, 1), span(1, 2), span(1, 3), span(2, 1)];
    let partial = traces(&engine).export(request(spans)).await.unwrap().into_inner().partial_success.unwrap();
    assert_eq!(partial.rejected_spans, 3);
    assert!(partial.error_message.contains("correlation.spans_max"), "{}", partial.error_message);
    assert_eq!((span_count(&engine, 1).await, span_count(&engine, 2).await), (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn gzip_and_zstd_are_accepted() {
    let engine = engine().await;
    for (number, encoding) in [(1, CompressionEncoding::Gzip), (2, CompressionEncoding::Zstd)] {
        let mut client = traces(&engine).send_compressed(encoding).accept_compressed(encoding);
        client.export(request((1..100).map(|id| span(number, id)).collect())).await.unwrap();
        assert_eq!(span_count(&engine, number).await, 99);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_request_succeeds() {
    let engine = engine().await;
    for empty in [Default::default(), request(vec![])] {
        let response = traces(&engine).export(empty).await.unwrap();
        assert_eq!(response.into_inner(), ExportTraceServiceResponse { partial_success: None });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oversize_request_is_refused_for_good() {
    let settings = vec![("grpc.max_message_bytes".to_owned(), "20000".to_owned())];
    let engine = EngineProcess::start(EngineOptions { settings, ..Default::default() }).await.unwrap();
    let large = request((1..1_000).map(|id| span(1, id)).collect());
    for encoding in [None, Some(CompressionEncoding::Gzip)] {
        let mut client = traces(&engine);
        if let Some(encoding) = encoding {
            client = client.send_compressed(encoding);
        }
        let status = client.export(large.clone()).await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted, "{encoding:?}: {status}");
        assert!(status.get_details_retry_info().is_none(), "a client must not send it again");
        assert!(status.message().contains("grpc.max_message_bytes"), "{status}");
    }
    assert_eq!(span_count(&engine, 1).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_beyond_tonics_default_of_4_mib_is_accepted() {
    let engine = engine().await;
    let mut large = span(1, 1);
    large.name = "x".repeat(8 << 20);
    export(&engine, vec![large]).await;
    assert_eq!(get(&engine, 1).await.unwrap().traces_data.len() >> 20, 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn undecodable_bytes_are_refused_with_their_place() {
    let engine = engine().await;
    let mut client = RawTraceServiceClient::new(channel(&engine));
    let status = client.export(bytes::Bytes::from_static(b"\x0a\xff\xff")).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    assert!(status.get_details_bad_request().is_some());
    assert!(status.message().contains("traces"), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_of_a_later_protocol_survive() {
    let engine = engine().await;
    let mut encoded = span(1, 1).encode_to_vec();
    let unknown = [0xf2, 0x3f, 3, b'n', b'e', b'w']; // field 1022, three bytes
    encoded.extend_from_slice(&unknown);
    let nest = |field: u8, bytes: &[u8]| [&[field << 3 | 2, bytes.len() as u8][..], bytes].concat();
    let request = nest(1, &nest(2, &nest(2, &encoded)));
    let mut client = RawTraceServiceClient::new(channel(&engine));
    client.export(bytes::Bytes::from(request)).await.unwrap();
    let read = get(&engine, 1).await.unwrap().traces_data;
    assert!(read.windows(encoded.len()).any(|window| window == encoded), "byte for byte");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_requests_on_one_connection_are_all_answered() {
    let engine = engine().await;
    let client = traces(&engine);
    let exports = (1..=100).map(|number| {
        let mut client = client.clone();
        async move { client.export(request(vec![span(number, 1)])).await }
    });
    for answer in futures::future::join_all(exports).await {
        answer.unwrap();
    }
    let mut client = correlations(&engine);
    let count = client.count_correlations(CountCorrelationsRequest {}).await.unwrap().into_inner();
    assert_eq!(count.correlations, 100);
}
