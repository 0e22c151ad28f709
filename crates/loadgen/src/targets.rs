//! Which engines and gateways to talk to.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, ensure};
use clap::Args;
use serde::Deserialize;

use crate::plan::Doors;

/// Where to send to and read from.
#[derive(Debug, Clone, Args)]
pub struct TargetArguments {
    /// Description of a running local cluster, as `just up` writes it; not read when an engine or
    /// gateway is named
    #[arg(long, value_name = "FILE", default_value = ".cluster/cluster.json")]
    pub cluster: PathBuf,
    /// Engine for OTLP/gRPC and queries, `http://host:4317`; may be repeated
    #[arg(long = "engine", value_name = "URL")]
    pub engines: Vec<String>,
    /// Gateway for OTLP/HTTP, `http://host:4318`; may be repeated
    #[arg(long = "gateway", value_name = "URL")]
    pub gateways: Vec<String>,
}

/// URLs of everything that can be talked to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Targets {
    /// At least one: only an engine answers queries over gRPC.
    pub engines: Vec<String>,
    /// May be empty.
    pub gateways: Vec<String>,
}

/// The part of `cluster.json` that is of interest here.
#[derive(Deserialize)]
struct Description {
    engines: Vec<DescribedEngine>,
    gateways: Vec<DescribedGateway>,
}

#[derive(Deserialize)]
struct DescribedEngine {
    grpc: String,
}

#[derive(Deserialize)]
struct DescribedGateway {
    http: String,
}

impl TargetArguments {
    /// The targets named, or else those of the described cluster.
    ///
    /// # Errors
    /// When there is no engine among them, or the description cannot be read.
    pub fn resolve(&self) -> anyhow::Result<Targets> {
        let named = !self.engines.is_empty() || !self.gateways.is_empty();
        let targets = if named {
            let trimmed =
                |urls: &[String]| urls.iter().map(|url| url.trim_end_matches('/').to_owned()).collect();
            Targets { engines: trimmed(&self.engines), gateways: trimmed(&self.gateways) }
        } else {
            described(&self.cluster).context("neither an --engine nor a --gateway is named")?
        };
        ensure!(!targets.engines.is_empty(), "no engine is named; add --engine http://host:4317");
        Ok(targets)
    }
}

impl Targets {
    /// How many doors they offer.
    #[must_use]
    pub fn doors(&self) -> Doors {
        Doors { engines: self.engines.len(), gateways: self.gateways.len() }
    }
}

/// The engines and gateways of a described cluster.
///
/// # Errors
/// When the description cannot be read.
pub(crate) fn described(cluster: &Path) -> anyhow::Result<Targets> {
    let file = cluster.display();
    let text =
        fs::read(cluster).with_context(|| format!("failed to read {file}; start a cluster with: just up"))?;
    let description: Description =
        serde_json::from_slice(&text).with_context(|| format!("failed to understand {file}"))?;
    let url = |address: String| format!("http://{address}");
    Ok(Targets {
        engines: description.engines.into_iter().map(|engine| url(engine.grpc)).collect(),
        gateways: description.gateways.into_iter().map(|gateway| url(gateway.http)).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(cluster: &str, engines: &[&str]) -> TargetArguments {
        TargetArguments {
            cluster: cluster.into(),
            engines: engines.iter().map(|url| (*url).to_owned()).collect(),
            gateways: Vec::new(),
        }
    }

    #[test]
    fn named_targets_win_over_the_described_cluster() {
        let targets = arguments("/nowhere", &["http://a:1/"]).resolve().unwrap();
        assert_eq!(targets.engines, ["http://a:1"]);
    }

    #[test]
    fn the_described_cluster_is_used_when_nothing_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("cluster.json");
        let description = r#"{"state":"memory","redis":[],"engines":[{"grpc":"127.0.0.1:4317","admin":"127.0.0.1:9464","pid":2}],
            "gateways":[{"http":"127.0.0.1:4318","admin":"127.0.0.1:9465","pid":3}]}"#;
        fs::write(&file, description).unwrap();
        let targets = arguments(file.to_str().unwrap(), &[]).resolve().unwrap();
        assert_eq!(targets.engines, ["http://127.0.0.1:4317"]);
        assert_eq!(targets.gateways, ["http://127.0.0.1:4318"]);
    }

    #[test]
    fn a_missing_description_says_how_to_get_one() {
        let error = format!("{:#}", arguments("/nowhere", &[]).resolve().unwrap_err());
        assert!(error.contains("/nowhere") && error.contains("just up"), "{error}");
    }
}
