//! What became of everything, as an engine tells it.

use std::time::Duration;

use otlp_proto::correlation::v1::{GetLedgerRequest, GetLedgerResponse, LedgerAccount};
use testbed::EngineProcess;

use crate::client::{correlations, engine, export, request, span, traces};

/// The account of spans. Balanced at any moment, or the test fails.
pub(crate) async fn spans(engine: &EngineProcess) -> LedgerAccount {
    let ledger = correlations(engine).get_ledger(GetLedgerRequest {}).await.unwrap().into_inner();
    let GetLedgerResponse { spans: Some(spans), logs: Some(logs) } = ledger else {
        panic!("both accounts are set: {ledger:?}")
    };
    for account in [&spans, &logs] {
        let (refused, expired): (u64, u64) = (account.refused.values().sum(), account.expired.values().sum());
        assert_eq!(account.received, account.kept + account.duplicate + refused, "{account:?}");
        let left = account.delivered + account.stored + account.pending + expired + account.deleted;
        assert_eq!(account.kept, left, "{account:?}");
    }
    spans
}

#[tokio::test(flavor = "multi_thread")]
async fn every_span_of_a_request_is_in_the_ledger_whatever_became_of_it() {
    let engine = engine().await;
    let mut invalid = span(1, 2);
    invalid.span_id.pop();
    traces(&engine).export(request(vec![span(1, 1), invalid, span(2, 1)])).await.unwrap();
    export(&engine, vec![span(2, 1)]).await;
    testbed::eventually("the refused span is entered", Duration::from_secs(30), async || {
        !spans(&engine).await.refused.is_empty()
    })
    .await
    .unwrap();
    let account = spans(&engine).await;
    assert_eq!((account.received, account.kept, account.duplicate), (4, 2, 1));
    assert_eq!(account.refused.values().sum::<u64>(), 1);
    testbed::eventually("the metrics tell it", Duration::from_secs(30), async || {
        let (_, metrics) = engine.admin_get("/metrics").await.unwrap();
        let told = r#"state_ledger_items{signal="traces",account="received"} 4"#;
        metrics.contains(told) && metrics.contains("state_ledger_balanced 1")
    })
    .await
    .unwrap();
}
