//! What is stored, read back over the query API.

use serde_json::Value;
use testbed::GatewayProcess;

use crate::http1::Request;

/// A correlation with all its telemetry, as the query API prints it.
#[derive(Debug, Clone)]
pub(crate) struct Stored(pub(crate) Value);

impl Stored {
    /// Reads the correlation `id`; `None` when there is none.
    pub(crate) async fn find(gateway: &GatewayProcess, id: &str) -> Option<Self> {
        let path = format!("/api/v1/correlations/{id}?view=full");
        let answer = Request::new("GET", &path).send(gateway.http()).await;
        let answer = answer.unwrap_or_else(|error| panic!("{error:#}"));
        match answer.status {
            200 => Some(Self(answer.json())),
            404 => None,
            status => panic!("{path} answers {status}: {}", answer.text()),
        }
    }

    /// Reads the correlation `id`, which must be there.
    pub(crate) async fn get(gateway: &GatewayProcess, id: &str) -> Self {
        Self::find(gateway, id).await.unwrap_or_else(|| panic!("{id} is not stored"))
    }

    /// Its spans, wherever they stand.
    pub(crate) fn spans(&self) -> Vec<Value> {
        items(&self.0["traces_data"]["resourceSpans"], "scopeSpans", "spans")
    }

    /// The only span.
    pub(crate) fn span(&self) -> Value {
        let mut spans = self.spans();
        assert_eq!(spans.len(), 1, "{self:?}");
        spans.remove(0)
    }

    /// Its log records.
    pub(crate) fn logs(&self) -> Vec<Value> {
        items(&self.0["logs_data"]["resourceLogs"], "scopeLogs", "logRecords")
    }
}

fn items(resources: &Value, scopes: &str, items: &str) -> Vec<Value> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let scopes = list(resources).into_iter().flat_map(|resource| list(&resource[scopes]));
    scopes.flat_map(|scope| list(&scope[items])).collect()
}
