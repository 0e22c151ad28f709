//! Measures what it costs to get telemetry in, how doors do under overload and without an engine,
//! and compares it with its mark.

mod client;
mod codec;
mod engine;
mod gateway;
mod leave;
mod overload;
mod requests;
mod row;
mod scale;

use std::process::ExitCode;

use bench_kit::{
    machine::Machine,
    run::{RowArguments, run},
};
use clap::Parser;

use crate::{row::Row, scale::Scale};

// The engine's and the gateway's: what is measured in this process is what it costs there.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures what it costs to get telemetry in (the codec in this process, engine and gateway as
/// processes of their own), what comes through when four times too much is offered, and how soon a
/// gateway leaves an engine that fails.
///
/// Prints a markdown table, or one line of JSON in which `failed` names the rows that miss a mark.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(flatten)]
    rows: RowArguments,
}

#[tokio::main]
async fn main() -> ExitCode {
    let Arguments { rows: arguments } = Arguments::parse();
    run(arguments, Row::ALL, [Scale::FULL, Scale::QUICK], Machine::ask()).await
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_arguments_fit_together() {
        super::Arguments::command().debug_assert();
    }
}
