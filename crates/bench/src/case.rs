//! What is measured end to end: a state, a door, a shape of requests, and the mark if there is one.

use bench_kit::deployment::State;

use crate::generator::{Protocol, Shape};

/// One way through everything.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) text: &'static str,
    pub(crate) state: State,
    pub(crate) door: Door,
    pub(crate) shape: Shape,
    /// Whether what is closed goes to an endpoint.
    pub(crate) is_delivered: bool,
    /// Traces in a second, at least.
    pub(crate) traces_mark: Option<f64>,
    /// p99 of a request at half of the maximum, at most.
    pub(crate) p99_mark_ms: Option<f64>,
}

/// Where requests come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    /// At an engine.
    Engine,
    /// At a gateway before it, over HTTP.
    Gateway(Protocol),
}

/// The large requests of a Collector.
pub(crate) const LARGE: Shape = Shape { request_spans: 1_000, trace_spans: 10 };
pub(crate) const MEDIUM: Shape = Shape { request_spans: 100, trace_spans: 10 };
/// The small ones of an SDK.
const SMALL: Shape = Shape { request_spans: 20, trace_spans: 10 };
/// A request of one trace.
pub(crate) const ALONE: Shape = Shape { request_spans: 10, trace_spans: 10 };
const SHORT_TRACES: Shape = Shape { request_spans: 1_000, trace_spans: 2 };
const LONG_TRACES: Shape = Shape { request_spans: 1_000, trace_spans: 100 };

impl Case {
    const fn new(name: &'static str, text: &'static str, state: State, shape: Shape) -> Self {
        let (door, is_delivered) = (Door::Engine, false);
        Self { name, text, state, door, shape, is_delivered, traces_mark: None, p99_mark_ms: None }
    }

    const fn delivered(self) -> Self {
        Self { is_delivered: true, ..self }
    }

    const fn through(self, protocol: Protocol) -> Self {
        Self { door: Door::Gateway(protocol), ..self }
    }

    const fn at_least(self, traces: f64) -> Self {
        Self { traces_mark: Some(traces), ..self }
    }

    const fn within_ms(self, p99: f64) -> Self {
        Self { p99_mark_ms: Some(p99), ..self }
    }
}

/// Everything that is measured end to end.
pub(crate) const CASES: [Case; 20] = {
    use Protocol::{HttpJson, HttpProtobuf};
    use State::{Cluster, Memory, Replicated, Single};
    [
        Case::new("cluster-1000", "Redis Cluster of 3 primaries, 1,000 spans in a request", Cluster, LARGE)
            .at_least(20_000.0),
        Case::new(
            "replicated-1000",
            "3 primaries and 3 replicas that confirm, append-only files",
            Replicated,
            LARGE,
        )
        .at_least(10_000.0),
        Case::new("memory-1000", "state in memory", Memory, LARGE).at_least(40_000.0),
        Case::new("cluster-1000-delivered", "`cluster-1000`, delivered to an endpoint", Cluster, LARGE)
            .delivered(),
        Case::new("replicated-1000-delivered", "`replicated-1000`, delivered", Replicated, LARGE).delivered(),
        Case::new("memory-1000-delivered", "`memory-1000`, delivered", Memory, LARGE).delivered(),
        Case::new("latency-100", "Redis Cluster of 3 primaries, 100 spans in a request", Cluster, MEDIUM)
            .within_ms(25.0),
        Case::new("replicated-100", "replicated, 100 spans in a request", Replicated, MEDIUM),
        Case::new("memory-100", "in memory, 100 spans in a request", Memory, MEDIUM),
        Case::new("cluster-trace", "Redis Cluster of 3 primaries, a trace in a request", Cluster, ALONE),
        Case::new("replicated-trace", "replicated, a trace in a request", Replicated, ALONE),
        Case::new("memory-trace", "in memory, a trace in a request", Memory, ALONE),
        Case::new("single-1000", "one Redis server, 1,000 spans in a request", Single, LARGE),
        Case::new("cluster-20", "Redis Cluster of 3 primaries, 20 spans in a request", Cluster, SMALL),
        Case::new("memory-20", "in memory, 20 spans in a request", Memory, SMALL),
        Case::new("cluster-1000-of-2", "`cluster-1000` with 2 spans in a trace", Cluster, SHORT_TRACES),
        Case::new("cluster-1000-of-100", "`cluster-1000` with 100 spans in a trace", Cluster, LONG_TRACES),
        Case::new("cluster-1000-http", "`cluster-1000` through a gateway, protobuf", Cluster, LARGE)
            .through(HttpProtobuf),
        Case::new("memory-1000-http", "`memory-1000` through a gateway, protobuf", Memory, LARGE)
            .through(HttpProtobuf),
        Case::new("memory-1000-json", "`memory-1000` through a gateway, JSON", Memory, LARGE)
            .through(HttpJson),
    ]
};

impl Shape {
    /// Requests on their way at once when as much as possible is sent: enough that no one waits for anyone,
    /// and no more spans than sixteen requests of a Collector have.
    pub(crate) fn in_flight(self) -> usize {
        (16_000 / self.request_spans).clamp(16, 256)
    }
}
