//! What dashboards ask for, and the queries of the decision that the project began with; whether Prometheus
//! answers them.

use std::{fs, path::Path};

use anyhow::Context as _;
use serde::Deserialize;
use testbed::Prometheus;

/// The queries of ADR 5, "Redis State Externalization for Horizontal Scaling", as they stand there.
const OF_THE_DECISION: [&str; 4] = [
    "correlation_count{}",
    "histogram_quantile(0.95,\n    rate(state_manager_duration_seconds_bucket[5m])\n)",
    "rate(redis_connection_errors_total[5m])",
    "rate(correlation_operations_total[1m])",
];
/// The expressions of its alerts: they have an answer only while something is wrong.
const ALERTS_OF_THE_DECISION: [&str; 3] = [
    "redis_up == 0",
    "histogram_quantile(0.95, redis_duration_seconds) > 0.01",
    "rate(correlation_count[5m]) > 1000",
];

/// What has no answer here, because what it tells of does not happen: nobody needs a credential, no state in
/// memory is full, and one of two endpoints always takes something.
const WITHOUT_ANSWER: [&str; 3] = [
    "sum by (door, reason) (rate(door_denied_requests_total[5m]))",
    "rate(state_memory_refusals_total[5m])",
    "sum by (reason) (rate(delivery_left_events_total[5m]))",
];

/// A query and where it comes from.
#[derive(Debug)]
struct Question {
    from: String,
    expression: String,
}

#[derive(Deserialize)]
struct Dashboard {
    panels: Vec<Panel>,
}

#[derive(Deserialize)]
struct Panel {
    title: String,
    #[serde(default)]
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    expr: String,
}

/// Asks everything; answers how many questions there were, and what is different from what it should be.
///
/// # Errors
/// When a dashboard cannot be read.
pub(super) async fn ask(prometheus: &Prometheus, dashboards: &Path) -> anyhow::Result<(usize, Vec<String>)> {
    let (questions, mut differences) = (questions(dashboards)?, Vec::new());
    for Question { from, expression } in &questions {
        match prometheus.query(expression).await {
            Err(error) => differences.push(format!("{from}: {error:#}")),
            Ok(answer) => {
                let has_answer = !answer.is_empty();
                if has_answer == WITHOUT_ANSWER.contains(&expression.as_str()) {
                    let is = if has_answer { "an answer, and is listed as one without" } else { "no answer" };
                    differences.push(format!("{from}: has {is}: {expression}"));
                }
            }
        }
    }
    for expression in ALERTS_OF_THE_DECISION {
        if let Err(error) = prometheus.query(expression).await {
            differences.push(format!("ADR 5: {error:#}"));
        }
    }
    Ok((questions.len() + ALERTS_OF_THE_DECISION.len(), differences))
}

fn questions(dashboards: &Path) -> anyhow::Result<Vec<Question>> {
    let decision =
        |expression: &&str| Question { from: "ADR 5".to_owned(), expression: (*expression).to_owned() };
    let mut questions: Vec<_> = OF_THE_DECISION.iter().map(decision).collect();
    let files =
        fs::read_dir(dashboards).with_context(|| format!("failed to read {}", dashboards.display()))?;
    for file in files {
        let file = file?.path();
        let text = fs::read(&file).with_context(|| format!("failed to read {}", file.display()))?;
        let dashboard: Dashboard = serde_json::from_slice(&text)
            .with_context(|| format!("failed to understand {}", file.display()))?;
        let name = file.file_stem().unwrap_or_default().display().to_string();
        for Panel { title, targets } in dashboard.panels {
            let question =
                |target: Target| Question { from: format!("{name}, {title}"), expression: target.expr };
            questions.extend(targets.into_iter().map(question));
        }
    }
    Ok(questions)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEPLOY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy");

    #[test]
    fn every_alert_of_the_decision_is_one_of_the_rules_word_for_word() {
        let rules = fs::read_to_string(format!("{DEPLOY}/prometheus/rules/alerts.yml")).unwrap();
        for expression in ALERTS_OF_THE_DECISION {
            assert!(rules.contains(&format!("expr: {expression}\n")), "{expression}");
        }
    }

    #[test]
    fn dashboards_are_asked_and_none_has_a_variable() {
        let questions = questions(Path::new(&format!("{DEPLOY}/grafana/dashboards"))).unwrap();
        assert!(questions.len() > 50);
        for Question { from, expression } in questions {
            assert!(!expression.contains('$'), "{from}: {expression}");
        }
    }
}
