//! `loadgen load`: how much a deployment takes, and how long it takes for it.
//!
//! The load is open: requests are due at a steady rate whether or not those before them were answered,
//! as many independent clients would send them, and their latency is measured from then.

pub mod client;
pub mod histogram;
pub mod processes;
pub mod profile;
pub mod report;
mod run;
pub mod schedule;
pub mod tally;
pub mod traffic;

use std::{
    fs,
    path::PathBuf,
    sync::{Arc, atomic::AtomicUsize},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, ensure};
use clap::{Args, ValueEnum};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{
    output::{note, result},
    targets::described,
};
use client::{Client, Doors, Patience, Protocol};
use processes::NamedProcess;
use profile::{Fixed, Profile};
use report::{Asked, Report};
use run::Load;
use schedule::{Limits, Rate, Schedule};
use traffic::Traffic;

/// Senders at a rate, and at the maximum: enough to keep the target busy, few enough not to queue there.
const IN_FLIGHT_AT_RATE: u16 = 512;
const IN_FLIGHT_AT_MAX: u16 = 16;
/// How long a load lasts unless something else is said, and when spans are to end it.
const SECONDS: f64 = 10.0;
const SECONDS_MAX: f64 = 600.0;

/// Sends load at a steady rate or as much as goes, and reports rate, latency, CPU and memory
///
/// Requests are due at a steady rate, whether or not earlier ones were answered, and latency is measured
/// from when a request was due. So a target that stalls is seen as slow by every request that came
/// meanwhile (no coordinated omission).
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Arguments {
    /// Spans per second, or `max`: as many as are answered, with --in-flight requests on their way;
    /// latency is then measured from when a request is sent
    #[arg(long, default_value = "10000", value_name = "SPANS|max")]
    rate: Rate,
    /// How long the load counts [default: 10; 600 with --spans]
    #[arg(long, value_parser = some_seconds)]
    seconds: Option<Duration>,
    /// Ends after so many spans that count, rounded up to whole requests
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    spans: Option<u64>,
    /// How long it is sent before it counts
    #[arg(long, default_value = "0", value_name = "SECONDS", value_parser = seconds)]
    warmup_seconds: Duration,
    /// Requests on their way at once, at most [default: 512; 16 with --rate max]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    in_flight: Option<u16>,
    /// How long a request is sent again that is refused for the moment or not answered, as a Collector
    /// does; what the answer names (RetryInfo, Retry-After) is waited for. 0 sends none again
    #[arg(long, default_value = "15", value_name = "SECONDS", value_parser = seconds)]
    retry_seconds: Duration,
    /// How long an answer may take
    #[arg(long, default_value = "10", value_name = "SECONDS", value_parser = some_seconds)]
    timeout_seconds: Duration,
    /// Reports CPU and memory of this process while the load counts; may be repeated, and those of one
    /// name are added up
    #[arg(long = "process", value_name = "NAME=PID")]
    processes: Vec<NamedProcess>,
    /// Prints the report as one line of JSON on standard output
    #[arg(long)]
    json: bool,
    /// Writes the report into this file as JSON
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    // Last: what follows would stand under their headings.
    #[command(flatten)]
    traffic: TrafficArguments,
    #[command(flatten)]
    target: TargetArguments,
}

/// What is sent; the same values make the same requests.
#[derive(Debug, Args)]
#[command(next_help_heading = "Traffic")]
struct TrafficArguments {
    /// What traffic looks like, unless a size is given [default: realistic]
    #[arg(long, conflicts_with_all = ["spans_per_request", "spans_per_trace"])]
    profile: Option<ProfileName>,
    /// Requests of so many spans, of whole traces
    #[arg(long, value_name = "SPANS", requires = "spans_per_trace",
        value_parser = clap::value_parser!(u32).range(1..=100_000))]
    spans_per_request: Option<u32>,
    /// Traces of so many spans; as many as in a request make requests of one trace
    #[arg(long, value_name = "SPANS", requires = "spans_per_request",
        value_parser = clap::value_parser!(u32).range(1..=100_000))]
    spans_per_trace: Option<u32>,
    /// Log records of each trace, in a request that follows the one of their spans
    #[arg(long, value_name = "LOGS", default_value_t = 0, requires = "spans_per_trace",
        value_parser = clap::value_parser!(u32).range(..=1_000))]
    logs_per_trace: u32,
    /// Decides ids and shapes [default: the time, so that each run has its own traces]
    #[arg(long)]
    seed: Option<u64>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ProfileName {
    /// Traces of 12 to 400 spans and half as many logs from 5 to 30 services; each service sends its own
    /// requests, of which 1 in 20 comes late and 1 in 16 twice
    Realistic,
}

/// Where it is sent, and how.
#[derive(Debug, Args)]
#[command(next_help_heading = "Target")]
struct TargetArguments {
    /// `http://host:4317` for gRPC, `http://host:4318` for HTTP; may be repeated: requests take turns
    /// [default: every engine of the local cluster, or every gateway for HTTP]
    #[arg(long = "target", value_name = "URL")]
    targets: Vec<String>,
    /// Description of a running local cluster, as `just up` writes it; not read when a target is named
    #[arg(long, value_name = "FILE", default_value = ".cluster/cluster.json")]
    cluster: PathBuf,
    /// How OTLP is sent
    #[arg(long, default_value = "grpc")]
    protocol: Protocol,
    /// Compression of requests; gzip costs the generator some ten times as much as all the rest
    #[arg(long, default_value = "none")]
    compression: Compression,
    /// gRPC connections to each target that requests take turns on; over HTTP/1.1 each request on its
    /// way has one
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    connections: u16,
    /// Sent with each request, `authorization=Bearer …` for example; may be repeated
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = header)]
    headers: Vec<(String, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Compression {
    None,
    Gzip,
}

const EXAMPLES: &str = "\
Examples:
  How a local cluster (just up) does with realistic traffic at 20,000 spans per second:
    loadgen load --rate 20000 --seconds 60

  How much an engine takes in requests of 1,000 spans, and what that costs it:
    loadgen load --target http://127.0.0.1:4317 --spans-per-request 1000 --spans-per-trace 10 \\
      --rate max --warmup-seconds 5 --seconds 30 --process engine=$(pidof engine)

  Small requests through two gateways as JSON, with a line of JSON as result:
    loadgen load --protocol http/json --target http://a:4318 --target http://b:4318 \\
      --spans-per-request 20 --spans-per-trace 10 --logs-per-trace 5 --json

The exit code is 0 when everything was accepted, and 1 otherwise. Ctrl-C ends the load early, with a report.
Rates and CPU per span are of what was accepted while the load counted; latency is of accepted requests,
all attempts included. At a rate it holds up to a millisecond by which the generator's own timers come late.";

/// Runs the command.
///
/// # Errors
/// When it cannot be done, or something was not accepted.
pub async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let (profile, seed) = (arguments.traffic.profile()?, arguments.traffic.seed()?);
    let protocol = arguments.target.protocol;
    let patience = Patience { answer: arguments.timeout_seconds, acceptance: arguments.retry_seconds };
    let traffic = Traffic::new(seed, profile, protocol.encoding())?;
    let client = Client::new(&arguments.target.doors()?, patience)?;
    let load = Arc::new(Load {
        traffic,
        client,
        schedule: Schedule::new(arguments.rate, arguments.limits(), Instant::now()),
        tally: Mutex::default(),
        in_flight: AtomicUsize::default(),
    });
    let window = load.run(arguments.senders(), &arguments.processes).await?;
    let tally = load.tally.lock();
    let asked = Asked { protocol, profile, seed, rate: arguments.rate };
    let report = Report::new(asked, &window, &tally);
    note(&format!("\n{report}"));
    for process in &window.used.gone {
        note(&format!("{process} has ended meanwhile, and is left out"));
    }
    arguments.write(&report)?;
    let complaint = tally.complaint.as_deref().unwrap_or_default();
    ensure!(
        report.is_success(),
        "{} requests were not accepted and {} spans or logs rejected; the first time: {complaint}",
        report.failed_requests,
        report.rejected_items
    );
    Ok(())
}

impl Arguments {
    fn limits(&self) -> Limits {
        let seconds = if self.spans.is_some() { SECONDS_MAX } else { SECONDS };
        let time = self.seconds.unwrap_or(Duration::from_secs_f64(seconds));
        Limits { warmup: self.warmup_seconds, time, spans: self.spans }
    }

    fn senders(&self) -> usize {
        let default = match self.rate {
            Rate::Max => IN_FLIGHT_AT_MAX,
            Rate::Spans(_) => IN_FLIGHT_AT_RATE,
        };
        self.in_flight.unwrap_or(default).into()
    }

    fn write(&self, report: &Report) -> anyhow::Result<()> {
        if let Some(file) = &self.report {
            let text = serde_json::to_string_pretty(report)? + "\n";
            fs::write(file, text).with_context(|| format!("failed to write {}", file.display()))?;
        }
        if self.json {
            result(&serde_json::to_string(report)?);
        }
        Ok(())
    }
}

impl TrafficArguments {
    fn profile(&self) -> anyhow::Result<Profile> {
        match (self.spans_per_request, self.spans_per_trace) {
            (Some(request), Some(trace)) => {
                Ok(Profile::Fixed(Fixed::new(request, trace, self.logs_per_trace)?))
            }
            _ => Ok(match self.profile.unwrap_or(ProfileName::Realistic) {
                ProfileName::Realistic => Profile::Realistic,
            }),
        }
    }

    fn seed(&self) -> anyhow::Result<u64> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.context("the clock of this machine stands before 1970")?;
        Ok(self.seed.unwrap_or(u64::try_from(now.as_millis())?))
    }
}

impl TargetArguments {
    fn doors(&self) -> anyhow::Result<Doors> {
        let targets = if self.targets.is_empty() {
            let cluster = described(&self.cluster).context("no --target is named")?;
            if self.protocol == Protocol::Grpc { cluster.engines } else { cluster.gateways }
        } else {
            self.targets.clone()
        };
        ensure!(!targets.is_empty(), "the local cluster has no gateway; name a --target");
        Ok(Doors {
            protocol: self.protocol,
            targets,
            connections: self.connections.into(),
            gzip: self.compression == Compression::Gzip,
            headers: self.headers.clone(),
        })
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    // A year bounds every sum of them.
    let is_bounded = |time: &Duration| time.as_secs() <= 31_536_000;
    seconds.filter(is_bounded).ok_or_else(|| "not a number of seconds of at most a year".to_owned())
}

fn some_seconds(text: &str) -> Result<Duration, String> {
    let time = seconds(text)?;
    if time.is_zero() { Err("more than 0 are needed".to_owned()) } else { Ok(time) }
}

fn header(text: &str) -> Result<(String, String), String> {
    let header = text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    header.ok_or_else(|| "write NAME=VALUE".to_owned())
}
