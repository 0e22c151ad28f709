//! What traffic looks like: as services send it, or of one size.

use std::fmt;

use anyhow::ensure;

/// How spans and log records lie in traces, and traces in requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// As 30 services send it, each for itself.
    Realistic,
    /// Requests of equal size.
    Fixed(Fixed),
}

/// Whole traces of one size together in requests of one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fixed {
    pub(super) traces_per_request: u32,
    pub(super) spans_per_trace: u32,
    /// They follow in a request of their own, as the signals of OTLP do.
    pub(super) logs_per_trace: u32,
}

impl Fixed {
    /// Requests of so many spans in traces of so many.
    ///
    /// # Errors
    /// When traces do not fit in whole.
    pub fn new(spans_per_request: u32, spans_per_trace: u32, logs_per_trace: u32) -> anyhow::Result<Self> {
        ensure!(
            spans_per_trace > 0 && spans_per_request > 0 && spans_per_request.is_multiple_of(spans_per_trace),
            "traces of {spans_per_trace} spans do not fill a request of {spans_per_request}; \
             --spans-per-request must be a multiple of --spans-per-trace"
        );
        let traces_per_request = spans_per_request / spans_per_trace;
        Ok(Self { traces_per_request, spans_per_trace, logs_per_trace })
    }
}

impl fmt::Display for Profile {
    /// `realistic`, or `fixed-1000-10-2`: spans of a request, spans of a trace, logs of a trace.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Realistic => formatter.write_str("realistic"),
            Self::Fixed(Fixed { traces_per_request, spans_per_trace, logs_per_trace }) => {
                let spans_per_request = traces_per_request * spans_per_trace;
                write!(formatter, "fixed-{spans_per_request}-{spans_per_trace}-{logs_per_trace}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_traces_share_a_request() {
        assert!(Fixed::new(1_000, 30, 0).is_err());
        let profile = Profile::Fixed(Fixed::new(1_000, 10, 2).unwrap());
        assert_eq!(profile.to_string(), "fixed-1000-10-2");
    }
}
