//! `testbed logs`: what the processes of the cluster have printed, each line with its process.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Write as _},
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, bail};
use clap::Args;
use testbed::{Running, running::Entry};
use tokio::time::sleep;

const LOOK_INTERVAL: Duration = Duration::from_millis(200);

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Only this process, `engine-1` for example, or all of a kind: `engine`
    name: Option<String>,
    /// Keep printing what is added, until Ctrl-C
    #[arg(long, short)]
    follow: bool,
}

pub(crate) async fn run(home: &Path, arguments: &Arguments) -> anyhow::Result<()> {
    let Some(running) = Running::load(home)? else {
        bail!("no cluster is up in {}; start one with: just up", home.display());
    };
    let members = running.members();
    let names: Vec<&str> = members.iter().map(|member| member.entry.name.as_str()).collect();
    let mut logs = Vec::new();
    for member in &members {
        if is_meant(&member.entry.name, arguments.name.as_deref()) {
            logs.push(Log::open(member.entry)?);
        }
    }
    if logs.is_empty() {
        bail!("no process has that name; there are: {}", names.join(", "));
    }
    loop {
        for log in &mut logs {
            match log.print_new_lines() {
                // The reader has seen enough: `just logs | head`.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                result => result.with_context(|| format!("failed to print the log of {}", log.name))?,
            }
        }
        if !arguments.follow {
            return Ok(());
        }
        sleep(LOOK_INTERVAL).await;
    }
}

/// Whether a process has this name, or is of this kind.
fn is_meant(name: &str, wanted: Option<&str>) -> bool {
    wanted.is_none_or(|wanted| {
        let kind = name.rsplit_once('-').map_or(name, |(kind, _)| kind);
        wanted == name || wanted == kind
    })
}

struct Log {
    name: String,
    file: BufReader<File>,
    /// Start of a line whose end is not yet written.
    line: Vec<u8>,
}

impl Log {
    fn open(entry: &Entry) -> anyhow::Result<Self> {
        let file =
            File::open(&entry.log).with_context(|| format!("failed to read {}", entry.log.display()))?;
        Ok(Self { name: entry.name.clone(), file: BufReader::new(file), line: Vec::new() })
    }

    fn print_new_lines(&mut self) -> io::Result<()> {
        let mut out = io::stdout().lock();
        while self.file.read_until(b'\n', &mut self.line)? > 0 && self.line.ends_with(b"\n") {
            write!(out, "{:<10} | ", self.name)?;
            out.write_all(&self.line)?;
            self.line.clear();
        }
        out.flush()
    }
}
