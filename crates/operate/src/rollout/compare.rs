//! Whether anything failed or is lost after a step.

use std::{ops::Range, time::Duration};

use anyhow::Context as _;
use loadgen::content::hex;
use otlp_proto::opentelemetry::proto::trace::v1::TracesData;
use prost::Message as _;
use reqwest::StatusCode;
use testbed::eventually;

use super::{Rollout, ledger::Deliveries, load::Tally};

/// For everything to be closed and delivered.
const DELIVERY_DEADLINE: Duration = Duration::from_secs(60);
/// For the load to get on.
const FLOW_DEADLINE: Duration = Duration::from_secs(60);
/// Traces that are read back after each step, from each gateway.
const READ_BACK: usize = 40;

/// Where a step begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    pair: u64,
    tally: Tally,
}

/// What is to be said of a step.
#[derive(Debug, Default)]
pub(super) struct Compared {
    pub(super) words: String,
    /// Spans that were acknowledged and are not read back.
    pub(super) unread: u64,
    /// From what should be.
    pub(super) differences: Vec<String>,
}

impl Rollout {
    pub(super) fn mark(&self) -> Mark {
        Mark { pair: self.ledger.next(), tally: self.load.tally() }
    }

    /// Lets the load go on for so many pairs of traces.
    ///
    /// # Errors
    /// When it does not get on.
    pub(super) async fn flow(&self, pairs: u64) -> anyhow::Result<()> {
        let end = self.ledger.next() + pairs;
        let has_flowed = async || self.ledger.are_settled(end.saturating_sub(pairs)..end);
        let is_begun = async || self.ledger.next() >= end && has_flowed().await;
        eventually(&format!("{pairs} pairs of traces sent"), FLOW_DEADLINE, is_begun).await
    }

    /// What was begun before now may not be readable any more.
    pub(super) fn forget_what_is_read(&mut self) {
        self.readable_from = self.ledger.next();
    }

    /// Waits until everything that was begun since is delivered, reads some of it back, and looks at the answers.
    ///
    /// # Errors
    /// When the load does not get on, or a gateway does not answer.
    pub(super) async fn compare(&self, since: Mark) -> anyhow::Result<Compared> {
        // Something to read that was begun after whatever the step has ended.
        self.flow(READ_BACK as u64).await?;
        let end = self.ledger.next();
        let (undelivered, examples) = self.wait_delivered(since.pair..end).await;
        let mut compared = Compared::default();
        if undelivered > 0 {
            let examples = examples.join("; ");
            compared.differences.push(format!("{undelivered} acknowledged spans not delivered: {examples}"));
        }
        let (strangers, examples) = self.ledger.strangers();
        if strangers > 0 {
            let examples = examples.join("; ");
            compared.differences.push(format!("{strangers} delivered spans never sent: {examples}"));
        }
        let read = self.read_back(since.pair.max(self.readable_from)..end, &mut compared).await?;
        let now = self.load.tally();
        let Tally { requests, failed, repeated } = Tally {
            requests: now.requests - since.tally.requests,
            failed: now.failed - since.tally.failed,
            repeated: now.repeated - since.tally.repeated,
        };
        if failed > 0 {
            compared.differences.push(format!("{failed} of {requests} requests were refused or not taken"));
        }
        let Deliveries { whole, split } = self.ledger.deliveries(since.pair..end);
        compared.words = format!(
            "{requests} requests, {failed} failed, {repeated} attempts without an answer; \
             {whole} traces delivered whole, {split} in parts; {read} read back"
        );
        Ok(compared)
    }

    /// Waits until these pairs are delivered; answers how many spans are not, and some in words.
    pub(super) async fn wait_delivered(&self, pairs: Range<u64>) -> (u64, Vec<String>) {
        let is_out =
            async || self.ledger.are_settled(pairs.clone()) && self.ledger.undelivered(pairs.clone()).0 == 0;
        // What is not delivered then is told by its count.
        let _ = eventually("everything delivered", DELIVERY_DEADLINE, is_out).await;
        self.ledger.undelivered(pairs)
    }

    /// Reads some traces of these pairs; answers how many.
    async fn read_back(&self, pairs: Range<u64>, compared: &mut Compared) -> anyhow::Result<usize> {
        let known = self.ledger.known_to_gateways(pairs);
        let step = known.len().div_ceil(READ_BACK).max(1);
        let mut read = 0;
        for (trace, acknowledged) in known.into_iter().step_by(step) {
            let id = hex(&self.ledger.traffic.trace_id(trace));
            let path = format!("/api/v1/correlations/{id}");
            for _gateway in &self.site.gateways {
                let answer = self.store.ask(&path, &[("signal", "traces")]).await;
                let (status, body) = answer.with_context(|| format!("failed to read {id}"))?;
                let data = match status {
                    StatusCode::OK => TracesData::decode(body).context("a gateway did not answer OTLP")?,
                    _ => TracesData::default(),
                };
                let (traces, strangers) = self.ledger.take_apart(&data);
                let there = traces.get(&trace).copied().unwrap_or_default();
                let missing = acknowledged & !there;
                if missing != 0 {
                    compared.unread += u64::from(missing.count_ones());
                    let missing = missing.count_ones();
                    compared.differences.push(format!("{id} was answered {status}, without {missing} spans"));
                }
                compared.differences.extend(strangers);
            }
            read += 1;
        }
        Ok(read)
    }
}
