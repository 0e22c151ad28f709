//! What can be tried on its own.

use std::{fmt, path::Path};

use anyhow::Context as _;
use clap::ValueEnum;
use loadgen::output::note;

use crate::{alerts, capacity, deploy, report::Report, rollout};

/// The project.
pub(crate) const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// All of them, in the order in which they run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Stage {
    /// What is deployed, as far as it can be checked without a cluster
    Deploy,
    /// Every alert fires when its fault is made on a real cluster, and stops after
    Alerts,
    /// A load takes what `engine capacity` says of it
    Capacity,
    /// The rollout guide, step by step under load
    Rollout,
}

/// A stage while it runs: where it may write, and what it has shown.
#[derive(Debug)]
pub(crate) struct Run<'a> {
    pub(crate) stage: Stage,
    /// For data and logs; kept when the stage fails.
    pub(crate) home: &'a Path,
    pub(crate) report: &'a mut Report,
}

impl Stage {
    /// Those that are asked for in their order; all when none is.
    pub(crate) fn among(asked: &[Self]) -> impl Iterator<Item = Self> {
        let is_asked = |stage: &&Self| asked.is_empty() || asked.contains(stage);
        Self::value_variants().iter().filter(is_asked).copied()
    }

    /// Runs it and enters into the report what it has shown.
    pub(crate) async fn run(self, report: &mut Report) {
        note(&format!("{self} begins"));
        let failed_before = report.failed.len();
        let home = tempfile::Builder::new().prefix(&format!("operate-{self}-")).tempdir();
        let home = match home.context("failed to create a directory for data and logs") {
            Ok(home) => home,
            Err(error) => return report.fail(self, "start", &format!("{error:#}")),
        };
        let mut run = Run { stage: self, home: home.path(), report };
        let ran = match self {
            Self::Deploy => deploy::run(&mut run).await,
            Self::Alerts => alerts::run(&mut run).await,
            Self::Capacity => capacity::run(&mut run).await,
            Self::Rollout => rollout::run(&mut run).await,
        };
        if let Err(error) = ran {
            run.fail("run to its end", &format!("{error:#}"));
        }
        if report.failed.len() > failed_before {
            note(&format!("{self} failed; data and logs are kept in {}", home.keep().display()));
        } else {
            note(&format!("{self} passed"));
        }
    }
}

impl Run<'_> {
    /// Enters a step that did not come out as it should, and tells the difference.
    pub(crate) fn fail(&mut self, step: &str, difference: &str) {
        self.report.fail(self.stage, step, difference);
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value();
        formatter.write_str(value.as_ref().map_or("", |value| value.get_name()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_stages_run_unless_some_are_asked_for() {
        assert!(Stage::among(&[]).eq(Stage::value_variants().iter().copied()));
        assert!(Stage::among(&[Stage::Deploy, Stage::Deploy]).eq([Stage::Deploy]));
    }
}
