//! What users are answered: reads the query API of the gateways.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use otlp_proto::opentelemetry::proto::{logs::v1::LogsData, trace::v1::TracesData};
use prost::Message as _;
use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::Value;

/// Of one query; an engine may just be starting.
const DEADLINE: Duration = Duration::from_secs(10);
/// More pages than this are no answer.
const PAGES_MAX: usize = 1_000;

/// What a list says of a correlation.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Row {
    #[serde(rename = "correlation_id")]
    pub id: String,
    pub spans: u64,
    pub logs: u64,
}

#[derive(Deserialize)]
struct Listing {
    correlations: Vec<Row>,
    next_page_token: String,
}

/// The gateways, asked in turn.
#[derive(Debug)]
pub struct Store {
    gateways: Vec<String>,
    next: AtomicUsize,
    http: reqwest::Client,
}

impl Store {
    pub fn new(gateways: Vec<String>) -> anyhow::Result<Self> {
        ensure!(!gateways.is_empty(), "there is no gateway to ask");
        // A proxy of the environment cannot know our loopback.
        let http = reqwest::Client::builder().no_proxy().timeout(DEADLINE).build();
        Ok(Self {
            gateways,
            next: AtomicUsize::new(0),
            http: http.context("failed to set up the HTTP client")?,
        })
    }

    /// All telemetry of a correlation; `None` when it is not there.
    pub async fn telemetry(&self, id: &str) -> anyhow::Result<Option<(TracesData, LogsData)>> {
        let path = format!("/api/v1/correlations/{id}");
        let read = async |signal: &str| {
            let request = self.request(&path).query(&[("signal", signal)]);
            let answer = request.header("accept", "application/x-protobuf").send().await?;
            match answer.status() {
                StatusCode::OK => anyhow::Ok(Some(answer.bytes().await?)),
                StatusCode::NOT_FOUND => Ok(None),
                status => bail!("the answer is {status}: {}", answer.text().await?),
            }
        };
        let both = async {
            let (Some(traces), Some(logs)) = (read("traces").await?, read("logs").await?) else {
                return anyhow::Ok(None);
            };
            Ok(Some((TracesData::decode(traces)?, LogsData::decode(logs)?)))
        };
        both.await.with_context(|| format!("failed to read {id}"))
    }

    /// Status and body of a query, asked once, telemetry as protobuf.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn ask(&self, path: &str, query: &[(&str, &str)]) -> reqwest::Result<(StatusCode, Bytes)> {
        let request = self.request(path).query(query).header("accept", "application/x-protobuf, */*;q=0.5");
        let answer = request.send().await?;
        let status = answer.status();
        Ok((status, answer.bytes().await?))
    }

    /// Ids of all correlations with a correlation key.
    ///
    /// # Errors
    /// When a page is not answered, or there are too many.
    pub async fn find(&self, name: &str, value: &str) -> anyhow::Result<BTreeSet<String>> {
        let key = format!("{name}:{value}");
        Ok(self.list(&[("key", &key)]).await?.into_iter().map(|row| row.id).collect())
    }

    /// All correlations that a query selects, page by page.
    ///
    /// # Errors
    /// When a page is not answered, or there are too many.
    pub async fn list(&self, selection: &[(&str, &str)]) -> anyhow::Result<Vec<Row>> {
        let (mut rows, mut page) = (Vec::new(), String::new());
        for _ in 0..PAGES_MAX {
            let mut query = selection.to_vec();
            query.push(("limit", "1000"));
            // An empty token is none.
            if !page.is_empty() {
                query.push(("page_token", &page));
            }
            let answer: Listing = serde_json::from_value(self.json("/api/v1/correlations", &query).await?)
                .context("failed to understand a page of correlations")?;
            rows.extend(answer.correlations);
            if answer.next_page_token.is_empty() {
                return Ok(rows);
            }
            page = answer.next_page_token;
        }
        bail!("the correlations of {selection:?} have no end")
    }

    /// How many correlations the store counts.
    ///
    /// # Errors
    /// When it is not answered.
    pub async fn count(&self) -> anyhow::Result<u64> {
        let stats = self.json("/api/v1/stats", &[]).await?;
        stats["correlations"].as_u64().context("the statistics do not say how many correlations there are")
    }

    /// What became of everything that was received.
    pub async fn ledger(&self) -> anyhow::Result<Value> {
        self.json("/api/v1/ledger", &[]).await
    }

    async fn json(&self, path: &str, query: &[(&str, &str)]) -> anyhow::Result<Value> {
        let read = async {
            let answer = self.request(path).query(query).send().await?;
            let (status, text) = (answer.status(), answer.text().await?);
            ensure!(status == StatusCode::OK, "the answer is {status}: {text}");
            Ok(serde_json::from_str(&text)?)
        };
        read.await.with_context(|| format!("failed to ask for {path}"))
    }

    fn request(&self, path: &str) -> reqwest::RequestBuilder {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        self.http.get(format!("{}{path}", self.gateways[turn % self.gateways.len()]))
    }
}
