//! The query API over gRPC.

use otlp_proto::correlation::v1::{
    CleanUpCorrelationsRequest, CountCorrelationsRequest, DeleteCorrelationRequest, GetCorrelationRequest,
    ListCorrelationsRequest, StateBackend, View,
};
use prost_types::Timestamp;
use testbed::EngineProcess;
use tonic::Code;

use crate::client::{correlations, engine, export, get, hex, request_of, span, trace_id, traces};

async fn listed(engine: &EngineProcess, mut request: ListCorrelationsRequest) -> Vec<String> {
    let mut ids = Vec::new();
    loop {
        let page = correlations(engine).list_correlations(request.clone()).await.unwrap().into_inner();
        ids.extend(page.correlations.into_iter().map(|summary| summary.correlation_id));
        if page.next_page_token.is_empty() {
            return ids;
        }
        request.page_token = page.next_page_token;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_summary_leaves_the_telemetry_out() {
    let engine = engine().await;
    export(&engine, vec![span(1, 1)]).await;
    let upper_case = hex(&trace_id(1)).to_uppercase();
    let request = GetCorrelationRequest { correlation_id: upper_case, view: View::Unspecified.into() };
    let response = correlations(&engine).get_correlation(request).await.unwrap().into_inner();
    assert_eq!(response.traces_data.len() + response.logs_data.len(), 0);
    let summary = response.summary.unwrap();
    assert_eq!(summary.trace_id, hex(&trace_id(1)));
    assert_eq!(summary.services, ["shop"]);
    assert_eq!(summary.first_event.unwrap().seconds, 1_700_000_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_correlation_is_not_found_by_name() {
    let engine = engine().await;
    let status = get(&engine, 9).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    assert!(status.message().contains(&hex(&trace_id(9))), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_is_not_allowed_is_named() {
    let engine = engine().await;
    let mut client = correlations(&engine);
    let get = GetCorrelationRequest { correlation_id: "a{b}".into(), ..Default::default() };
    let status = client.get_correlation(get).await.unwrap_err();
    assert_eq!(
        (status.code(), status.message().contains("correlation_id")),
        (Code::InvalidArgument, true),
        "{status}"
    );
    let list = ListCorrelationsRequest { page_size: 1_001, ..Default::default() };
    let status = client.list_correlations(list).await.unwrap_err();
    assert_eq!(
        (status.code(), status.message().contains("page_size")),
        (Code::InvalidArgument, true),
        "{status}"
    );
    let list = ListCorrelationsRequest { page_token: "made up".into(), ..Default::default() };
    let status = client.list_correlations(list).await.unwrap_err();
    assert_eq!(
        (status.code(), status.message().contains("page_token")),
        (Code::InvalidArgument, true),
        "{status}"
    );
    let status = client.clean_up_correlations(CleanUpCorrelationsRequest { cutoff: None }).await.unwrap_err();
    assert_eq!(
        (status.code(), status.message().contains("cutoff")),
        (Code::InvalidArgument, true),
        "{status}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_newest_first_in_pages_and_by_service() {
    let engine = engine().await;
    for number in 1..=5 {
        let service = if number % 2 == 0 { "even" } else { "odd" };
        traces(&engine).export(request_of(service, vec![span(number, 1)])).await.unwrap();
    }
    let ids = |numbers: &[u64]| numbers.iter().map(|number| hex(&trace_id(*number))).collect::<Vec<_>>();
    let pages_of_two = ListCorrelationsRequest { page_size: 2, ..Default::default() };
    assert_eq!(listed(&engine, pages_of_two).await, ids(&[5, 4, 3, 2, 1]));
    let even = ListCorrelationsRequest { service: "even".into(), page_size: 1, ..Default::default() };
    assert_eq!(listed(&engine, even).await, ids(&[4, 2]));
    let future = Some(Timestamp { seconds: 4_000_000_000, nanos: 0 });
    let from_future = ListCorrelationsRequest { from: future, ..Default::default() };
    assert_eq!(listed(&engine, from_future).await, ids(&[]));
    let until_future = ListCorrelationsRequest { to: future, ..Default::default() };
    assert_eq!(listed(&engine, until_future).await.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_ends_because_it_was_enough_work_says_so_and_the_list_goes_on() {
    let engine = engine().await;
    // More than a page looks at, and none of them matches.
    let others = (1..=10_100).map(|number| span(number, 1)).collect();
    traces(&engine).export(request_of("other", others)).await.unwrap();
    let mut request = ListCorrelationsRequest { service: "shop".into(), ..Default::default() };
    let page = correlations(&engine).list_correlations(request.clone()).await.unwrap().into_inner();
    assert_eq!((page.correlations.len(), page.stopped_early), (0, true));
    request.page_token = page.next_page_token;
    assert_eq!(listed(&engine, request).await.len(), 0, "it comes to its end");
}

#[tokio::test(flavor = "multi_thread")]
async fn delete_count_and_clean_up_agree() {
    let engine = engine().await;
    for number in 1..=4 {
        export(&engine, vec![span(number, 1)]).await;
    }
    let mut client = correlations(&engine);
    let delete = DeleteCorrelationRequest { correlation_id: hex(&trace_id(1)) };
    client.delete_correlation(delete.clone()).await.unwrap();
    assert_eq!(client.delete_correlation(delete).await.unwrap_err().code(), Code::NotFound);
    let count = client.count_correlations(CountCorrelationsRequest {}).await.unwrap().into_inner();
    assert_eq!((count.correlations, count.state()), (3, StateBackend::Memory));
    let cutoff = get(&engine, 3).await.unwrap().summary.unwrap().last_updated;
    let removed =
        client.clean_up_correlations(CleanUpCorrelationsRequest { cutoff }).await.unwrap().into_inner();
    assert_eq!(removed.removed, 1);
    assert_eq!(
        client.count_correlations(CountCorrelationsRequest {}).await.unwrap().into_inner().correlations,
        2
    );
}
