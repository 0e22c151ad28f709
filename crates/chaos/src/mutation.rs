//! Known weaknesses that are switched on on purpose: a run that cannot fail proves nothing.

use clap::ValueEnum;
use correlate_proof::mutation;

use crate::report::Report;

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mutation {
    /// Writes count as confirmed once a primary has them, and primaries die whose replicas lag.
    AcknowledgePrimary,
    /// A request counts as acknowledged and was never sent.
    LoseRequest,
    /// A request holds a span that nobody expects.
    AddSpan,
    /// The endpoint says that it has a generation of a trace, and has not.
    LoseDelivery,
    /// A span is delivered in two generations.
    DoubleSpan,
    /// A key of Redis loses its TTL.
    LoseTtl,
}

impl Mutation {
    /// The same, where it is one of the proof.
    pub(crate) fn of_proof(self) -> Option<mutation::Mutation> {
        match self {
            Self::LoseRequest => Some(mutation::Mutation::LoseRequest),
            Self::AddSpan => Some(mutation::Mutation::AddSpan),
            Self::LoseDelivery => Some(mutation::Mutation::LoseDelivery),
            Self::DoubleSpan => Some(mutation::Mutation::DoubleSpan),
            Self::AcknowledgePrimary | Self::LoseTtl => None,
        }
    }

    /// Whether a report says what is wrong, and not only that something is.
    pub(crate) fn is_found_in(self, report: &Report) -> bool {
        match self {
            Self::AcknowledgePrimary | Self::LoseRequest | Self::LoseDelivery => report.lost > 0,
            Self::AddSpan => report.invented > 0,
            Self::DoubleSpan => report.closed_twice > 0,
            Self::LoseTtl => report.lasting_keys > 0,
        }
    }
}
