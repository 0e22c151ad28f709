//! The rows of the benchmark: an operation each, and the mark that it has to meet.

pub(crate) mod append;
mod call;
mod closing;
mod list;

use std::sync::Arc;

use bench_kit::{text::thousands, traffic::Shape};
use serde::Serialize;

use crate::{
    deployment::{Deployed, Deployment},
    figures::Figures,
    load::Pools,
    scale::Scale,
};

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Row {
    Get,
    Set,
    Cleanup,
    Append,
    Scattered,
    Close,
    Events,
    Newest,
    Burst,
    Count,
}

/// What a row is measured with.
#[derive(Debug, Clone)]
pub(crate) struct Bench {
    pub(crate) deployed: Arc<Deployed>,
    pub(crate) scale: Scale,
    pub(crate) pools: Arc<Pools>,
}

/// Which figure a mark is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Basis {
    /// Wall time of a call.
    P50,
    /// CPU of client and servers, per unit.
    Cpu,
}

/// Most microseconds that a figure may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    pub(crate) basis: Basis,
    pub(crate) us: f64,
}

impl Mark {
    pub(crate) fn figure(self, figures: &Figures) -> f64 {
        match self.basis {
            Basis::P50 => figures.p50_us,
            Basis::Cpu => figures.cpu_us,
        }
    }

    pub(crate) fn is_met(self, figures: &Figures) -> bool {
        self.figure(figures) <= self.us
    }
}

impl Row {
    pub(crate) const ALL: [Self; 10] = [
        Self::Get,
        Self::Set,
        Self::Cleanup,
        Self::Append,
        Self::Scattered,
        Self::Close,
        Self::Events,
        Self::Newest,
        Self::Burst,
        Self::Count,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Set => "set",
            Self::Cleanup => "cleanup",
            Self::Append => "append",
            Self::Scattered => "scattered",
            Self::Close => "close",
            Self::Events => "events",
            Self::Newest => "newest",
            Self::Burst => "burst",
            Self::Count => "count",
        }
    }

    /// What it does, for people.
    pub(crate) fn describe(self, scale: &Scale) -> String {
        match self {
            Self::Get => "get a correlation of 10 spans".into(),
            Self::Set => "set a correlation of 10 spans".into(),
            Self::Cleanup => "clean up 1,000 correlations".into(),
            Self::Append => "append 1,000 spans, 10 of each trace".into(),
            Self::Scattered => "append 1,000 spans, 2 of each trace".into(),
            Self::Close => "claim and finish a correlation of 10 spans (p50: of 1,000)".into(),
            Self::Events => "read and remove an event of 10 spans (p50: of 1,000)".into(),
            Self::Newest => format!("list the newest 100 of {} of the last hour", thousands(scale.listed)),
            Self::Burst => format!("list the newest 100 of {} that arrived at once", thousands(scale.burst)),
            Self::Count => format!("count {}", thousands(scale.counted)),
        }
    }

    /// What CPU is divided by.
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Append | Self::Scattered => "span",
            Self::Close | Self::Events => "correlation",
            Self::Get | Self::Set | Self::Cleanup | Self::Newest | Self::Burst | Self::Count => "call",
        }
    }

    /// Only memory and the cluster of three primaries have one; the others stand beside them.
    pub(crate) fn mark(self, deployment: Deployment) -> Option<Mark> {
        let (basis, memory, cluster) = match self {
            Self::Get => (Basis::P50, 1.0, 100.0),
            Self::Set => (Basis::P50, 2.0, 120.0),
            Self::Cleanup => (Basis::P50, 300.0, 3_000.0),
            Self::Append => (Basis::Cpu, 0.3, 3.0),
            Self::Scattered => (Basis::Cpu, 0.5, 5.0),
            Self::Newest => (Basis::P50, 500.0, 10_000.0),
            Self::Close => (Basis::Cpu, 2.0, 25.0),
            Self::Events | Self::Burst => return None,
            Self::Count => (Basis::P50, 1.0, 2_000.0),
        };
        match deployment {
            Deployment::Memory => Some(Mark { basis, us: memory }),
            Deployment::Cluster => Some(Mark { basis, us: cluster }),
            Deployment::Single | Deployment::Replicated => None,
        }
    }

    pub(crate) async fn measure(self, bench: &Bench) -> anyhow::Result<Figures> {
        let samples = match self {
            Self::Get => call::get(bench).await,
            Self::Set => call::set(bench).await,
            Self::Cleanup => call::cleanup(bench).await,
            Self::Append => append::append(bench, Shape::TOGETHER).await,
            Self::Scattered => append::append(bench, Shape::SCATTERED).await,
            Self::Close => closing::close(bench).await,
            Self::Events => closing::events(bench).await,
            Self::Newest => list::newest(bench).await,
            Self::Burst => list::burst(bench).await,
            Self::Count => list::count(bench).await,
        };
        Ok(Figures::of(samples?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_above_its_mark_fails_it() {
        let mark = Row::Append.mark(Deployment::Cluster).unwrap();
        assert!(mark.is_met(&Figures { cpu_us: 3.0, p50_us: 9e9, ..Figures::default() }));
        assert!(!mark.is_met(&Figures { cpu_us: 3.1, ..Figures::default() }));
        assert!(Row::Append.mark(Deployment::Replicated).is_none());
    }
}
