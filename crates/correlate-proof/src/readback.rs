//! Whether the query API says the same as the endpoint: content of traces, and all traces of a key.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use loadgen::content::hex;
use rand::{SeedableRng as _, rngs::StdRng, seq::IteratorRandom as _};

use crate::{
    apart::{self, Found, What},
    book::{Book, Owed, Sent},
    check::{Findings, describe},
    disguise::TraceId,
    store::Store,
};

/// Queries in flight.
const IN_FLIGHT: usize = 8;

/// How many spans and log records of a trace are stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stored {
    pub spans: usize,
    pub logs: usize,
}

/// A seeded sample of at most so many traces that were sent, or all.
#[must_use]
pub fn sample(book: &Book, traces_max: usize, seed: u64) -> Vec<TraceId> {
    let mut all: Vec<_> = book.traces().map(|(id, _)| *id).collect();
    // The order of a hash map is another one each time.
    all.sort_unstable();
    let wanted = traces_max.min(all.len());
    all.into_iter().choose_multiple(&mut StdRng::seed_from_u64(seed), wanted)
}

/// Reads traces, demands every item once and of those that are owed each. Answers what is stored.
///
/// # Errors
/// When a query fails.
pub async fn traces(
    book: &Arc<Book>,
    store: &Store,
    ids: &[TraceId],
    owed: &Owed<'_>,
    findings: &mut Findings,
) -> anyhow::Result<BTreeMap<TraceId, Stored>> {
    let sent = ids.iter().filter_map(|id| Some((id, book.get(id)?)));
    let read = stream::iter(sent)
        .map(async |(id, sent)| anyhow::Ok((id, sent, store.telemetry(&hex(id)).await?)))
        .buffer_unordered(IN_FLIGHT);
    let mut read = std::pin::pin!(read);
    let mut stored = BTreeMap::new();
    while let Some((id, sent, telemetry)) = read.try_next().await? {
        let (traces, logs) = telemetry.unwrap_or_default();
        let (spans, logs) = (apart::traces(book, traces), apart::logs(book, logs));
        stored.insert(*id, Stored { spans: spans.len(), logs: logs.len() });
        compare(id, sent, spans.into_iter().chain(logs), owed, findings);
    }
    Ok(stored)
}

fn compare(
    id: &TraceId,
    sent: Sent<'_>,
    found: impl Iterator<Item = Found>,
    owed: &Owed<'_>,
    findings: &mut Findings,
) {
    let mut items = BTreeSet::new();
    for Found { what, .. } in found {
        match what {
            What::Synthetic(_) => {}
            What::Item(item) if items.insert(item) => {}
            What::Item(item) => {
                findings.duplicated(id, || format!("{} is stored twice", describe(sent, item)))
            }
            What::Stranger(words) => {
                findings.extra(id, || format!("{words} is stored and was never sent like that"))
            }
        }
    }
    for item in sent.owed(owed).filter(|item| !items.contains(item)) {
        findings.missing(id, || format!("{} is not stored", describe(sent, item)));
    }
}

/// Asks for every correlation key, and demands every trace that carries it and is owed whole, and no trace
/// that does not. Answers for how many keys that was so, and how many there are.
///
/// # Errors
/// When a query fails.
pub async fn keys(
    book: &Book,
    store: &Store,
    owed: &Owed<'_>,
    findings: &mut Findings,
) -> anyhow::Result<(usize, usize)> {
    let keys = book.keys();
    let is_whole =
        |id: &TraceId| book.get(id).is_some_and(|sent| sent.owed(owed).count() == sent.trace.items.len());
    let asked = stream::iter(&keys)
        .map(async |((name, value), traces)| {
            let possible: BTreeSet<_> = traces.iter().map(|id| hex(id)).collect();
            let needed: BTreeSet<_> = traces.iter().filter(|id| is_whole(id)).map(|id| hex(id)).collect();
            let found = store.find(name, value).await?;
            let is_well = found.is_superset(&needed) && found.is_subset(&possible);
            let words = format!("{name}={value} has {} traces, and {} are found", needed.len(), found.len());
            anyhow::Ok((traces.first(), (!is_well).then_some(words)))
        })
        .buffer_unordered(IN_FLIGHT);
    let mut asked = std::pin::pin!(asked);
    let mut together = 0;
    while let Some(answer) = asked.try_next().await? {
        match answer {
            (Some(id), Some(words)) => findings.tell(id, || words),
            _ => together += 1,
        }
    }
    Ok((together, keys.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        disguise::Disguise,
        recording::{Recording, Telemetry},
        sample,
    };

    /// What is missing, stored twice and never sent when these items of a trace of three are stored.
    fn differences(stored: Vec<What>, owed: &Owed<'_>) -> (u64, u64, u64) {
        let spans = sample::traces([sample::span(1, 1, 0), sample::span(1, 2, 1)]);
        let logs = sample::logs([sample::log(1, 2, "a", "x")]);
        let recording = Recording::new(vec![Telemetry::Traces(spans), Telemetry::Logs(logs)]).unwrap();
        let mut book = Book::default();
        book.add(&Arc::new(recording), Disguise::default());
        let id = [1; 16];
        let mut findings = Findings::default();
        let found = stored.into_iter().map(|what| Found { trace_id: id, what });
        compare(&id, book.get(&id).unwrap(), found, owed, &mut findings);
        assert_eq!(findings.first.is_none(), findings.examples.is_empty());
        (findings.missing, findings.duplicated, findings.extra)
    }

    fn items(numbers: &[u32]) -> Vec<What> {
        numbers.iter().copied().map(What::Item).collect()
    }

    #[test]
    fn what_is_lost_doubled_or_invented_is_found() {
        let everything = |_, _| true;
        assert_eq!(differences(items(&[0, 1, 2]), &everything), (0, 0, 0));
        assert_eq!(differences(items(&[0, 2]), &everything), (1, 0, 0), "lost");
        assert_eq!(differences(items(&[0, 1, 1, 2]), &everything), (0, 1, 0), "doubled");
        // An item whose bytes were changed is a stranger, and itself not there.
        let changed = [items(&[0, 1]), vec![What::Stranger("span".to_owned())]].concat();
        assert_eq!(differences(changed, &everything), (1, 0, 1), "changed");
    }

    #[test]
    fn what_nobody_acknowledged_may_be_stored_once_or_not() {
        let only_spans = |_, request| request == 0;
        assert_eq!(differences(items(&[0, 1]), &only_spans), (0, 0, 0));
        assert_eq!(differences(items(&[0, 1, 2]), &only_spans), (0, 0, 0));
        assert_eq!(differences(items(&[0, 1, 2, 2]), &only_spans), (0, 1, 0));
    }
}
