//! What is worth knowing about a part without reading its telemetry again.

use std::collections::BTreeSet;

/// Service of a resource without a `service.name`.
pub const UNKNOWN_SERVICE: &str = "unknown_service";

/// Facts about the spans and log records of one part.
///
/// Names are cut to 256 bytes, and what is not UTF-8 in them becomes U+FFFD; the telemetry itself
/// keeps them whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Number of spans.
    pub spans: u32,
    /// Number of log records.
    pub logs: u32,
    /// Spans with status ERROR and log records of severity ERROR (17) and above.
    pub errors: u32,
    /// Earliest start of a span or time of a log record, in nanoseconds since 1970.
    /// `None` when nothing in the part carries a time.
    pub first_event_unix_nano: Option<u64>,
    /// Latest end of a span or time of a log record, in nanoseconds since 1970.
    /// Never before the first event: a span that ends before it starts counts as ending at its start.
    pub last_event_unix_nano: Option<u64>,
    /// Where the telemetry comes from: sorted, each once.
    pub origins: Vec<Origin>,
    /// The first span without a parent.
    pub root: Option<Root>,
    /// Correlation keys found in span, log and resource attributes, as (name, value).
    /// Empty when none are configured: then the attributes are not walked.
    pub keys: BTreeSet<(String, String)>,
}

impl Facts {
    /// Widens the range of event times. Zero means unset on the wire.
    pub(crate) fn see_times(&mut self, first: u64, last: u64) {
        if first != 0 {
            let earliest = self.first_event_unix_nano.map_or(first, |known| known.min(first));
            self.first_event_unix_nano = Some(earliest);
        }
        self.last_event_unix_nano = self.last_event_unix_nano.max((last != 0).then_some(last));
    }
}

/// The source of telemetry, as its resource describes it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    /// `service.name`, or [`UNKNOWN_SERVICE`].
    pub service: String,
    /// `deployment.environment.name`, else `deployment.environment`, else empty.
    pub environment: String,
}

/// The span that a trace starts with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// Service of its resource.
    pub service: String,
    /// Name of the span.
    pub name: String,
}
