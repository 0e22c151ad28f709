//! Whether the query API says the same as the endpoint: content of traces, and all traces of a key.

use std::{collections::BTreeSet, sync::Arc};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use loadgen::content::hex;
use rand::{SeedableRng as _, rngs::StdRng, seq::IteratorRandom as _};

use crate::{
    apart::{self, Found, What},
    book::{Book, Sent},
    check::{Findings, describe},
    disguise::TraceId,
    store::Store,
};

/// Traces that are read, at most.
const TRACES_MAX: usize = 600;
/// Queries in flight.
const IN_FLIGHT: usize = 8;

/// Reads traces, all or a seeded sample, and demands every item once. Answers how many were read.
///
/// # Errors
/// When a query fails.
pub(crate) async fn traces(
    book: &Arc<Book>,
    store: &Store,
    seed: u64,
    findings: &mut Findings,
) -> anyhow::Result<usize> {
    let mut all: Vec<_> = book.traces().collect();
    // The order of a hash map is another one each time.
    all.sort_by_key(|(id, _)| **id);
    let sample = all.into_iter().choose_multiple(&mut StdRng::seed_from_u64(seed), TRACES_MAX);
    let read = stream::iter(&sample)
        .map(async |(id, sent)| anyhow::Ok((*id, *sent, store.telemetry(&hex(*id)).await?)))
        .buffer_unordered(IN_FLIGHT);
    let mut read = std::pin::pin!(read);
    while let Some((id, sent, telemetry)) = read.try_next().await? {
        let (traces, logs) = telemetry.unwrap_or_default();
        let found = apart::traces(book, traces).into_iter().chain(apart::logs(book, logs));
        compare(id, sent, found, findings);
    }
    Ok(sample.len())
}

fn compare(id: &TraceId, sent: Sent<'_>, found: impl Iterator<Item = Found>, findings: &mut Findings) {
    let mut items = BTreeSet::new();
    for Found { what, .. } in found {
        match what {
            What::Synthetic(_) => {}
            What::Item(item) if items.insert(item) => {}
            What::Item(item) => findings.extra(id, || format!("{} is stored twice", describe(sent, item))),
            What::Stranger(words) => {
                findings.extra(id, || format!("{words} is stored and was never sent like that"))
            }
        }
    }
    for item in (0..sent.trace.items.len() as u32).filter(|item| !items.contains(item)) {
        findings.missing(id, || format!("{} is not stored", describe(sent, item)));
    }
}

/// Asks for every correlation key, and demands exactly the traces that carry it. Answers for how many keys
/// that was so, and how many there are.
///
/// # Errors
/// When a query fails.
pub(crate) async fn keys(
    book: &Book,
    store: &Store,
    findings: &mut Findings,
) -> anyhow::Result<(usize, usize)> {
    let keys = book.keys();
    let asked = stream::iter(&keys)
        .map(async |((name, value), traces)| {
            let expected: BTreeSet<_> = traces.iter().map(|id| hex(id)).collect();
            let found = store.find(name, value).await?;
            anyhow::Ok((found == expected).then_some(()).ok_or((
                name,
                value,
                expected.len(),
                found.len(),
                traces,
            )))
        })
        .buffer_unordered(IN_FLIGHT);
    let mut asked = std::pin::pin!(asked);
    let mut together = 0;
    while let Some(answer) = asked.try_next().await? {
        match answer {
            Ok(()) => together += 1,
            Err((name, value, expected, found, traces)) => {
                if let Some(id) = traces.first() {
                    let words = || format!("{name}={value} has {expected} traces, and {found} are found");
                    findings.tell(id, words);
                }
            }
        }
    }
    Ok((together, keys.len()))
}
