//! The methods of engines that are called for clients, and whether another engine may be called instead.

/// A method of an engine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Method {
    /// `/package.Service/Method`.
    pub(super) path: &'static str,
    pub(super) repeat: Repeat,
}

/// Whether another engine may be sent a request that one may already have carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// Twice is as good as once.
    Safe,
    /// Only while it was certainly not sent.
    Unsent,
}

impl Method {
    pub(crate) const EXPORT_TRACES: Self =
        Self::safe("/opentelemetry.proto.collector.trace.v1.TraceService/Export");
    pub(crate) const EXPORT_LOGS: Self =
        Self::safe("/opentelemetry.proto.collector.logs.v1.LogsService/Export");
    pub(crate) const LIST: Self = Self::safe("/correlation.v1.CorrelationService/ListCorrelations");
    pub(crate) const GET: Self = Self::safe("/correlation.v1.CorrelationService/GetCorrelation");
    pub(crate) const LIST_RELATED: Self = Self::safe("/correlation.v1.CorrelationService/ListRelated");
    pub(crate) const COUNT: Self = Self::safe("/correlation.v1.CorrelationService/CountCorrelations");
    pub(crate) const GET_LEDGER: Self = Self::safe("/correlation.v1.CorrelationService/GetLedger");
    /// What arrives between two attempts starts a new correlation, which nobody asked to delete.
    pub(crate) const DELETE: Self =
        Self { path: "/correlation.v1.CorrelationService/DeleteCorrelation", repeat: Repeat::Unsent };

    const fn safe(path: &'static str) -> Self {
        Self { path, repeat: Repeat::Safe }
    }
}
