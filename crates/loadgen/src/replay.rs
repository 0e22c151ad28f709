//! `loadgen replay`: sends recorded telemetry to a running cluster and compares every correlation
//! with what was sent.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use anyhow::ensure;
use clap::Args;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use otlp_proto::opentelemetry::proto::{logs::v1::LogsData, trace::v1::TracesData};
use serde::Serialize;

use crate::{
    content,
    dataset::{Dataset, StatedTrace},
    expectation::{Differences, ExpectedTrace},
    output::{note, result},
    plan,
    sender::Sender,
    store::{Correlation, Listing, Store},
    targets::TargetArguments,
};

/// Traces that are read a second time, as JSON through a gateway.
const JSON_SAMPLE: usize = 50;

/// Sends recorded telemetry and compares what comes out
#[derive(Debug, Args)]
pub struct Arguments {
    /// Directory with traces-*.jsonl.gz and logs-*.jsonl.gz (each line one OTLP/JSON export
    /// request), and expected.json with the number of spans and logs of each trace
    dir: PathBuf,
    /// Order of the requests, and which are sent twice
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Requests, and later queries, in flight
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..))]
    concurrency: u16,
    #[command(flatten)]
    targets: TargetArguments,
}

/// The last line of the output.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Summary {
    /// Traces read back.
    traces: u64,
    /// Spans read back.
    spans: u64,
    /// Log records read back.
    logs: u64,
    missing: u64,
    extra: u64,
    duplicated: u64,
    /// Different requests.
    requests: usize,
    /// Of these, sent twice.
    resent: usize,
    state: String,
}

/// Runs the command.
///
/// # Errors
/// When something could not be sent or read, or differs from what was sent.
pub async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let targets = arguments.targets.resolve()?;
    let dataset = Dataset::read(&arguments.dir)?;
    let store = Store::new(&targets)?;
    let before = store.list().await?;
    introduce(&dataset, &before);

    let sendings = plan::with_resends(dataset.requests.len(), targets.doors(), arguments.seed);
    let (requests, sent) = (dataset.requests.len(), sendings.len());
    let concurrency = usize::from(arguments.concurrency);
    send(&dataset, &Sender::new(&targets)?, sendings, concurrency).await?;

    let mut differences = Differences::default();
    let found = read_back(&dataset, &store, concurrency, &mut differences).await?;
    if let Some(stated) = &dataset.stated {
        differences = larger(differences, compare_stated(stated, &found));
    }
    let after = store.list().await?;
    let (count, state) = store.count().await?;
    compare_listings(&dataset, &before, &after, &mut differences);

    let summary = Summary {
        traces: found.values().filter(|trace| trace.spans + trace.logs > 0).count() as u64,
        spans: found.values().map(|trace| trace.spans).sum(),
        logs: found.values().map(|trace| trace.logs).sum(),
        missing: differences.missing,
        extra: differences.extra,
        duplicated: differences.duplicated,
        requests,
        resent: sent - requests,
        state: state.to_owned(),
    };
    for example in &differences.examples {
        note(example);
    }
    result(&serde_json::to_string(&summary)?);
    ensure!(differences.is_none(), "what came out differs from what was sent");
    let was_empty = before.ids.is_empty();
    ensure!(
        !was_empty || count == after.ids.len() as u64,
        "the store counts {count} correlations and lists {}",
        after.ids.len()
    );
    Ok(())
}

fn introduce(dataset: &Dataset, before: &Listing) {
    let traces = dataset.expectation.traces();
    let spans: usize = traces.values().map(ExpectedTrace::span_count).sum();
    let logs: u64 = traces.values().map(ExpectedTrace::log_count).sum();
    let requests = dataset.requests.len();
    note(&format!("{requests} requests with {} traces, {spans} spans and {logs} logs", traces.len()));
    if dataset.expectation.without_trace() > 0 {
        let without = dataset.expectation.without_trace();
        note(&format!("{without} more belong to no trace: they are sent and not looked for"));
    }
    if dataset.stated.is_none() {
        note("there is no expected.json: only what was sent says what must come out");
    }
    let known = traces.keys().filter(|trace_id| before.ids.contains(*trace_id)).count();
    if known > 0 {
        note(&format!("the store holds {known} of the traces already; what is sent again adds nothing"));
    }
}

async fn send(
    dataset: &Dataset,
    sender: &Sender,
    sendings: Vec<plan::Sending>,
    concurrency: usize,
) -> anyhow::Result<()> {
    let answers =
        stream::iter(sendings).map(|sending| sender.send(&dataset.requests[sending.request], sending));
    answers
        .buffer_unordered(concurrency)
        .try_for_each(async |answer| {
            if answer.rejected > 0 {
                note(&format!("{} were refused: {}", answer.rejected, answer.message));
            }
            Ok(())
        })
        .await?;
    if sender.retries() > 0 {
        note(&format!("{} attempts had to be repeated", sender.retries()));
    }
    Ok(())
}

/// What one trace was found to consist of, by the measure of `expected.json` and in all.
#[derive(Debug, Default)]
struct FoundTrace {
    spans: u64,
    logs: u64,
    distinct: Option<StatedTrace>,
}

/// Reads every trace and compares its content.
async fn read_back(
    dataset: &Dataset,
    store: &Store,
    concurrency: usize,
    differences: &mut Differences,
) -> anyhow::Result<BTreeMap<String, FoundTrace>> {
    let traces = dataset.expectation.traces();
    let every = traces.len().div_ceil(JSON_SAMPLE).max(1);
    let read = stream::iter(traces.iter().enumerate()).map(async |(index, (trace_id, expected))| {
        let with_json = store.has_gateway() && index.is_multiple_of(every);
        let (found, differences) = read_trace(store, trace_id, expected, with_json).await?;
        anyhow::Ok((trace_id.clone(), found, differences))
    });
    let mut found = BTreeMap::new();
    let mut read = std::pin::pin!(read.buffered(concurrency));
    while let Some((trace_id, trace, of_trace)) = read.try_next().await? {
        found.insert(trace_id, trace);
        differences.merge(of_trace);
    }
    Ok(found)
}

async fn read_trace(
    store: &Store,
    trace_id: &str,
    expected: &ExpectedTrace,
    with_json: bool,
) -> anyhow::Result<(FoundTrace, Differences)> {
    let Some(Correlation { summary, traces, logs }) = store.get(trace_id).await? else {
        let nothing = expected.compare(trace_id, &TracesData::default(), &LogsData::default());
        return Ok((FoundTrace::default(), nothing));
    };
    let found = measure(&traces, &logs);
    let mut differences = expected.compare(trace_id, &traces, &logs);
    for (what, counted, found) in [("spans", summary.spans, found.spans), ("logs", summary.logs, found.logs)]
    {
        let example = || format!("trace {trace_id}: the summary counts {counted} {what}, there are {found}");
        match counted.cmp(&found) {
            Ordering::Greater => differences.missing(counted - found, example),
            Ordering::Less => differences.extra(found - counted, example),
            Ordering::Equal => {}
        }
    }
    if with_json {
        let (traces, logs) = store.get_json(trace_id).await?.unwrap_or_default();
        differences = larger(differences, expected.compare(trace_id, &traces, &logs));
    }
    Ok((found, differences))
}

fn measure(traces: &TracesData, logs: &LogsData) -> FoundTrace {
    let spans: Vec<_> = content::spans(traces).map(|span| span.identity.span_id).collect();
    let logs: Vec<_> = content::logs(logs).map(|log| log.mark).collect();
    FoundTrace {
        spans: spans.len() as u64,
        logs: logs.len() as u64,
        distinct: Some(StatedTrace {
            spans: BTreeSet::from_iter(spans).len(),
            logs: BTreeSet::from_iter(logs).len(),
        }),
    }
}

/// Compares the distinct spans and logs of every trace with `expected.json`.
fn compare_stated(
    stated: &BTreeMap<String, StatedTrace>,
    found: &BTreeMap<String, FoundTrace>,
) -> Differences {
    let mut differences = Differences::default();
    for (trace_id, stated) in stated {
        let none = StatedTrace { spans: 0, logs: 0 };
        let distinct = found.get(trace_id).and_then(|trace| trace.distinct).unwrap_or(none);
        for (what, stated, found) in
            [("spans", stated.spans, distinct.spans), ("logs", stated.logs, distinct.logs)]
        {
            let example =
                || format!("trace {trace_id}: expected.json has {stated} {what}, the store {found}");
            if found < stated {
                differences.missing((stated - found) as u64, example);
            } else if found > stated {
                differences.extra((found - stated) as u64, example);
            }
        }
    }
    for trace_id in found.keys().filter(|trace_id| !stated.contains_key(*trace_id)) {
        differences.extra(1, || format!("trace {trace_id} is not in expected.json"));
    }
    differences
}

/// Every trace must be listed, and nothing that was neither there before nor sent.
fn compare_listings(dataset: &Dataset, before: &Listing, after: &Listing, differences: &mut Differences) {
    let sent = dataset.expectation.traces();
    for trace_id in sent.keys().filter(|trace_id| !after.ids.contains(*trace_id)) {
        differences.missing(1, || format!("trace {trace_id} is not listed"));
    }
    // Logs without a trace may become correlations by their keys, which the data set cannot tell.
    let is_unknown = |id: &&String| !sent.contains_key(*id) && !before.ids.contains(*id);
    if dataset.expectation.without_trace() == 0 {
        for id in after.ids.iter().filter(is_unknown) {
            differences.extra(1, || format!("the correlation {id} was never sent"));
        }
    }
    if after.repeated > 0 {
        differences.duplicated(after.repeated, || "the list repeats correlations".to_owned());
    }
}

/// The worse of two comparisons of the same things: each looks at what the other may overlook.
fn larger(one: Differences, other: Differences) -> Differences {
    let numbers =
        (one.missing.max(other.missing), one.extra.max(other.extra), one.duplicated.max(other.duplicated));
    let mut both = one;
    both.merge(other);
    let (missing, extra, duplicated) = numbers;
    Differences { missing, extra, duplicated, examples: both.examples }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(spans: usize, logs: usize) -> FoundTrace {
        let distinct = Some(StatedTrace { spans, logs });
        FoundTrace { spans: spans as u64, logs: logs as u64, distinct }
    }

    fn compare(found: FoundTrace) -> (u64, u64) {
        let stated = BTreeMap::from([("a".to_owned(), StatedTrace { spans: 2, logs: 1 })]);
        let differences = compare_stated(&stated, &BTreeMap::from([("a".to_owned(), found)]));
        (differences.missing, differences.extra)
    }

    #[test]
    fn numbers_other_than_those_of_expected_json_are_found() {
        assert_eq!(compare(trace(2, 1)), (0, 0));
        assert_eq!(compare(trace(1, 1)), (1, 0));
        assert_eq!(compare(trace(2, 3)), (0, 2));
        assert_eq!(compare(FoundTrace::default()), (3, 0));
    }

    #[test]
    fn a_trace_that_expected_json_does_not_know_is_found() {
        let differences = compare_stated(&BTreeMap::new(), &BTreeMap::from([("a".to_owned(), trace(1, 0))]));
        assert_eq!(differences.extra, 1);
    }

    #[test]
    fn of_two_comparisons_the_worse_counts() {
        let (mut one, mut other) = (Differences::default(), Differences::default());
        one.missing(2, String::new);
        other.missing(1, String::new);
        other.extra(3, String::new);
        let both = larger(one, other);
        assert_eq!((both.missing, both.extra, both.duplicated), (2, 3, 0));
    }

    #[test]
    fn the_summary_has_the_documented_form() {
        let summary = Summary { traces: 306, state: "redis-cluster".to_owned(), ..Summary::default() };
        assert_eq!(
            serde_json::to_string(&summary).unwrap(),
            r#"{"traces":306,"spans":0,"logs":0,"missing":0,"extra":0,"duplicated":0,"requests":0,"resent":0,"state":"redis-cluster"}"#
        );
    }
}
