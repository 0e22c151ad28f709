//! Throws mutated inputs at everything that parses what comes from outside, for a bounded time.

mod corpus;
mod mutation;
mod run;
mod target;

use std::{
    fs,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use anyhow::Context as _;
use clap::Parser;
use nix::sys::resource::{Resource, setrlimit};

use crate::{run::Failure, target::Target};

/// Most memory that this process may take. A parser that wants more ends it.
const MEMORY_BYTES_MAX: u64 = 4 << 30;

/// Throws mutated inputs at the splitter, the JSON decoder, decompression and configuration.
///
/// Inputs come from `crates/door-fuzz/corpus`. The same seed makes the same inputs in the same
/// order. An input that fails is printed and kept; put it into the corpus with its correction.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// How long all targets together may take.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Decides all inputs; a random one is taken and printed when there is none.
    #[arg(long)]
    seed: Option<u64>,
    /// Tries this target only; may be given several times.
    #[arg(long, value_enum)]
    only: Vec<Target>,
    /// Tries this one input instead, on the targets given by `--only`.
    #[arg(long)]
    input: Option<PathBuf>,
    /// Where failing inputs are kept.
    #[arg(long, default_value = "target/fuzz")]
    failures: PathBuf,
}

fn main() -> ExitCode {
    match start(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            note(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Answers whether nothing failed.
fn start(arguments: &Arguments) -> anyhow::Result<bool> {
    setrlimit(Resource::RLIMIT_AS, MEMORY_BYTES_MAX, MEMORY_BYTES_MAX)
        .context("failed to limit the memory of this process")?;
    let targets = if arguments.only.is_empty() { Target::ALL.to_vec() } else { arguments.only.clone() };
    if let Some(path) = &arguments.input {
        let input = fs::read(path).with_context(|| format!("failed to read {}", path.display()))?;
        for target in targets {
            target.check(&input);
            note(&format!("{}: passed", target.name()));
        }
        return Ok(true);
    }
    let seed = arguments.seed.unwrap_or_else(rand::random);
    let time = Duration::from_secs(arguments.seconds) / targets.len() as u32;
    note(&format!("seed {seed}, {time:.0?} for each of {} targets", targets.len()));
    let mut has_passed = true;
    for target in targets {
        match run::mutated(target, corpus::of(target)?, seed, time) {
            Ok(inputs) => note(&format!("{}: {inputs} inputs passed", target.name())),
            Err(failure) => {
                has_passed = false;
                keep(&failure, target, seed, arguments)?;
            }
        }
    }
    Ok(has_passed)
}

fn keep(failure: &Failure, target: Target, seed: u64, arguments: &Arguments) -> anyhow::Result<()> {
    let Failure { input, number, reason } = failure;
    let name = target.name();
    let path = arguments.failures.join(format!("{name}-{seed}-{number}"));
    fs::create_dir_all(&arguments.failures)
        .and_then(|()| fs::write(&path, input))
        .with_context(|| format!("failed to write {}", path.display()))?;
    let path = path.display();
    note(&format!(
        "{name}: input {number} of seed {seed} failed: {reason}\n{}\n\
         try it again with: just fuzz --only {name} --input {path}",
        input.escape_ascii()
    ));
    Ok(())
}

/// Tells what happens.
fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}
