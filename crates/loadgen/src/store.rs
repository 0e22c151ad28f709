//! Reads correlations back: over gRPC from the engines in turn, over REST from a gateway.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use otlp_proto::{
    correlation::v1::{
        CorrelationSummary, CountCorrelationsRequest, GetCorrelationRequest, ListCorrelationsRequest,
        StateBackend, View, correlation_service_client::CorrelationServiceClient,
    },
    opentelemetry::proto::{logs::v1::LogsData, trace::v1::TracesData},
};
use prost::Message as _;
use reqwest::StatusCode;
use tokio::time::{Instant, sleep};
use tonic::{Code, Status, transport::Channel};

use crate::{
    otlp_json,
    sender::{connect, http_client},
    targets::Targets,
};

/// The most the query API returns at once.
const PAGE_SIZE: u32 = 1_000;

/// Until then a query that was answered `UNAVAILABLE` is repeated.
const DEADLINE: Duration = Duration::from_secs(30);
const RETRY_WAIT: Duration = Duration::from_millis(200);

/// The query API of a cluster.
#[derive(Debug)]
pub struct Store {
    engines: Vec<CorrelationServiceClient<Channel>>,
    next_engine: AtomicUsize,
    gateways: Vec<String>,
    http: reqwest::Client,
}

/// A correlation with all its telemetry.
#[derive(Debug, Clone)]
pub struct Correlation {
    /// What is known about it.
    pub summary: CorrelationSummary,
    /// All spans.
    pub traces: TracesData,
    /// All log records.
    pub logs: LogsData,
}

/// All correlation ids, and how many rows repeated one.
#[derive(Debug, Default)]
pub struct Listing {
    /// Every id once.
    pub ids: BTreeSet<String>,
    /// Rows that repeated an id.
    pub repeated: u64,
}

impl Store {
    /// Connects on first use.
    ///
    /// # Errors
    /// When a URL is not one.
    pub fn new(targets: &Targets) -> anyhow::Result<Self> {
        let client = |url: &String| {
            // A correlation may be as large as the store allows.
            Ok(CorrelationServiceClient::new(connect(url)?).max_decoding_message_size(usize::MAX))
        };
        Ok(Self {
            engines: targets.engines.iter().map(client).collect::<anyhow::Result<_>>()?,
            next_engine: AtomicUsize::new(0),
            gateways: targets.gateways.clone(),
            http: http_client()?,
        })
    }

    /// Reads one correlation over gRPC; `None` when it is not there.
    ///
    /// # Errors
    /// When it is not answered within 30 s, or the answer cannot be read.
    pub async fn get(&self, id: &str) -> anyhow::Result<Option<Correlation>> {
        let request = GetCorrelationRequest { correlation_id: id.to_owned(), view: View::Full.into() };
        let answer = self.ask(async |mut engine| engine.get_correlation(request.clone()).await).await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(status) if status.code() == Code::NotFound => return Ok(None),
            Err(status) => return Err(status).with_context(|| format!("failed to read {id}")),
        };
        let read = || {
            anyhow::Ok(Correlation {
                summary: answer.summary.context("the summary is absent")?,
                traces: TracesData::decode(answer.traces_data)?,
                logs: LogsData::decode(answer.logs_data)?,
            })
        };
        read().map(Some).with_context(|| format!("failed to understand the correlation {id}"))
    }

    /// Reads the telemetry of one correlation from a gateway as JSON; `None` when it is not there.
    ///
    /// # Errors
    /// When there is no gateway, or the answer is another one or cannot be read.
    pub async fn get_json(&self, id: &str) -> anyhow::Result<Option<(TracesData, LogsData)>> {
        let gateway = self.gateways.first().context("no gateway is named")?;
        let url = format!("{gateway}/api/v1/correlations/{id}?view=full");
        let read = async {
            let answer = self.http.get(&url).send().await?;
            let status = answer.status();
            if status == StatusCode::NOT_FOUND {
                return Ok(None);
            }
            let text = answer.text().await?;
            ensure!(status == StatusCode::OK, "the answer is {status}: {text}");
            let json: serde_json::Value = serde_json::from_str(&text)?;
            Ok(Some((otlp_json::traces(&json["traces_data"])?, otlp_json::logs(&json["logs_data"])?)))
        };
        read.await.with_context(|| format!("failed to read {url}"))
    }

    /// Whether there is a gateway to read JSON from.
    #[must_use]
    pub fn has_gateway(&self) -> bool {
        !self.gateways.is_empty()
    }

    /// Lists all correlations, page by page, from the engines in turn.
    ///
    /// # Errors
    /// When a page is not answered within 30 s.
    pub async fn list(&self) -> anyhow::Result<Listing> {
        let mut listing = Listing::default();
        let mut page_token = String::new();
        loop {
            let request = ListCorrelationsRequest {
                page_size: PAGE_SIZE,
                page_token: page_token.clone(),
                ..ListCorrelationsRequest::default()
            };
            let page = self
                .ask(async |mut engine| engine.list_correlations(request.clone()).await)
                .await
                .context("failed to list the correlations")?;
            for summary in page.correlations {
                let is_new = listing.ids.insert(summary.correlation_id);
                listing.repeated += u64::from(!is_new);
            }
            if page.next_page_token.is_empty() {
                return Ok(listing);
            }
            if page.next_page_token == page_token {
                bail!("failed to list the correlations: the page {page_token} leads to itself");
            }
            page_token = page.next_page_token;
        }
    }

    /// Counts all correlations, and says where they are kept.
    ///
    /// # Errors
    /// When it is not answered within 30 s.
    pub async fn count(&self) -> anyhow::Result<(u64, &'static str)> {
        let answer = self
            .ask(async |mut engine| engine.count_correlations(CountCorrelationsRequest {}).await)
            .await
            .context("failed to count the correlations")?;
        let state = match answer.state() {
            StateBackend::Unspecified => "unknown",
            StateBackend::Memory => "memory",
            StateBackend::Redis => "redis",
            StateBackend::RedisCluster => "redis-cluster",
        };
        Ok((answer.correlations, state))
    }

    /// Asks the engines in turn until one answers.
    async fn ask<T>(
        &self,
        query: impl AsyncFn(CorrelationServiceClient<Channel>) -> Result<tonic::Response<T>, Status>,
    ) -> Result<T, Status> {
        let end = Instant::now() + DEADLINE;
        loop {
            let turn = self.next_engine.fetch_add(1, Ordering::Relaxed);
            let engine = self.engines[turn % self.engines.len()].clone();
            match query(engine).await {
                Ok(answer) => return Ok(answer.into_inner()),
                Err(status) if status.code() == Code::Unavailable && Instant::now() < end => {}
                Err(status) => return Err(status),
            }
            sleep(RETRY_WAIT).await;
        }
    }
}
