//! Tries every fault of Redis on real servers under load, and measures how long recovery takes.

mod check;
mod deployment;
mod ledger;
mod load;
mod report;
mod trial;

use std::{
    io::{self, Write as _},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use clap::Parser;
use testbed::redis::{Fault, Layout};

use crate::{
    deployment::{Deployment, Server},
    report::Tried,
};

/// Longest time of one trial; the longest fault takes a minute, and recovery may take as long.
const TRIAL_DEADLINE: Duration = Duration::from_secs(300);

/// Tries every fault of Redis on real servers under load, and measures how long recovery takes.
///
/// Starts clusters of its own on free loopback ports; they end with it. Prints a markdown table and
/// then one line of JSON, and ends with 1 if anything was lost, doubled, invented, told twice or
/// answered as if it were no use to repeat.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Tries the faults with this in their name only; may be given several times.
    #[arg(long)]
    only: Vec<String>,
    /// Trials of each fault, of whose times the median is shown.
    #[arg(long, default_value_t = 5)]
    repeat: usize,
    /// Layout of the cluster; both if not given.
    #[arg(long, value_enum)]
    topology: Vec<Layout>,
    /// What the servers run; both if not given.
    #[arg(long, value_enum)]
    server: Vec<Server>,
    /// One trial of each fault on Redis with 3+3 nodes, and all of Redis away for 10 s instead of 60.
    #[arg(long)]
    quick: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            note(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<bool> {
    let faults = arguments.faults()?;
    let all_away = Duration::from_secs(if arguments.quick { 10 } else { 60 });
    let repeat = if arguments.quick { 1 } else { arguments.repeat };
    let mut tried = Vec::new();
    for (server, layout) in arguments.deployments() {
        let name = format!("{} {}", server.name(), layout.name());
        let mut deployment = Deployment::start(server, layout).await?;
        for fault in faults.iter().copied() {
            let mut one =
                Tried { deployment: name.clone(), fault, findings: Vec::new(), failures: Vec::new() };
            for trial in 0..repeat {
                let prefix = format!("{}:{trial}:", fault.name());
                let found = trial::run(fault, &deployment, &prefix, all_away);
                // Boxed: everything a trial does is one future.
                let found = tokio::time::timeout(TRIAL_DEADLINE, Box::pin(found)).await;
                match found.context("a trial did not end in time").flatten() {
                    Ok(finding) => {
                        one.failures.extend(finding.failures.iter().cloned());
                        one.findings.push(finding);
                    }
                    Err(error) => {
                        one.failures.push(format!("{error:#}"));
                        // What it left behind is nobody's measure.
                        deployment = Deployment::start(server, layout).await?;
                    }
                }
            }
            note(&one.row());
            one.failures.iter().for_each(|failure| note(&format!("  failed: {failure}")));
            tried.push(one);
        }
    }
    let (line, is_well) = report::line(&tried)?;
    let text = format!("{}\n{line}\n", report::table(&tried));
    io::stdout().write_all(text.as_bytes()).context("failed to print the figures")?;
    Ok(is_well)
}

impl Arguments {
    fn faults(&self) -> anyhow::Result<Vec<Fault>> {
        let is_wanted =
            |fault: &Fault| self.only.is_empty() || self.only.iter().any(|part| fault.name().contains(part));
        let faults: Vec<Fault> = Fault::ALL.into_iter().filter(is_wanted).collect();
        ensure!(!faults.is_empty(), "no fault has a name with {}", self.only.join(" or "));
        ensure!(self.repeat > 0, "--repeat must be at least 1");
        Ok(faults)
    }

    fn deployments(&self) -> Vec<(Server, Layout)> {
        let or_all = |given: &[Layout]| match given {
            [] if self.quick => vec![Layout::OneReplica],
            [] => vec![Layout::OneReplica, Layout::TwoReplicas],
            given => given.to_vec(),
        };
        let servers = match self.server.as_slice() {
            [] if self.quick => vec![Server::Redis],
            [] => vec![Server::Redis, Server::Valkey],
            given => given.to_vec(),
        };
        let layouts = or_all(&self.topology);
        servers.into_iter().flat_map(|server| layouts.iter().map(move |layout| (server, *layout))).collect()
    }
}

/// Tells what happens.
fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}
