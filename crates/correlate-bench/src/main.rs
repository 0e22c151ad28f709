//! Measures what it costs to receive, correlate, close and deliver whole traces, how late they are
//! delivered, and what an idle cluster costs Redis; compares it with its mark.

mod cost;
mod delay;
mod idle;
mod row;
mod scale;

use std::process::ExitCode;

use bench_kit::{
    machine::Machine,
    run::{RowArguments, run},
};
use clap::Parser;

use crate::{row::Row, scale::Scale};

/// Measures what whole traces cost on their way through engines to an OTLP endpoint, beside a stateless
/// forwarder (Rotel, installed from PyPI when its row is measured for the first time), how late they are,
/// and what ten idle engines cost a Redis Cluster.
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
    run(arguments, Row::ALL, [Scale::FULL, Scale::QUICK], Machine::ask().with_redis()).await
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_arguments_fit_together() {
        super::Arguments::command().debug_assert();
    }
}
