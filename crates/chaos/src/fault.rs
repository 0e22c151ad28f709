//! Every fault: what it is called, and how much of the plan it takes.

use std::time::Duration;

use correlate_proof::sink::Mood;
use testbed::redis::{self, Lasting};

/// Something that happens to a process of the cluster or to the links between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// To Redis, or to the links between it and the engines.
    Redis(redis::Fault),
    /// SIGKILL, and started again at once.
    CrashEngine,
    /// SIGKILL, and started again after a while.
    KillEngine,
    /// SIGSTOP for a while.
    HangEngine,
    /// SIGTERM and start of one engine after the other.
    RollingEngines,
    /// As of an engine.
    CrashGateway,
    /// As of an engine.
    KillGateway,
    /// As of an engine.
    HangGateway,
    /// The endpoint that everything is delivered to behaves like this for a while.
    Endpoint(Mood),
}

impl Fault {
    /// Faults of processes; they happen beside those of Redis.
    pub(crate) const OF_PROCESSES: [Self; 11] = [
        Self::CrashEngine,
        Self::KillEngine,
        Self::HangEngine,
        Self::RollingEngines,
        Self::CrashGateway,
        Self::KillGateway,
        Self::HangGateway,
        Self::Endpoint(Mood::Refuses),
        Self::Endpoint(Mood::Hangs),
        Self::Endpoint(Mood::LosesAnswers),
        Self::Endpoint(Mood::IsAway),
    ];

    /// All faults of Redis.
    pub(crate) fn of_redis() -> Vec<Self> {
        redis::Fault::ALL.map(Self::Redis).into()
    }

    /// What it is called in everything that is printed.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Redis(fault) => fault.name(),
            Self::CrashEngine => "crash-engine",
            Self::KillEngine => "kill-engine",
            Self::HangEngine => "hang-engine",
            Self::RollingEngines => "rolling-restart-engines",
            Self::CrashGateway => "crash-gateway",
            Self::KillGateway => "kill-gateway",
            Self::HangGateway => "hang-gateway",
            Self::Endpoint(Mood::Refuses) => "endpoint-refuses",
            Self::Endpoint(Mood::Hangs) => "endpoint-hangs",
            Self::Endpoint(Mood::LosesAnswers) => "endpoint-loses-answers",
            Self::Endpoint(Mood::IsAway | Mood::Takes) => "endpoint-away",
        }
    }

    /// Time that the plan keeps free for it and its recovery: generous, so that the plan keeps its times on
    /// a busy machine too.
    pub(crate) fn takes(self, lasting: Lasting) -> Duration {
        use redis::Fault as Redis;
        let seconds = match self {
            Self::Redis(Redis::ScriptFlush) => 3,
            Self::Redis(Redis::Failover | Redis::MoveSlot) => 5,
            Self::Redis(Redis::RestartPrimary | Redis::CrashPrimary | Redis::AllRestart) => 8,
            Self::Redis(Redis::KillPrimary | Redis::KillPrimaryLagging | Redis::HangPrimary) => 9,
            Self::Redis(Redis::ClockForward | Redis::ClockBack) => 14,
            Self::Redis(Redis::RollingRestart) => 22,
            Self::Redis(Redis::AllHang) => return lasting.all_away + Duration::from_secs(6),
            Self::CrashEngine | Self::CrashGateway => 5,
            Self::RollingEngines => 14,
            _ => return lasting.fault + Duration::from_secs(4),
        };
        Duration::from_secs(seconds)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_fault_has_a_name_of_its_own() {
        let all: Vec<_> = Fault::of_redis().into_iter().chain(Fault::OF_PROCESSES).collect();
        let names: BTreeSet<_> = all.iter().map(|fault| fault.name()).collect();
        assert_eq!(names.len(), all.len());
    }
}
