//! Closing: when a correlation is closed, and what its list tells.

use std::time::Duration;

use otlp_proto::correlation::v1::{CorrelationStatus, ListCorrelationsRequest};
use testbed::{EngineOptions, EngineProcess, eventually};

use crate::client::{correlations, export, get, hex, span, trace_id};

/// Longer than anything takes.
const PATIENCE: Duration = Duration::from_secs(30);

async fn engine(settings: &[(&str, &str)]) -> EngineProcess {
    let settings = settings.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
    EngineProcess::start(EngineOptions { settings, ..EngineOptions::default() }).await.unwrap()
}

async fn closed(engine: &EngineProcess) -> Vec<String> {
    let request = ListCorrelationsRequest { status: CorrelationStatus::Closed.into(), ..Default::default() };
    let page = correlations(engine).list_correlations(request).await.unwrap().into_inner();
    page.correlations.into_iter().map(|summary| summary.correlation_id).collect()
}

async fn count(engine: &EngineProcess, cause: &str) -> u32 {
    let (_, metrics) = engine.admin_get("/metrics").await.unwrap();
    let name = format!("engine_closed_correlations_total{{cause=\"{cause}\"}} ");
    metrics.lines().find_map(|line| line.strip_prefix(&name)?.parse().ok()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_trace_is_closed_after_the_grace_and_one_with_a_gap_is_not() {
    let engine = engine(&[("correlation.grace_ms", "20")]).await;
    export(&engine, vec![span(1, 2), span(1, 1)]).await;
    export(&engine, vec![span(2, 2)]).await;
    eventually("the whole one is closed", PATIENCE, async || closed(&engine).await == [hex(&trace_id(1))])
        .await
        .unwrap();
    assert_eq!((count(&engine, "complete").await, count(&engine, "idle").await), (1, 0));
    let status = async |trace| get(&engine, trace).await.unwrap().summary.unwrap().status();
    assert_eq!(status(1).await, CorrelationStatus::Closed);
    assert_eq!(status(2).await, CorrelationStatus::Active);

    // A late span opens another generation; a resent one does not.
    export(&engine, vec![span(1, 3)]).await;
    eventually("it is closed again", PATIENCE, async || count(&engine, "complete").await == 2).await.unwrap();
    export(&engine, vec![span(1, 3)]).await;
    export(&engine, vec![span(1, 1), span(1, 3)]).await;
    eventually("what was resent is no news", PATIENCE, async || count(&engine, "no_news").await == 1)
        .await
        .unwrap();
    assert_eq!(count(&engine, "complete").await, 2);
    // The missing root makes the other one whole.
    export(&engine, vec![span(2, 1)]).await;
    eventually("both are closed", PATIENCE, async || closed(&engine).await.len() == 2).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_a_gap_is_closed_when_it_is_idle_for_the_window() {
    let engine = engine(&[("correlation.grace_ms", "20"), ("correlation.window_seconds", "1")]).await;
    export(&engine, vec![span(1, 2)]).await;
    eventually("it is closed", PATIENCE, async || closed(&engine).await.len() == 1).await.unwrap();
    assert_eq!((count(&engine, "complete").await, count(&engine, "idle").await), (0, 1));
}
