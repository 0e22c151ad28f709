//! Every step of the guide: its name, and the file that takes it.

mod back;
mod forward;
mod redis;
mod replace;
mod scale;

use super::Rollout;

/// Pairs of traces after which a share is known to a few percent: some five seconds of load.
const SHARE_PAIRS: u64 = 500;

/// In the order in which they are taken; each begins where the one before ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// One engine in memory, as it was before.
    Memory,
    /// An engine on Redis that the gateways do not know.
    Staging,
    /// A tenth of the traces to it.
    Canary,
    /// Back from there.
    CanaryBack,
    /// Onwards again, to half of the traces.
    Half,
    /// Back from there.
    HalfBack,
    /// Onwards again, to all traces; the engine in memory ends.
    All,
    /// Three engines.
    Three,
    /// Five engines.
    Five,
    /// Two less.
    Fewer,
    /// All engines anew, one after the other.
    UpgradeEngines,
    /// All gateways anew, one after the other.
    UpgradeGateways,
    /// Another server becomes the primary, of each shard.
    Failover,
    /// A shard more.
    AddRedis,
    /// All engines back in memory.
    AllBack,
    /// And on Redis again.
    AllAgain,
}

impl Step {
    pub(super) const ALL: [Self; 16] = [
        Self::Memory,
        Self::Staging,
        Self::Canary,
        Self::CanaryBack,
        Self::Half,
        Self::HalfBack,
        Self::All,
        Self::Three,
        Self::Five,
        Self::Fewer,
        Self::UpgradeEngines,
        Self::UpgradeGateways,
        Self::Failover,
        Self::AddRedis,
        Self::AllBack,
        Self::AllAgain,
    ];

    /// As the guide calls it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Staging => "staging",
            Self::Canary => "canary",
            Self::CanaryBack => "canary-back",
            Self::Half => "half",
            Self::HalfBack => "half-back",
            Self::All => "all",
            Self::Three => "three",
            Self::Five => "five",
            Self::Fewer => "fewer",
            Self::UpgradeEngines => "upgrade-engines",
            Self::UpgradeGateways => "upgrade-gateways",
            Self::Failover => "failover",
            Self::AddRedis => "add-redis",
            Self::AllBack => "all-back",
            Self::AllAgain => "all-again",
        }
    }

    /// Takes it, and answers what was seen.
    ///
    /// # Errors
    /// What is not as the guide says.
    pub(super) async fn take(self, rollout: &mut Rollout) -> anyhow::Result<String> {
        match self {
            Self::Memory => forward::memory(rollout).await,
            Self::Staging => forward::staging(rollout).await,
            Self::Canary => forward::share(rollout, 10).await,
            Self::CanaryBack | Self::HalfBack | Self::AllBack => back::roll_back(rollout).await,
            Self::Half => {
                back::roll_on(rollout).await?;
                forward::share(rollout, 50).await
            }
            Self::All => {
                back::roll_on(rollout).await?;
                forward::all(rollout).await
            }
            Self::Three => scale::up_to(rollout, 3).await,
            Self::Five => scale::up_to(rollout, 5).await,
            Self::Fewer => scale::down_to(rollout, 3).await,
            Self::UpgradeEngines => replace::engines(rollout).await,
            Self::UpgradeGateways => replace::gateways(rollout).await,
            Self::Failover => redis::fail_over(rollout).await,
            Self::AddRedis => redis::add_shard(rollout).await,
            Self::AllAgain => back::roll_on(rollout).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Step;

    #[test]
    fn the_guide_has_each_step_in_its_order() {
        let guide = include_str!("../../../../docs/rollout.md");
        let headings = guide.lines().filter_map(|line| line.strip_prefix("### `")?.split_once('`'));
        let names: Vec<&str> = headings.map(|(name, _)| name).collect();
        assert_eq!(names, Step::ALL.map(Step::name));
    }
}
