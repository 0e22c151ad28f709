//! Readers: they ask for traces all the time, and what they are told must not contradict what was acknowledged.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use correlate_proof::{
    apart::{self, Found, What},
    book::Sent,
    disguise::TraceId,
    store::Store,
};
use loadgen::content::hex;
use otlp_proto::opentelemetry::proto::{logs::v1::LogsData, trace::v1::TracesData};
use prost::Message as _;
use rand::Rng as _;
use reqwest::StatusCode;
use tokio::time::sleep;

use crate::clients::Clients;

const PAUSE: Duration = Duration::from_millis(100);
/// One query in so many is a list.
const LIST_ONE_IN: u32 = 10;

/// What the readers have seen.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Queries that were answered with telemetry, a list or that there is nothing.
    pub(crate) answered: AtomicU64,
    /// Queries that were to be asked again, or not answered.
    pub(crate) refused: AtomicU64,
    /// Answers that lacked what was acknowledged before the question.
    pub(crate) stale: AtomicU64,
}

/// Asks for random traces until it is told to stop.
pub(crate) async fn read(clients: &Clients, store: &Store, ids: &[TraceId], seen: &Seen, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let (place, is_list) = {
            let mut random = rand::rng();
            (random.random_range(0..ids.len()), random.random_ratio(1, LIST_ONE_IN))
        };
        if is_list {
            ask(clients, store, "/api/v1/correlations", &[("limit", "100")], seen).await;
        } else if let Some(sent) = clients.book.get(&ids[place]) {
            read_trace(clients, store, &ids[place], sent, seen).await;
        }
        sleep(PAUSE).await;
    }
}

async fn read_trace(clients: &Clients, store: &Store, id: &TraceId, sent: Sent<'_>, seen: &Seen) {
    let is_owed = |_, request| clients.standings.is_acknowledged(request);
    let owed: BTreeSet<u32> = sent.owed(&is_owed).collect();
    if owed.is_empty() {
        return;
    }
    let path = format!("/api/v1/correlations/{}", hex(id));
    let Some(traces) = ask(clients, store, &path, &[("signal", "traces")], seen).await else { return };
    let Some(logs) = ask(clients, store, &path, &[("signal", "logs")], seen).await else { return };
    let (traces, logs) = match (TracesData::decode(&*traces), LogsData::decode(&*logs)) {
        (Ok(traces), Ok(logs)) => (traces, logs),
        _ => return clients.attempts.note_wrong(format!("{path} answered what is not OTLP")),
    };
    let found = apart::traces(&clients.book, traces).into_iter().chain(apart::logs(&clients.book, logs));
    let mut items = BTreeSet::new();
    for Found { what, .. } in found {
        match what {
            What::Item(item) => _ = items.insert(item),
            What::Stranger(words) => clients.attempts.note_wrong(format!("{path} answered with {words}")),
            What::Synthetic(_) => {}
        }
    }
    if !items.is_superset(&owed) {
        seen.stale.fetch_add(1, Ordering::Relaxed);
    }
}

/// The body of the answer, empty where there is nothing; `None` when it is to be asked again.
async fn ask(
    clients: &Clients,
    store: &Store,
    path: &str,
    query: &[(&str, &str)],
    seen: &Seen,
) -> Option<bytes::Bytes> {
    let answer = store.ask(path, query).await;
    let count = |counter: &AtomicU64| _ = counter.fetch_add(1, Ordering::Relaxed);
    match answer {
        Ok((StatusCode::OK, body)) => {
            count(&seen.answered);
            Some(body)
        }
        Ok((StatusCode::NOT_FOUND, _)) => {
            count(&seen.answered);
            Some(bytes::Bytes::new())
        }
        Ok((status, body)) => {
            let is_retryable = matches!(status.as_u16(), 429 | 502 | 503 | 504);
            if !is_retryable {
                let text = String::from_utf8_lossy(&body);
                clients.attempts.note_wrong(format!("{path} answered {status}: {text}"));
            }
            count(&seen.refused);
            None
        }
        Err(_) => {
            count(&seen.refused);
            None
        }
    }
}
