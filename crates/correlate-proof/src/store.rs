//! What users are answered: reads the query API of the gateways.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use otlp_proto::opentelemetry::proto::{logs::v1::LogsData, trace::v1::TracesData};
use prost::Message as _;
use reqwest::StatusCode;
use serde_json::Value;

/// Of one query; an engine may just be starting.
const DEADLINE: Duration = Duration::from_secs(10);
/// More pages than this are no answer.
const PAGES_MAX: usize = 1_000;

/// The gateways, asked in turn.
#[derive(Debug)]
pub(crate) struct Store {
    gateways: Vec<String>,
    next: AtomicUsize,
    http: reqwest::Client,
}

impl Store {
    pub(crate) fn new(gateways: Vec<String>) -> anyhow::Result<Self> {
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
    pub(crate) async fn telemetry(&self, id: &str) -> anyhow::Result<Option<(TracesData, LogsData)>> {
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

    /// Ids of all correlations with a correlation key.
    pub(crate) async fn find(&self, name: &str, value: &str) -> anyhow::Result<BTreeSet<String>> {
        let key = format!("{name}:{value}");
        let (mut found, mut page) = (BTreeSet::new(), String::new());
        for _ in 0..PAGES_MAX {
            let query = [("key", key.as_str()), ("limit", "1000"), ("page_token", page.as_str())];
            // An empty token is none.
            let query = if page.is_empty() { &query[..2] } else { &query[..] };
            let answer: Value = self.json("/api/v1/correlations", query).await?;
            let listed = answer["correlations"].as_array().context("the answer has no correlations")?;
            found.extend(listed.iter().filter_map(|one| Some(one["correlation_id"].as_str()?.to_owned())));
            match answer["next_page_token"].as_str() {
                None | Some("") => return Ok(found),
                Some(next) => page = next.to_owned(),
            }
        }
        bail!("the correlations with the key {key} have no end")
    }

    /// What became of everything that was received.
    pub(crate) async fn ledger(&self) -> anyhow::Result<Value> {
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
