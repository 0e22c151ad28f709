//! Recorded telemetry in a directory: `traces-*.jsonl.gz` and `logs-*.jsonl.gz`, one OTLP/JSON
//! export request a line, and `expected.json` with what must come out.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{BufRead as _, BufReader, ErrorKind},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use serde::Deserialize;

use crate::{
    expectation::Expectation,
    otlp_json,
    request::{Request, Signal},
};

/// All requests of a directory and what must come out of them.
#[derive(Debug)]
pub struct Dataset {
    /// In the order of files and lines.
    pub requests: Vec<Request>,
    /// Computed from the requests.
    pub expectation: Expectation,
    /// `expected.json`, which someone else computed; `None` when there is no such file.
    pub stated: Option<BTreeMap<String, StatedTrace>>,
}

/// What `expected.json` says of one trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatedTrace {
    /// Distinct span ids.
    pub spans: usize,
    /// Distinct logs by time, span id and body.
    pub logs: usize,
}

impl Dataset {
    /// Reads a directory.
    ///
    /// # Errors
    /// When it holds no such file, or a line of one is not a request; the line is named.
    pub fn read(directory: &Path) -> anyhow::Result<Self> {
        let mut dataset = Self {
            requests: Vec::new(),
            expectation: Expectation::default(),
            stated: read_stated(&directory.join("expected.json"))?,
        };
        for file in files(directory)? {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            let signal = if name.starts_with("traces-") { Signal::Traces } else { Signal::Logs };
            let reader = File::open(&file).with_context(|| format!("failed to open {}", file.display()))?;
            for (index, line) in BufReader::new(MultiGzDecoder::new(reader)).lines().enumerate() {
                line.map_err(anyhow::Error::from)
                    .and_then(|line| dataset.add(signal, line))
                    .with_context(|| format!("failed to read line {} of {}", index + 1, file.display()))?;
            }
        }
        ensure!(
            !dataset.requests.is_empty(),
            "{} holds no traces-*.jsonl.gz and no logs-*.jsonl.gz",
            directory.display()
        );
        Ok(dataset)
    }

    fn add(&mut self, signal: Signal, line: String) -> anyhow::Result<()> {
        if line.trim().is_empty() {
            return Ok(());
        }
        let json = serde_json::from_str(&line)?;
        match signal {
            Signal::Traces => self.expectation.add_traces(&otlp_json::traces(&json)?),
            Signal::Logs => self.expectation.add_logs(&otlp_json::logs(&json)?),
        }
        self.requests.push(Request::from_json(signal, Bytes::from(line))?);
        Ok(())
    }
}

/// The files of a data set by name.
fn files(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let list = || {
        let mut files = Vec::new();
        for file in fs::read_dir(directory)? {
            let path = file?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let is_telemetry = name.starts_with("traces-") || name.starts_with("logs-");
            if is_telemetry && name.ends_with(".jsonl.gz") {
                files.push(path);
            }
        }
        files.sort();
        std::io::Result::Ok(files)
    };
    list().with_context(|| format!("failed to list {}", directory.display()))
}

fn read_stated(file: &Path) -> anyhow::Result<Option<BTreeMap<String, StatedTrace>>> {
    let text = match fs::read(file) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("failed to read {}", file.display())),
    };
    serde_json::from_slice(&text)
        .map(Some)
        .with_context(|| format!("failed to understand {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::gzip;

    const TRACES: &str = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174","name":"a"}]}]}]}"#;
    const LOGS: &str = r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"traceId":"5b8efff798038103d269b633813fc60c","body":{"stringValue":"b"}}]}]}]}"#;

    #[test]
    fn every_line_of_every_file_is_a_request() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            fs::write(directory.path().join(name), gzip(text.as_bytes()).unwrap()).unwrap();
        };
        write("traces-1.jsonl.gz", &format!("{TRACES}\n{TRACES}\n"));
        write("logs-1.jsonl.gz", LOGS);
        write("other-1.jsonl.gz", "not a request");
        let stated = r#"{"5b8efff798038103d269b633813fc60c":{"spans":1,"logs":1}}"#;
        fs::write(directory.path().join("expected.json"), stated).unwrap();

        let dataset = Dataset::read(directory.path()).unwrap();
        assert_eq!(dataset.requests.len(), 3);
        assert_eq!(dataset.requests[0].signal, Signal::Logs);
        assert_eq!(dataset.requests[1].json().unwrap(), TRACES);
        let trace = &dataset.expectation.traces()["5b8efff798038103d269b633813fc60c"];
        assert_eq!((trace.span_count(), trace.log_count()), (1, 1));
        assert_eq!(dataset.stated.unwrap().len(), 1);
    }

    #[test]
    fn a_line_that_is_no_request_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let text = format!("{TRACES}\nnonsense\n");
        fs::write(directory.path().join("traces-1.jsonl.gz"), gzip(text.as_bytes()).unwrap()).unwrap();
        let error = format!("{:#}", Dataset::read(directory.path()).unwrap_err());
        assert!(error.contains("line 2 of") && error.contains("traces-1.jsonl.gz"), "{error}");
    }

    #[test]
    fn a_directory_without_telemetry_is_an_error() {
        assert!(Dataset::read(tempfile::tempdir().unwrap().path()).is_err());
    }
}
