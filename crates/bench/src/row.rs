//! The rows of the benchmark.

use bench_kit::figure::Figure;

use crate::{
    case::{CASES, Case, LARGE, MEDIUM},
    end_to_end, engines, fleet, forwarders, pending, replaced,
    scale::Scale,
};

/// What is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Row {
    EndToEnd(&'static Case),
    Pending,
    Engines,
    EnginesSmall,
    Distance,
    Join,
    Rolling,
    Forwarders,
    Kill,
    Replaced,
    Updates,
}

/// Measured by a quick run that is not told which rows.
const QUICK: [&str; 7] =
    ["cluster-1000", "replicated-1000", "memory-1000", "latency-100", "rolling", "kill", "updates"];

impl Row {
    /// All rows, those end to end first.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        let further = [
            Self::Pending,
            Self::Engines,
            Self::EnginesSmall,
            Self::Distance,
            Self::Join,
            Self::Rolling,
            Self::Forwarders,
            Self::Kill,
            Self::Replaced,
            Self::Updates,
        ];
        CASES.iter().map(Self::EndToEnd).chain(further)
    }

    /// Those of a quick run.
    pub(crate) fn quick() -> impl Iterator<Item = Self> {
        Self::all().filter(|row| QUICK.contains(&bench_kit::run::Row::name(*row)))
    }
}

impl bench_kit::run::Row for Row {
    type Scale = Scale;

    fn name(self) -> &'static str {
        match self {
            Self::EndToEnd(case) => case.name,
            Self::Pending => "pending",
            Self::Engines => "engines",
            Self::EnginesSmall => "engines-100",
            Self::Distance => "distance",
            Self::Join => "join",
            Self::Rolling => "rolling",
            Self::Forwarders => "forwarders",
            Self::Kill => "kill",
            Self::Replaced => "replaced",
            Self::Updates => "updates",
        }
    }

    fn describe(self) -> &'static str {
        match self {
            Self::EndToEnd(case) => case.text,
            Self::Pending => "what spans take that wait for the rest of their trace",
            Self::Engines => {
                "100,000 spans a second for more engines on a Redis Cluster of 3 primaries, 1,000 in a request"
            }
            Self::EnginesSmall => "`engines` with 100 spans in a request",
            Self::Distance => {
                "more engines with Redis 2 ms away, 16 requests of one trace at once to each engine"
            }
            Self::Join => "a third engine starts behind a gateway under load",
            Self::Rolling => {
                "three engines behind a gateway are restarted one after the other, 500 requests a second"
            }
            Self::Forwarders => "beside Rotel, 1,000 spans in a request, 16 at once",
            Self::Kill => "killed (SIGKILL) under 50,000 spans a second",
            Self::Replaced => "beside what it replaces, a trace of 10 spans in a request, 64 at once",
            Self::Updates => "two writers to one trace, each at an instance of its own",
        }
    }

    async fn measure(self, scale: &Scale) -> anyhow::Result<Vec<Figure>> {
        match self {
            Self::EndToEnd(case) => end_to_end::measure(case, scale).await,
            Self::Pending => pending::measure(scale).await,
            Self::Engines => engines::cost(LARGE, scale).await,
            Self::EnginesSmall => engines::cost(MEDIUM, scale).await,
            Self::Distance => engines::distance(scale).await,
            Self::Join => fleet::join(scale).await,
            Self::Rolling => fleet::rolling(scale).await,
            Self::Forwarders => forwarders::cost(scale).await,
            Self::Kill => forwarders::kill(scale).await,
            Self::Replaced => replaced::rates(scale).await,
            Self::Updates => replaced::updates(scale).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use bench_kit::run::Row as _;

    use super::*;

    #[test]
    fn every_row_has_a_name_of_its_own_and_quick_ones_exist() {
        let names: Vec<&str> = Row::all().map(Row::name).collect();
        assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len());
        assert_eq!(Row::quick().count(), QUICK.len());
    }
}
