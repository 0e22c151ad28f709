//! Sends OTLP traffic to a cluster and checks what comes out.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use loadgen::{demo, load, output, replay, send};

/// Sends OTLP traffic to a cluster and checks what comes out.
///
/// Traffic goes through all doors: over gRPC to every engine, over HTTP as protobuf and as JSON to
/// every gateway, half of it compressed. What the receiver could not take for the moment is sent
/// again.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Replay(replay::Arguments),
    Send(send::Arguments),
    Load(load::Arguments),
    Demo(demo::DemoArguments),
    Show(demo::ShowArguments),
}

#[tokio::main]
async fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Replay(arguments) => replay::run(&arguments).await,
        Command::Send(arguments) => send::run(&arguments).await,
        Command::Load(arguments) => load::run(&arguments).await,
        Command::Demo(arguments) => demo::run(&arguments).await,
        Command::Show(arguments) => demo::show(&arguments).await,
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::note(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
