//! Runs a local cluster in the background: Redis, engines and gateways.

mod down;
mod logs;
mod output;
mod status;
mod up;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

/// Runs a local cluster in the background: Redis, engines and gateways.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Directory of the cluster: data, logs and its description `cluster.json`
    #[arg(long, global = true, default_value = ".cluster")]
    dir: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a cluster and wait until it is ready
    Up(up::Arguments),
    /// End the cluster and remove its data
    Down,
    /// Show every process of the cluster; fails unless all are ready
    Status,
    /// Print the logs of the cluster
    Logs(logs::Arguments),
}

#[tokio::main]
async fn main() -> ExitCode {
    let Arguments { dir, command } = Arguments::parse();
    let result = match command {
        Command::Up(arguments) => up::run(&dir, &arguments).await,
        Command::Down => down::run(&dir).await,
        Command::Status => status::run(&dir).await,
        Command::Logs(arguments) => logs::run(&dir, &arguments).await,
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::complain(&error);
            ExitCode::FAILURE
        }
    }
}
