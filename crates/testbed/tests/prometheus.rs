//! A real Prometheus: it scrapes, answers and tells of alerts.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{fs, path::Path, time::Duration};

use testbed::{EngineOptions, EngineProcess, Prometheus, PrometheusOptions, eventually};

const DEADLINE: Duration = Duration::from_secs(30);
const RULES: &str = "groups:
  - name: test
    rules:
      - { alert: Gone, expr: up == 0, for: 100ms }
";

fn options(home: &Path, rules: &str, engine: &EngineProcess) -> PrometheusOptions {
    let file = home.join("rules.yml");
    fs::write(&file, rules).unwrap();
    PrometheusOptions {
        directory: Some(home.to_owned()),
        interval: Duration::from_millis(100),
        lookback: Duration::from_secs(2),
        rules: vec![file],
        jobs: vec![("engine".to_owned(), vec![engine.admin()])],
    }
}

#[tokio::test]
async fn an_alert_fires_while_its_fault_lasts() {
    let home = tempfile::tempdir().unwrap();
    let engine = EngineProcess::start(EngineOptions::default()).await.unwrap();
    let prometheus = Prometheus::start(&options(home.path(), RULES, &engine)).await.unwrap();
    let is_up = async |value: f64| {
        let samples = prometheus.query("up{job=\"engine\"}").await.unwrap();
        samples.iter().any(|sample| sample.value == value)
    };
    eventually("the engine scraped", DEADLINE, async || is_up(1.0).await).await.unwrap();
    assert!(prometheus.firing().await.unwrap().is_empty());
    assert!(prometheus.alerts().await.unwrap().contains("Gone"));

    engine.process().kill().unwrap();
    let fires = async || prometheus.firing().await.unwrap().contains("Gone");
    eventually("the alert", DEADLINE, fires).await.unwrap();
    engine.restart().await.unwrap();
    let is_over = async || prometheus.firing().await.unwrap().is_empty();
    eventually("the end of the alert", DEADLINE, is_over).await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_asked_is_an_error_that_says_why() {
    let home = tempfile::tempdir().unwrap();
    let engine = EngineProcess::start(EngineOptions::default()).await.unwrap();
    let prometheus = Prometheus::start(&options(home.path(), RULES, &engine)).await.unwrap();
    let error = format!("{:#}", prometheus.query("rate(up)").await.unwrap_err());
    assert!(error.contains("range vector"), "{error}");

    let broken = options(home.path(), "groups: 7", &engine);
    let error = format!("{:#}", Prometheus::start(&broken).await.unwrap_err());
    assert!(error.contains("before it was ready") && error.contains("cannot unmarshal"), "{error}");
}
