//! nginx with the sample configuration in front of three engines that share one Redis.

use std::{fs, process::Command, time::Duration};

use anyhow::{Context as _, ensure};
use futures::{FutureExt as _, future::try_join_all};
use prost::Message as _;
use tempfile::TempDir;
use testbed::{EngineOptions, EngineProcess, Process, RedisServer, State, eventually, ports::Port, redis};
use tokio::net::TcpStream;
use tonic::Code;

use crate::{
    Case,
    grpc::{Call, Connection, TRACES},
    telemetry::{Trace, traces},
};

const SAMPLE: &str = include_str!("../../../deploy/nginx/engines.conf");

const ENGINES: usize = 3;
const PATIENCE: Duration = Duration::from_secs(30);

/// Clients that send at the same time, and requests of each.
const SENDERS: u64 = 4;
const REQUESTS: u64 = 100;
/// Attempts of one request before it counts as lost; each waits a little longer than the last.
const ATTEMPTS_MAX: u32 = 10;

pub(crate) fn all() -> Vec<Case> {
    vec![
        Case {
            name: "nginx-spreads-one-connection",
            run: |_| async { spreads().await.unwrap_or_else(|error| panic!("{error:#}")) }.boxed_local(),
        },
        Case {
            name: "nginx-survives-a-killed-engine",
            run: |_| async { survives().await.unwrap_or_else(|error| panic!("{error:#}")) }.boxed_local(),
        },
        Case {
            name: "nginx-passes-large-messages",
            run: |_| async { passes_large().await.unwrap_or_else(|error| panic!("{error:#}")) }.boxed_local(),
        },
    ]
}

/// Everything that runs, in the order in which it ends.
struct Balanced {
    nginx: Process,
    port: Port,
    engines: Vec<EngineProcess>,
    _redis: RedisServer,
    _directory: TempDir,
}

impl Balanced {
    async fn start() -> anyhow::Result<Self> {
        let redis = RedisServer::start(redis::Options::default()).await?;
        let starts = (1..=ENGINES).map(|number| {
            EngineProcess::start(EngineOptions {
                name: format!("engine-{number}"),
                state: State::Redis(redis.url()),
                ..EngineOptions::default()
            })
        });
        let engines = try_join_all(starts).await?;
        let port = Port::free()?;
        let directory = tempfile::tempdir().context("failed to create a directory for nginx")?;
        let nginx = start_nginx(&directory, &port, &engines)?;
        let balanced = Self { nginx, port, engines, _redis: redis, _directory: directory };
        let address = balanced.port.address();
        let listens =
            eventually("nginx listens", PATIENCE, async || TcpStream::connect(address).await.is_ok());
        listens.await.with_context(|| format!("{:?}", balanced.nginx.log_lines("")))?;
        Ok(balanced)
    }

    async fn connect(&self) -> anyhow::Result<Connection> {
        Connection::open(self.port.address()).await
    }

    /// Spans that each engine has accepted.
    async fn accepted(&self) -> anyhow::Result<Vec<u64>> {
        try_join_all(self.engines.iter().map(accepted)).await
    }
}

async fn accepted(engine: &EngineProcess) -> anyhow::Result<u64> {
    let (_status, metrics) = engine.admin_get("/metrics").await?;
    let name = r#"engine_accepted_items_total{signal="traces"} "#;
    let value = metrics.lines().find_map(|line| line.strip_prefix(name));
    value.map_or(Ok(0), |value| value.parse().context("a counter is a whole number"))
}

/// The sample with the addresses of this machine, inside the least that nginx needs around it.
fn start_nginx(directory: &TempDir, port: &Port, engines: &[EngineProcess]) -> anyhow::Result<Process> {
    let mut sample = SAMPLE.to_owned();
    let listen = format!("listen {} http2;", port.address());
    let mut replacements = vec![("listen 4317 http2;".to_owned(), listen)];
    for (number, engine) in (1..).zip(engines) {
        replacements.push((format!("server 10.0.0.{number}:4317"), format!("server {}", engine.grpc())));
    }
    for (written, ours) in &replacements {
        ensure!(sample.matches(written).count() == 1, "the sample has not one {written:?}");
        sample = sample.replace(written, ours);
    }
    let path = directory.path();
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {}/{kind};\n", path.display()))
        .concat();
    let whole = format!(
        "daemon off;\nerror_log stderr warn;\npid {}/nginx.pid;\nmaster_process off;\n\
         events {{ worker_connections 1024; }}\nhttp {{\naccess_log off;\n{temporary}{sample}}}\n",
        path.display()
    );
    let file = path.join("nginx.conf");
    fs::write(&file, whole).context("failed to write the configuration of nginx")?;
    // Debian's place is not on the path of every user.
    let debian = "/usr/sbin/nginx";
    let program = if fs::exists(debian)? { debian } else { "nginx" };
    let mut command = Command::new(program);
    command.args(["-e", "stderr", "-p"]).arg(path).arg("-c").arg(&file);
    Process::start("nginx", command, &path.join("nginx.log"))
        .context("failed to start nginx; install it with: sh deploy/setup.sh")
}

async fn spreads() -> anyhow::Result<()> {
    let balanced = Balanced::start().await?;
    let connection = balanced.connect().await?;
    for _ in 0..30 {
        let reply = connection.send(Call::new(TRACES, &Trace::new().request().encode_to_vec())).await?;
        ensure!(reply.message().is_empty(), "{reply:?}");
    }
    let accepted = balanced.accepted().await?;
    ensure!(accepted.iter().sum::<u64>() == 30, "{accepted:?}");
    ensure!(accepted.iter().all(|&count| count >= 5), "not spread: {accepted:?}");
    Ok(())
}

/// Sends until it is acknowledged, as an exporter does: again only what is said to be passing.
async fn acknowledge(connection: &Connection, request: &[u8]) -> anyhow::Result<u32> {
    for attempt in 1..=ATTEMPTS_MAX {
        let status = connection.send(Call::new(TRACES, request)).await?.status();
        match status.code() {
            Code::Ok => return Ok(attempt),
            Code::Unavailable => tokio::time::sleep(Duration::from_millis(20) * attempt).await,
            _ => anyhow::bail!("a client would drop the data: {status:?}"),
        }
    }
    anyhow::bail!("not acknowledged in {ATTEMPTS_MAX} attempts")
}

async fn survives() -> anyhow::Result<()> {
    let balanced = Balanced::start().await?;
    let connection = balanced.connect().await?;
    let sender = async |trace: Trace| {
        for number in 1..=REQUESTS {
            acknowledge(&connection, &traces(vec![trace.span(number)]).encode_to_vec()).await?;
        }
        anyhow::Ok(())
    };
    let sent_to: Vec<Trace> = (0..SENDERS).map(|_| Trace::new()).collect();
    let kill = async {
        let some = async || accepted(&balanced.engines[0]).await.is_ok_and(|count| count >= 10);
        eventually("the first engine takes part", PATIENCE, some).await?;
        balanced.engines[0].process().kill()
    };
    let ((), _) = tokio::try_join!(kill, try_join_all(sent_to.iter().map(|&trace| sender(trace))))?;
    let left = try_join_all(balanced.engines[1..].iter().map(accepted)).await?;
    ensure!(left.iter().all(|&count| count > SENDERS * REQUESTS / 10), "the others took over: {left:?}");
    for trace in sent_to {
        let kept = spans_of(&balanced.engines[1], trace).await?;
        ensure!(kept == REQUESTS, "{kept} of {REQUESTS} acknowledged spans are kept");
    }
    Ok(())
}

async fn spans_of(engine: &EngineProcess, trace: Trace) -> anyhow::Result<u64> {
    use otlp_proto::correlation::v1::{
        GetCorrelationRequest, View, correlation_service_client::CorrelationServiceClient,
    };
    let mut client = CorrelationServiceClient::connect(engine.url()).await?;
    let request = GetCorrelationRequest { correlation_id: trace.hex(), view: View::Full.into() };
    Ok(client.get_correlation(request).await?.into_inner().summary.unwrap_or_default().spans)
}

/// More than the 1 MiB that nginx takes by default.
async fn passes_large() -> anyhow::Result<()> {
    let balanced = Balanced::start().await?;
    let trace = Trace::new();
    let mut span = trace.span(1);
    span.name = "x".repeat(3 << 20);
    let request = traces(vec![span]).encode_to_vec();
    let reply = balanced.connect().await?.send(Call::new(TRACES, &request)).await?;
    ensure!(reply.message().is_empty(), "{reply:?}");
    // And beyond its limit the answer is permanent, in words of gRPC.
    let reply = balanced.connect().await?.send(Call::new(TRACES, &vec![0; 66 << 20])).await?;
    ensure!(reply.code() == Code::ResourceExhausted, "{reply:?}");
    Ok(())
}
