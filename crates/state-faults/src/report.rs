//! What all trials have shown: a table for people, one line of JSON for programs.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use serde::Serialize;
use testbed::redis::Fault;

use crate::{
    check::Totals,
    trial::{Finding, Recovery},
};

/// All trials of one fault on one deployment.
#[derive(Debug)]
pub(crate) struct Tried {
    pub(crate) deployment: String,
    pub(crate) fault: Fault,
    pub(crate) findings: Vec<Finding>,
    /// Trials that could not be carried out, and what the others found wrong.
    pub(crate) failures: Vec<String>,
}

/// Medians over the trials, in seconds; the healthy shards in milliseconds, over all trials.
#[derive(Debug, Serialize)]
struct Figures {
    one_trace: f64,
    hundred_traces: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    one_trace_from_healing: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hundred_traces_from_healing: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    healthy_ms_median: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    healthy_ms_max: Option<f64>,
}

#[derive(Debug, Serialize)]
struct Line<'a> {
    faults: usize,
    trials: usize,
    #[serde(flatten)]
    totals: Totals,
    recovery_s: BTreeMap<&'static str, BTreeMap<&'a str, Figures>>,
    failed: Vec<String>,
}

impl Tried {
    fn figures(&self) -> Figures {
        let seconds = |of: &dyn Fn(&Finding) -> Duration| {
            rounded(median(self.findings.iter().map(|finding| of(finding).as_secs_f64()).collect()))
        };
        let from_healing = |size: usize| {
            let all = self.findings.iter().map(|finding| finding.recovery[size].from_healing);
            let all: Option<Vec<f64>> = all.map(|time| time.map(|time| time.as_secs_f64())).collect();
            all.filter(|all| !all.is_empty()).map(median).map(rounded)
        };
        let healthy = self.findings.iter().filter_map(|finding| finding.healthy);
        let healthy: Vec<f64> = healthy.map(|time| time.as_secs_f64() * 1_000.0).collect();
        let has_healthy = !healthy.is_empty();
        Figures {
            one_trace: seconds(&|finding| fault_time(&finding.recovery[0])),
            hundred_traces: seconds(&|finding| fault_time(&finding.recovery[1])),
            one_trace_from_healing: from_healing(0),
            hundred_traces_from_healing: from_healing(1),
            healthy_ms_median: has_healthy.then(|| rounded(median(healthy.clone()))),
            healthy_ms_max: healthy.iter().copied().reduce(f64::max).map(rounded),
        }
    }

    /// One row of the table.
    pub(crate) fn row(&self) -> String {
        if self.findings.is_empty() {
            return format!(
                "| {} | {} | failed | – | – | – | – | – | – |",
                self.deployment,
                self.fault.name()
            );
        }
        let figures = self.figures();
        let optional = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| value.to_string());
        let mut totals = Totals::default();
        self.findings.iter().for_each(|finding| totals.add(&finding.totals));
        format!(
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            self.deployment,
            self.fault.name(),
            figures.one_trace,
            figures.hundred_traces,
            optional(figures.one_trace_from_healing),
            optional(figures.hundred_traces_from_healing),
            optional(figures.healthy_ms_median),
            totals.acked,
            totals.lost + totals.duplicated + totals.events_doubled,
        )
    }
}

fn fault_time(recovery: &Recovery) -> Duration {
    recovery.from_fault
}

/// Heading of the rows.
const HEADING: &str = "\
| deployment | fault | 1 trace, s | 100 traces, s | 1 trace from healing, s | 100 traces from healing, s \
| healthy shards, ms | acknowledged | lost or doubled |
|---|---|---:|---:|---:|---:|---:|---:|---:|
";

pub(crate) fn table(tried: &[Tried]) -> String {
    let mut table = HEADING.to_owned();
    for tried in tried {
        let _ = writeln!(table, "{}", tried.row());
    }
    table
}

/// The line of JSON, and whether all is well.
pub(crate) fn line(tried: &[Tried]) -> anyhow::Result<(String, bool)> {
    let mut totals = Totals::default();
    let mut recovery_s = BTreeMap::<_, BTreeMap<_, _>>::new();
    let mut failed = Vec::new();
    for one in tried {
        one.findings.iter().for_each(|finding| totals.add(&finding.totals));
        let figures = recovery_s.entry(one.fault.name()).or_default();
        if !one.findings.is_empty() {
            figures.insert(one.deployment.as_str(), one.figures());
        }
        let name = one.fault.name();
        failed.extend(one.failures.iter().map(|failure| format!("{} {name}: {failure}", one.deployment)));
    }
    let is_well = failed.is_empty() && totals.wrong() == 0;
    let trials = tried.iter().map(|one| one.findings.len()).sum();
    let line = Line { faults: recovery_s.len(), trials, totals, recovery_s, failed };
    Ok((serde_json::to_string(&line)?, is_well))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}
