//! What is kept of traces, as `GET /api/v1/correlations/{id}` tells it.

use std::time::Duration;

use anyhow::{Context as _, bail};
use bench_kit::load::TraceId;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use reqwest::StatusCode;
use serde::Deserialize;

/// Questions on their way at once.
const AT_ONCE: usize = 16;
const TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Deserialize)]
struct Correlation {
    spans: usize,
}

/// Spans of these traces that are kept, in all.
///
/// # Errors
/// When one cannot be asked for; one that is not there has no spans.
pub(crate) async fn kept(url: &str, traces: impl IntoIterator<Item = &TraceId>) -> anyhow::Result<usize> {
    // A proxy of the environment cannot know our loopback.
    let client = reqwest::Client::builder().no_proxy().timeout(TIMEOUT).build()?;
    let ids =
        traces.into_iter().map(|trace| trace.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    let urls: Vec<String> = ids.map(|id| format!("{url}/api/v1/correlations/{id}?view=summary")).collect();
    let answers = stream::iter(urls).map(|url| spans(&client, url)).buffer_unordered(AT_ONCE);
    answers.try_fold(0, async |sum, spans| Ok(sum + spans)).await
}

async fn spans(client: &reqwest::Client, url: String) -> anyhow::Result<usize> {
    let answer = client.get(&url).send().await.with_context(|| format!("failed to read {url}"))?;
    match answer.status() {
        StatusCode::OK => Ok(serde_json::from_slice::<Correlation>(&answer.bytes().await?)?.spans),
        StatusCode::NOT_FOUND => Ok(0),
        status => bail!("{url} answers {status}"),
    }
}
