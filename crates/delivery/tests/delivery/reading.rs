//! What engines answer to queries.

use otlp_proto::correlation::v1::{
    CorrelationSummary, CountCorrelationsRequest, GetCorrelationRequest, GetLedgerRequest, LedgerAccount,
    ListCorrelationsRequest, View, correlation_service_client::CorrelationServiceClient,
};
use testbed::EngineProcess;
use tonic::{Status, transport::Channel};

use crate::telemetry::trace_id;

pub(crate) fn client(engine: &EngineProcess) -> CorrelationServiceClient<Channel> {
    CorrelationServiceClient::new(Channel::from_shared(engine.url()).unwrap().connect_lazy())
}

pub(crate) async fn summary(engine: &EngineProcess, trace: u8) -> Result<CorrelationSummary, Status> {
    let correlation_id = trace_id(trace).iter().map(|byte| format!("{byte:02x}")).collect();
    let request = GetCorrelationRequest { correlation_id, view: View::Full.into() };
    client(engine).get_correlation(request).await.map(|found| found.into_inner().summary.unwrap())
}

pub(crate) async fn list(engine: &EngineProcess) -> Result<Vec<CorrelationSummary>, Status> {
    let request = ListCorrelationsRequest { page_size: 1_000, ..ListCorrelationsRequest::default() };
    client(engine).list_correlations(request).await.map(|page| page.into_inner().correlations)
}

pub(crate) async fn count(engine: &EngineProcess) -> u64 {
    client(engine).count_correlations(CountCorrelationsRequest {}).await.unwrap().into_inner().correlations
}

pub(crate) async fn spans_of_ledger(engine: &EngineProcess) -> LedgerAccount {
    client(engine).get_ledger(GetLedgerRequest {}).await.unwrap().into_inner().spans.unwrap()
}
