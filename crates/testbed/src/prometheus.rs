//! One Prometheus that scrapes processes of a test, and what it is asked.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    io::ErrorKind,
    net::SocketAddr,
    path::PathBuf,
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, anyhow, ensure};
use serde::{Deserialize, de::DeserializeOwned};

use crate::{
    directory::Directory,
    ports::{self, Port},
    process::Process,
    service,
    wait::Look,
};

/// Generous for a machine that compiles beside the test.
const READY_DEADLINE: Duration = Duration::from_secs(30);

/// How it is started.
#[derive(Debug, Clone)]
pub struct PrometheusOptions {
    /// Where data and log go; a temporary directory when `None`.
    pub directory: Option<PathBuf>,
    /// How often it scrapes and evaluates rules.
    pub interval: Duration,
    /// How long a value counts that was not scraped again. Default of Prometheus: five minutes.
    pub lookback: Duration,
    /// Files with rules.
    pub rules: Vec<PathBuf>,
    /// What it scrapes, by the name of the job.
    pub jobs: Vec<(String, Vec<SocketAddr>)>,
}

/// A running Prometheus, killed when dropped.
#[derive(Debug)]
pub struct Prometheus {
    // Dropped in this order: the process ends before its directory goes.
    process: Process,
    port: Port,
    _directory: Directory,
}

/// One value of an answer, with its labels.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The name of the metric is `__name__`.
    pub labels: BTreeMap<String, String>,
    /// May be NaN.
    pub value: f64,
}

/// What the HTTP API answers; see <https://prometheus.io/docs/prometheus/2.42/querying/api/>.
#[derive(Deserialize)]
struct Answer<T> {
    data: Option<T>,
    error: Option<String>,
}

#[derive(Deserialize)]
struct QueryData {
    result: Vec<Series>,
}

#[derive(Deserialize)]
struct Series {
    metric: BTreeMap<String, String>,
    /// Time and value.
    value: (f64, String),
}

#[derive(Deserialize)]
struct AlertsData {
    alerts: Vec<Alert>,
}

#[derive(Deserialize)]
struct Alert {
    labels: BTreeMap<String, String>,
    state: String,
}

#[derive(Deserialize)]
struct RulesData {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
struct Rule {
    name: String,
    health: String,
    #[serde(rename = "lastError")]
    last_error: Option<String>,
    #[serde(rename = "type")]
    kind: String,
}

impl Prometheus {
    /// Starts it on a free port and waits until it answers.
    ///
    /// # Errors
    /// When `prometheus` is missing, does not take the rules, or does not answer within 30 s; the end of its
    /// log is quoted.
    pub async fn start(options: &PrometheusOptions) -> anyhow::Result<Self> {
        ports::retry_when_taken(async || Self::attempt(options).await).await
    }

    async fn attempt(options: &PrometheusOptions) -> anyhow::Result<Self> {
        let directory = Directory::create(options.directory.as_deref())?;
        let home = directory.path();
        let configuration = home.join("prometheus.yml");
        fs::write(&configuration, options.configuration())
            .with_context(|| format!("failed to write {}", configuration.display()))?;
        let port = Port::free()?;
        let mut command = Command::new("prometheus");
        command
            .current_dir(home)
            .arg(format!("--config.file={}", configuration.display()))
            .arg(format!("--storage.tsdb.path={}", home.join("prometheus").display()))
            .arg(format!("--web.listen-address={}", port.address()))
            .arg(format!("--query.lookback-delta={}ms", options.lookback.as_millis()));
        let process = Process::start("prometheus", command, &home.join("prometheus.log"));
        let process = process.map_err(explain_missing_program)?;
        let ready = format!("http://{}/-/ready", port.address());
        let look = async || match service::get(&ready).await {
            Ok((200, _)) => Look::Reached,
            Ok((status, said)) => Look::NotYet(format!("{status}: {}", said.trim())),
            Err(error) => Look::NotYet(format!("{error:#}")),
        };
        process.wait_until("ready", READY_DEADLINE, look).await?;
        Ok(Self { process, port, _directory: directory })
    }

    /// The process: log.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// What an expression that answers a vector is now.
    ///
    /// # Errors
    /// When it does not answer within 5 s, or not with a vector; quotes what it says.
    pub async fn query(&self, expression: &str) -> anyhow::Result<Vec<Sample>> {
        let data: QueryData = self.get("query", &[("query", expression)]).await?;
        let sample = |Series { metric, value: (_, value) }: Series| {
            Ok(Sample { labels: metric, value: value.parse().context("a value is no number")? })
        };
        data.result.into_iter().map(sample).collect()
    }

    /// Names of the alerts that fire now.
    ///
    /// # Errors
    /// When it does not answer within 5 s.
    pub async fn firing(&self) -> anyhow::Result<BTreeSet<String>> {
        let data: AlertsData = self.get("alerts", &[]).await?;
        let firing = data.alerts.into_iter().filter(|alert| alert.state == "firing");
        Ok(firing.filter_map(|mut alert| alert.labels.remove("alertname")).collect())
    }

    /// Names of all alerts that there are rules for.
    ///
    /// # Errors
    /// When it does not answer within 5 s, or cannot evaluate a rule.
    pub async fn alerts(&self) -> anyhow::Result<BTreeSet<String>> {
        let data: RulesData = self.get("rules", &[]).await?;
        let mut alerts = BTreeSet::new();
        for Rule { name, health, last_error, kind } in data.groups.into_iter().flat_map(|group| group.rules) {
            ensure!(health != "err", "rule {name} cannot be evaluated: {}", last_error.unwrap_or_default());
            if kind == "alerting" {
                alerts.insert(name);
            }
        }
        Ok(alerts)
    }

    async fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> anyhow::Result<T> {
        let url = format!("http://{}/api/v1/{path}", self.port.address());
        let url = reqwest::Url::parse_with_params(&url, query).context("failed to write a URL")?;
        let (status, text) = service::get(url.as_str()).await?;
        let answer: Answer<T> = serde_json::from_str(&text)
            .with_context(|| format!("failed to understand the answer {status} of Prometheus: {text}"))?;
        answer
            .data
            .with_context(|| format!("Prometheus answers {status}: {}", answer.error.unwrap_or_default()))
    }
}

impl PrometheusOptions {
    fn configuration(&self) -> String {
        let quoted = |path: &PathBuf| format!("{:?}", path.display().to_string());
        let rules: Vec<String> = self.rules.iter().map(quoted).collect();
        let milliseconds = self.interval.as_millis();
        let mut text = format!(
            "global: {{ scrape_interval: {milliseconds}ms, scrape_timeout: {milliseconds}ms, \
             evaluation_interval: {milliseconds}ms }}\nrule_files: [{}]\nscrape_configs:\n",
            rules.join(", ")
        );
        for (job, addresses) in &self.jobs {
            let targets: Vec<String> = addresses.iter().map(|address| format!("\"{address}\"")).collect();
            writeln!(
                text,
                "  - {{ job_name: {job}, static_configs: [{{ targets: [{}] }}] }}",
                targets.join(", ")
            )
            .expect("a string takes any text");
        }
        text
    }
}

fn explain_missing_program(error: anyhow::Error) -> anyhow::Error {
    let is_missing =
        error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == ErrorKind::NotFound);
    if is_missing {
        anyhow!("prometheus is not installed; install it with: sh deploy/setup.sh")
    } else {
        error
    }
}
