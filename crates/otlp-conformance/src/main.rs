//! Runs every row and every client against fresh processes and prints what holds.

use std::{
    io::{self, Write as _},
    process::ExitCode,
    sync::Arc,
};

use anyhow::Context as _;
use futures::{StreamExt as _, stream};
use otlp_conformance::{Case, Doors};
use serde::Serialize;

/// Cases that run at the same time.
const CONCURRENT_MAX: usize = 4;

/// The last line of the output.
#[derive(Serialize)]
struct Line {
    rows: usize,
    /// Of the rows.
    passed: usize,
    /// Ids of rows and names of clients.
    failed: Vec<&'static str>,
    /// Those that were tried.
    clients: Vec<&'static str>,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> anyhow::Result<bool> {
    // What a case found is printed in the table.
    std::panic::set_hook(Box::new(|_| {}));
    let doors = Arc::new(Doors::start().await?);
    let rows = tried(otlp_conformance::rows(), &doors).await;
    let clients = tried(otlp_conformance::clients(), &doors).await;
    drop(doors);

    let mut text = String::from("| case | rule | result |\n|---|---|---|\n");
    for (case, result) in rows.iter().chain(&clients) {
        let result =
            result.as_ref().map_or_else(|failure| format!("failed: {failure}"), |()| "passed".to_owned());
        let result = result.replace('\n', " ").replace('|', "\\|");
        text.push_str(&format!("| {} | {} | {result} |\n", case.id(), case.title()));
    }
    let failed: Vec<_> = rows.iter().chain(&clients).filter(|(_, result)| result.is_err()).collect();
    let line = Line {
        rows: rows.len(),
        passed: rows.iter().filter(|(_, result)| result.is_ok()).count(),
        failed: failed.iter().map(|(case, _)| case.id()).collect(),
        clients: clients.iter().map(|(case, _)| case.name).collect(),
    };
    let text = format!("{text}\n{}\n", serde_json::to_string(&line)?);
    io::stdout().write_all(text.as_bytes()).context("failed to print the results")?;
    Ok(failed.is_empty())
}

async fn tried(cases: Vec<Case>, doors: &Arc<Doors>) -> Vec<(Case, Result<(), String>)> {
    let runs = cases.into_iter().map(|case| async move { (case, case.run(Arc::clone(doors)).await) });
    stream::iter(runs).buffered(CONCURRENT_MAX).collect().await
}
