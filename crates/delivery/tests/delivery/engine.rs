//! Engines that deliver, and what is waited for.

use std::{fmt::Write as _, time::Duration};

use tempfile::TempDir;
use testbed::{
    EngineOptions, EngineProcess, RedisServer, Settings, State, certificates::write, redis::Options,
};

use crate::endpoint::Endpoint;

/// Short: others may deliver an event after three times this.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(2);
/// For everything that is waited for here, on a machine that compiles beside the test.
const DEADLINE: Duration = Duration::from_secs(60);

/// The file of endpoints.
pub(crate) struct Endpoints {
    directory: TempDir,
    timeout: Duration,
    text: String,
}

impl Endpoints {
    pub(crate) fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), timeout: TIMEOUT, text: String::new() }
    }

    /// With requests that may take a minute.
    pub(crate) fn patient() -> Self {
        Self { timeout: Duration::from_secs(60), ..Self::new() }
    }

    /// Adds one, with further lines.
    pub(crate) fn with(mut self, name: &str, endpoint: &Endpoint, lines: &str) -> Self {
        let (url, timeout_ms) = (endpoint.url(), self.timeout.as_millis());
        let entry =
            format!("[[endpoint]]\nname = '{name}'\nurl = '{url}'\ntimeout_ms = {timeout_ms}\n{lines}\n");
        self.text.write_str(&entry).unwrap();
        self
    }

    pub(crate) fn file(&self) -> String {
        write(self.directory.path(), "endpoints.toml", &self.text).unwrap()
    }

    /// Starts an engine that delivers to them, and closes soon.
    pub(crate) async fn engine(&self, state: State) -> EngineProcess {
        self.engine_with(state, &[]).await
    }

    pub(crate) async fn engine_with(&self, state: State, further: &[(&str, &str)]) -> EngineProcess {
        let file = self.file();
        let own = [
            ("delivery.endpoints", file.as_str()),
            ("correlation.grace_ms", "100"),
            ("correlation.window_seconds", "1"),
        ];
        let settings = own.iter().chain(further).map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let settings: Settings = settings.collect();
        EngineProcess::start(EngineOptions { state, settings, ..EngineOptions::default() }).await.unwrap()
    }
}

pub(crate) async fn redis() -> RedisServer {
    RedisServer::start(Options::default()).await.unwrap()
}

pub(crate) fn of(redis: &RedisServer) -> State {
    State::Redis(redis.url())
}

pub(crate) async fn until(state: &str, is_reached: impl Fn() -> bool) {
    testbed::eventually(state, DEADLINE, async || is_reached()).await.unwrap();
}

/// Waits for a line of an engine's metrics.
pub(crate) async fn until_metric(engine: &EngineProcess, line: &str) {
    testbed::eventually(line, DEADLINE, async || {
        let (_, text) = engine.admin_get("/metrics").await.unwrap();
        text.lines().any(|found| found == line)
    })
    .await
    .unwrap();
}
