//! Every fault of Redis: what it is called and whom it touches.

mod happen;
mod slot;

use std::time::Duration;

use tokio::time::Instant;

/// Something that happens to Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// SIGKILL; its replica takes its place.
    KillPrimary,
    /// The same, and that replica lacks what came last.
    KillPrimaryLagging,
    /// SIGKILL for a while.
    KillReplica,
    /// SIGSTOP until after its replica has taken its place.
    HangPrimary,
    /// SIGSTOP for a while.
    HangReplica,
    /// SIGTERM, and started again at once.
    RestartPrimary,
    /// SIGKILL, and started again at once.
    CrashPrimary,
    /// As planned: `CLUSTER FAILOVER`.
    Failover,
    /// Two buckets to another primary and two back.
    MoveSlot,
    /// `SCRIPT FLUSH` everywhere.
    ScriptFlush,
    /// `maxmemory` is less than there is.
    FullMemory,
    /// Keys may be evicted.
    Eviction,
    /// Connections of clients end.
    Cut,
    /// Connections of clients stay, and nothing arrives.
    HalfOpen,
    /// Scripts are done, and their answers lost.
    LostAnswers,
    /// Requests take 2 ms longer.
    SlowLink2,
    /// Requests take 300 ms longer.
    SlowLink300,
    /// [`Fault::KillPrimary`], and its replicas are five minutes ahead.
    ClockForward,
    /// [`Fault::KillPrimary`], and its replicas are five minutes behind.
    ClockBack,
    /// SIGSTOP of all servers.
    AllHang,
    /// SIGTERM of all servers, then all start.
    AllRestart,
    /// SIGTERM and start of one server after the other.
    RollingRestart,
}

/// Whose requests a fault may disturb.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Those of the first shard.
    One,
    /// Those of the first two.
    Two,
    /// Those of all.
    All,
}

/// How long what does not heal by itself goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lasting {
    /// Any fault but those of all servers.
    pub fault: Duration,
    /// [`Fault::AllHang`].
    pub all_away: Duration,
}

/// When a fault was, and when what had to be healed from outside was healed.
#[derive(Debug, Clone, Copy)]
pub struct Course {
    /// Its first step.
    pub began: Instant,
    /// `None` when it healed by itself.
    pub healed: Option<Instant>,
}

impl Course {
    fn by_itself(began: Instant) -> Self {
        Self { began, healed: None }
    }

    fn healed(began: Instant) -> Self {
        Self { began, healed: Some(Instant::now()) }
    }
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 22] = [
        Self::KillPrimary,
        Self::KillPrimaryLagging,
        Self::KillReplica,
        Self::HangPrimary,
        Self::HangReplica,
        Self::RestartPrimary,
        Self::CrashPrimary,
        Self::Failover,
        Self::MoveSlot,
        Self::ScriptFlush,
        Self::FullMemory,
        Self::Eviction,
        Self::Cut,
        Self::HalfOpen,
        Self::LostAnswers,
        Self::SlowLink2,
        Self::SlowLink300,
        Self::ClockForward,
        Self::ClockBack,
        Self::AllHang,
        Self::AllRestart,
        Self::RollingRestart,
    ];

    /// What it is called in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::KillPrimary => "kill-primary",
            Self::KillPrimaryLagging => "kill-primary-lagging",
            Self::KillReplica => "kill-replica",
            Self::HangPrimary => "hang-primary",
            Self::HangReplica => "hang-replica",
            Self::RestartPrimary => "restart-primary",
            Self::CrashPrimary => "crash-primary",
            Self::Failover => "failover",
            Self::MoveSlot => "move-slot",
            Self::ScriptFlush => "script-flush",
            Self::FullMemory => "full-memory",
            Self::Eviction => "eviction-policy",
            Self::Cut => "cut",
            Self::HalfOpen => "half-open",
            Self::LostAnswers => "lost-answers",
            Self::SlowLink2 => "slow-link-2ms",
            Self::SlowLink300 => "slow-link-300ms",
            Self::ClockForward => "clock-plus-5min",
            Self::ClockBack => "clock-minus-5min",
            Self::AllHang => "all-hang",
            Self::AllRestart => "all-restart",
            Self::RollingRestart => "rolling-restart",
        }
    }

    /// Whom it may disturb when it happens to the first of all shards.
    #[must_use]
    pub fn reach(self) -> Reach {
        match self {
            Self::MoveSlot => Reach::Two,
            Self::ScriptFlush | Self::AllHang | Self::AllRestart | Self::RollingRestart => Reach::All,
            _ => Reach::One,
        }
    }

    /// Whether what was written before is due for closing only minutes later.
    #[must_use]
    pub fn turns_the_clock_back(self) -> bool {
        self == Self::ClockBack
    }
}
