//! Lets the faults of a plan happen, heals them, and sees when requests are accepted again.

use std::time::Duration;

use anyhow::Context as _;
use correlate_proof::{
    cluster::Cluster,
    sink::{Mood, Sink},
};
use loadgen::output::note;
use testbed::{
    EngineProcess, GatewayProcess, Process,
    redis::{self, Reach},
};
use tokio::{
    sync::Mutex,
    time::{Instant, sleep, sleep_until},
};

use crate::{
    attempts::{Attempts, Entry},
    fault::Fault,
    plan::{Phase, Step},
};

/// By when requests are accepted again after a fault is healed.
const RECOVERY_DEADLINE: Duration = Duration::from_secs(60);
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// A hung process is noticed and its connections are given up.
const HANG: Duration = Duration::from_secs(5);
/// A supervisor may take as long, or as short, to start what has died.
const SLOW_RESTART: Duration = Duration::from_secs(4);
/// For an engine to finish what it has begun; its own limit is 25 s.
const DRAIN_DEADLINE: Duration = Duration::from_secs(40);
/// By when a process is ready again: it may have to wait until Redis is back.
const READY_DEADLINE: Duration = Duration::from_secs(150);
const START_INTERVAL: Duration = Duration::from_secs(1);

/// What a fault was and how it ended; times are from the beginning of the phase.
#[derive(Debug, Clone)]
pub(crate) struct Done {
    pub(crate) fault: Fault,
    /// Whom it happened to.
    pub(crate) whom: String,
    pub(crate) began: Duration,
    pub(crate) healed: Duration,
    pub(crate) recovery: Recovery,
}

/// When requests were accepted again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Recovery {
    /// So long after the healing.
    After(Duration),
    /// Not within a minute.
    Never,
    /// No fault for those who send.
    Unasked,
}

/// A fault as it has just been healed.
struct Healed {
    whom: String,
    at: Instant,
    /// Requests must be accepted at one of these again.
    entries: Vec<Entry>,
}

/// What faults happen to.
#[derive(Debug)]
pub(crate) struct Injector<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) sink: &'a Mutex<Sink>,
    pub(crate) attempts: &'a Attempts,
    pub(crate) phase: &'a Phase,
    pub(crate) start: Instant,
}

impl Injector<'_> {
    /// Lets the faults of a lane happen, each at its time or when the one before it is over. What does not
    /// fit before the end of the phase any more is left out.
    ///
    /// # Errors
    /// When something cannot be done or healed.
    pub(crate) async fn run(&self, steps: &[Step]) -> anyhow::Result<Vec<Done>> {
        let mut done = Vec::new();
        for step in steps {
            sleep_until(self.start + step.at).await;
            if self.start.elapsed() + step.fault.takes(self.phase.lasting) > self.phase.time {
                note(&format!("{} is left out: there is no time for it any more", step.fault.name()));
                continue;
            }
            // Boxed: everything that a fault does is one future.
            let one = Box::pin(self.one(*step)).await;
            done.push(one.with_context(|| {
                format!("{}, {:.1} s after the beginning", step.fault.name(), step.at.as_secs_f64())
            })?);
        }
        Ok(done)
    }

    async fn one(&self, step: Step) -> anyhow::Result<Done> {
        let began = self.start.elapsed();
        let Healed { whom, at, entries } = match step.fault {
            Fault::Redis(fault) => self.redis(fault, step.lot).await?,
            fault => self.process(fault, step.lot).await?,
        };
        let recovery = self.recovery(&entries, at).await;
        if matches!(step.fault, Fault::Redis(_)) {
            self.cluster.redis().mend().await.context("Redis did not become whole again")?;
        }
        let done = Done { fault: step.fault, whom, began, healed: at - self.start, recovery };
        note(&done.in_words());
        Ok(done)
    }

    async fn redis(&self, fault: redis::Fault, lot: usize) -> anyhow::Result<Healed> {
        let cluster = self.cluster.redis();
        let mut shards = cluster.shards().await?;
        let first = match fault {
            // Each shard has its clock moved one way only.
            redis::Fault::ClockBack => 0,
            redis::Fault::ClockForward => 1,
            _ => lot % shards.len(),
        };
        shards.rotate_left(first);
        fault.prepare(cluster, &shards[0]).await.context("failed to prepare it")?;
        let course = fault.happen(cluster, &shards, self.phase.lasting).await?;
        let at = match course.healed {
            Some(at) => at,
            // What is left is enough to serve, and not always enough to confirm what all replicas must have.
            None => {
                cluster.mend().await?;
                Instant::now()
            }
        };
        let engines = (0..self.cluster.engines().len()).map(Entry::Engine);
        let gateways = (0..self.cluster.gateways().len()).map(Entry::Gateway);
        let whom = match fault.reach() {
            Reach::All => "all shards".to_owned(),
            Reach::One | Reach::Two => format!("shard {}", first + 1),
        };
        Ok(Healed { whom, at, entries: engines.chain(gateways).collect() })
    }

    async fn process(&self, fault: Fault, lot: usize) -> anyhow::Result<Healed> {
        let (engine_number, gateway_number) =
            (lot % self.cluster.engines().len(), lot % self.cluster.gateways().len());
        let (engine, gateway) =
            (&self.cluster.engines()[engine_number], &self.cluster.gateways()[gateway_number]);
        let of_engine = |at| Healed {
            whom: engine.process().name().to_owned(),
            at,
            entries: vec![Entry::Engine(engine_number)],
        };
        let of_gateway = |at| Healed {
            whom: gateway.process().name().to_owned(),
            at,
            entries: vec![Entry::Gateway(gateway_number)],
        };
        Ok(match fault {
            Fault::CrashEngine => of_engine(die(engine, Duration::ZERO).await?),
            Fault::KillEngine => of_engine(die(engine, SLOW_RESTART).await?),
            Fault::HangEngine => of_engine(hang(engine.process()).await?),
            Fault::CrashGateway => of_gateway(die(gateway, Duration::ZERO).await?),
            Fault::KillGateway => of_gateway(die(gateway, SLOW_RESTART).await?),
            Fault::HangGateway => of_gateway(hang(gateway.process()).await?),
            Fault::RollingEngines => {
                for engine in self.cluster.engines() {
                    engine.process().terminate(DRAIN_DEADLINE).await?;
                    engine.process().restart()?;
                    wait_ready(engine).await?;
                }
                let entries = (0..self.cluster.engines().len()).map(Entry::Engine).collect();
                Healed { whom: "all engines".to_owned(), at: Instant::now(), entries }
            }
            Fault::Endpoint(mood) => {
                self.sink.lock().await.becomes(mood).await?;
                sleep(self.phase.lasting.fault).await;
                self.sink.lock().await.becomes(Mood::Takes).await?;
                Healed { whom: "the endpoint".to_owned(), at: Instant::now(), entries: Vec::new() }
            }
            Fault::Redis(_) => anyhow::bail!("{} is no fault of a process", fault.name()),
        })
    }

    async fn recovery(&self, entries: &[Entry], healed: Instant) -> Recovery {
        if entries.is_empty() {
            return Recovery::Unasked;
        }
        let deadline = Instant::now() + RECOVERY_DEADLINE;
        while Instant::now() < deadline {
            if let Some(again) = self.attempts.accepted_again(entries, healed) {
                return Recovery::After(again - healed);
            }
            sleep(LOOK_INTERVAL).await;
        }
        Recovery::Never
    }
}

impl Done {
    /// From the healing until requests were accepted again.
    pub(crate) fn recovered_after(&self) -> Option<Duration> {
        match self.recovery {
            Recovery::After(time) => Some(time),
            Recovery::Never | Recovery::Unasked => None,
        }
    }

    /// For people.
    pub(crate) fn in_words(&self) -> String {
        let Self { fault, whom, began, healed, recovery } = self;
        let recovery = match recovery {
            Recovery::After(time) => format!(", accepted again after {:.2} s", time.as_secs_f64()),
            Recovery::Never => ", and requests were not accepted again".to_owned(),
            Recovery::Unasked => String::new(),
        };
        let (began, healed) = (began.as_secs_f64(), healed.as_secs_f64());
        format!("{} ({whom}) from {began:.1} s to {healed:.1} s{recovery}", fault.name())
    }
}

/// An engine or a gateway.
trait Service {
    fn process(&self) -> &Process;
    async fn wait_ready(&self) -> anyhow::Result<()>;
}

impl Service for EngineProcess {
    fn process(&self) -> &Process {
        self.process()
    }

    async fn wait_ready(&self) -> anyhow::Result<()> {
        self.wait_ready().await
    }
}

impl Service for GatewayProcess {
    fn process(&self) -> &Process {
        self.process()
    }

    async fn wait_ready(&self) -> anyhow::Result<()> {
        self.wait_ready().await
    }
}

/// SIGKILL and a start; answers when it was ready again.
async fn die(service: &impl Service, away: Duration) -> anyhow::Result<Instant> {
    service.process().kill()?;
    sleep(away).await;
    service.process().restart()?;
    wait_ready(service).await?;
    Ok(Instant::now())
}

async fn hang(process: &Process) -> anyhow::Result<Instant> {
    process.pause()?;
    sleep(HANG).await;
    process.resume()?;
    Ok(Instant::now())
}

/// Waits until it is ready, and starts it again if it ends before that, as a supervisor does.
async fn wait_ready(service: &impl Service) -> anyhow::Result<()> {
    let deadline = Instant::now() + READY_DEADLINE;
    loop {
        match service.wait_ready().await {
            Ok(()) => return Ok(()),
            Err(error) if Instant::now() >= deadline => return Err(error),
            Err(_) => sleep(START_INTERVAL).await,
        }
        if service.process().exit_status()?.is_some() {
            service.process().restart()?;
        }
    }
}
