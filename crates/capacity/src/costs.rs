//! What a span takes: put together from measured figures for traces and requests of the demand's size.

use serde::Serialize;

use crate::{
    Demand, Door, Measured,
    figures::{self, Cluster, Figure, Pair, Source},
    units::digits,
};

/// Spans in a trace of most rows, and in their requests.
const TRACE: f64 = 10.0;
const REQUEST: f64 = 1_000.0;
/// Fragments of a trace of ten spans in the rows that scatter it.
const FRAGMENTS: f64 = 5.0;

/// What a span takes, and why.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Costs {
    /// CPU of engines and Redis for a span: the sum of these.
    pub parts: Vec<Part>,
    /// CPU of gateways for a span, in microseconds.
    pub gateway_us: Sourced,
    /// Of the CPU of all Redis servers, what primaries take; replicas take the rest.
    pub primaries_share: Sourced,
    /// What a trace takes in Redis for as long as it is kept, one copy.
    pub redis_bytes_per_trace: Sourced,
    /// What is left of a byte of telemetry on its way to Redis.
    pub packed: Sourced,
    /// Most memory of an engine.
    pub engine_bytes: Sourced,
    /// Most memory of a gateway.
    pub gateway_bytes: Sourced,
    /// CPU for a span with so many engines, of that with one.
    #[serde(skip)]
    by_engines: Vec<(f64, f64)>,
}

/// A part of the CPU of a span.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Part {
    /// What it is for.
    pub what: String,
    /// Microseconds in the engine.
    pub engine_us: f64,
    /// Microseconds in Redis, all servers.
    pub redis_us: f64,
    /// What it was measured by.
    pub source: Source,
}

/// A figure with what it was measured by.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sourced {
    /// The figure.
    pub value: f64,
    /// What it was measured by.
    pub source: Source,
}

impl Costs {
    /// From the figures of docs/benchmarks.md.
    pub fn built_in(demand: &Demand) -> Self {
        let cluster = if demand.replicas_per_primary == 0 { &figures::PLAIN } else { &figures::REPLICATED };
        let [_, primaries, replicas] = cluster.append.map(|figure| figure.value);
        let primaries_share =
            primaries / (primaries + replicas * f64::from(demand.replicas_per_primary.max(1)));
        Self {
            parts: parts(demand, cluster),
            gateway_us: gateway(demand),
            primaries_share: Sourced {
                value: if demand.replicas_per_primary == 0 { 1.0 } else { primaries_share },
                source: page(&[cluster.append[1], cluster.append[2]]),
            },
            redis_bytes_per_trace: redis_bytes(demand),
            packed: Sourced {
                value: at(&figures::PACKED.map(plain), demand.spans_per_trace / demand.fragments()).min(1.0),
                source: page(&figures::PACKED.map(|(_, figure)| figure)),
            },
            engine_bytes: sourced(figures::ENGINE_MEMORY),
            gateway_bytes: sourced(figures::GATEWAY_MEMORY),
            by_engines: {
                let one = figures::BY_ENGINES[0].1.value;
                figures::BY_ENGINES.map(|(engines, figure)| (engines, figure.value / one)).to_vec()
            },
        }
    }

    /// From the figures of a report, and those of docs/benchmarks.md where it does not tell.
    pub fn measured(demand: &Demand, measured: &Measured, report: &str) -> Self {
        let mut costs = Self::built_in(demand);
        let source = || Source::Report(report.to_owned());
        let sourced = |value| Sourced { value, source: source() };
        // What the report tells holds for its own number of engines.
        costs.by_engines = vec![(1.0, 1.0)];
        let (what, engine_us) = ("as in the report".to_owned(), measured.engine_cpu_us());
        if let Some(redis_us) = measured.cpu_us("redis") {
            costs.parts = vec![Part { what, engine_us, redis_us, source: source() }];
        } else {
            costs.parts.iter_mut().for_each(|part| part.engine_us = 0.0);
            costs.parts.insert(0, Part { what, engine_us, redis_us: 0.0, source: source() });
        }
        if let Some(us) = measured.cpu_us("gateway") {
            costs.gateway_us = sourced(us);
        }
        if let Some(bytes) = measured.peak("gateway") {
            costs.gateway_bytes = sourced(bytes);
        }
        if let Some(bytes) = measured.peak("engine") {
            costs.engine_bytes = sourced(bytes);
        }
        if let Some(bytes) = measured.redis_bytes_per_span() {
            let copies = f64::from(1 + demand.replicas_per_primary);
            costs.redis_bytes_per_trace = sourced(bytes / copies * demand.spans_per_trace);
        }
        costs
    }

    /// CPU of engines for a span, when one engine takes everything.
    pub fn engine_us(&self) -> f64 {
        self.parts.iter().map(|part| part.engine_us).sum::<f64>().max(0.0)
    }

    /// CPU of all Redis servers for a span, likewise.
    pub fn redis_us(&self) -> f64 {
        self.parts.iter().map(|part| part.redis_us).sum::<f64>().max(0.0)
    }

    /// How much more a span costs when so many engines share the load.
    pub fn with_engines(&self, engines: u32) -> f64 {
        let line = self.by_engines.windows(2).find(|pair| f64::from(engines) <= pair[1].0);
        match line {
            Some([(few, less), (many, more)]) => {
                less + (more - less) * (f64::from(engines) - few).max(0.0) / (many - few)
            }
            _ => self.by_engines.last().map_or(1.0, |(_, most)| *most),
        }
    }
}

fn parts(demand: &Demand, cluster: &Cluster) -> Vec<Part> {
    let engine = |pair: &Pair| pair.engine.value;
    let redis = |pair: &Pair| pair.redis.value;
    let by = |points: &[(f64, Pair)], of: &dyn Fn(&Pair) -> f64, x| {
        at(&points.iter().map(|(size, pair)| (*size, of(pair))).collect::<Vec<_>>(), x)
    };
    let (_, usual) = cluster.by_request[cluster.by_request.len() - 1];
    let (_, plain) = figures::BY_TRACE[1];
    // What else a trace takes until it is delivered, and its events are removed.
    let closing = |of: &dyn Fn(&Pair) -> f64| ((of(&cluster.whole) - of(&usual)) * TRACE).max(0.0);
    let length = |of: &dyn Fn(&Pair) -> f64| {
        (by(&figures::BY_TRACE, of, demand.spans_per_trace) - of(&plain)) * of(&usual) / of(&plain)
    };
    let request =
        |of: &dyn Fn(&Pair) -> f64| by(cluster.by_request, of, demand.spans_per_request) - of(&usual);
    let [client, primaries, replicas] = [0, 1, 2].map(|index| {
        (cluster.scattered[index].value - cluster.append[index].value) * TRACE / (FRAGMENTS - 1.0)
    });
    let fragments = (demand.fragments() - 1.0) / demand.spans_per_trace;
    let more_replicas = match demand.replicas_per_primary {
        0 | 1 => 0.0,
        many => {
            let [_, primary, replica] = cluster.append.map(|figure| figure.value);
            f64::from(many - 1) * replica / (primary + replica)
        }
    };
    let pairs =
        |pairs: &[Pair]| page(&pairs.iter().flat_map(|pair| [pair.engine, pair.redis]).collect::<Vec<_>>());
    let points = |points: &[(f64, Pair)]| pairs(&points.iter().map(|(_, pair)| *pair).collect::<Vec<_>>());
    let mut parts = vec![
        Part {
            what: format!("arrival, {REQUEST:.0} spans in a request, {TRACE:.0} in a trace"),
            engine_us: engine(&usual),
            redis_us: redis(&usual),
            source: pairs(&[usual]),
        },
        Part {
            what: format!("requests of {} spans", digits(demand.spans_per_request)),
            engine_us: request(&engine),
            redis_us: request(&redis),
            source: points(cluster.by_request),
        },
        Part {
            what: format!("traces of {} spans", digits(demand.spans_per_trace)),
            engine_us: length(&engine),
            redis_us: length(&redis),
            source: points(&figures::BY_TRACE),
        },
        Part {
            what: format!(
                "closing and delivering: {:.1} and {:.1} µs a trace",
                closing(&engine),
                closing(&redis)
            ),
            engine_us: closing(&engine) / demand.spans_per_trace,
            redis_us: closing(&redis) / demand.spans_per_trace,
            source: pairs(&[cluster.whole, usual]),
        },
        Part {
            what: format!("a trace in {} requests", digits(demand.fragments())),
            engine_us: client * fragments,
            redis_us: (primaries + replicas) * fragments,
            source: page(&[cluster.scattered, cluster.append].concat()),
        },
    ];
    parts.retain(|part| part.engine_us.abs() + part.redis_us.abs() > 5e-4);
    if more_replicas > 0.0 {
        parts.push(Part {
            what: format!("{} replicas of each primary, not 1", demand.replicas_per_primary),
            engine_us: 0.0,
            redis_us: parts.iter().map(|part| part.redis_us).sum::<f64>() * more_replicas,
            source: page(&[cluster.append[1], cluster.append[2]]),
        });
    }
    parts
}

fn gateway(demand: &Demand) -> Sourced {
    let per_span = match demand.protocol {
        Door::Grpc => return Sourced { value: 0.0, source: page(&[]) },
        Door::HttpProtobuf => figures::GATEWAY_PROTOBUF,
        Door::HttpJson => figures::GATEWAY_JSON,
    };
    // What a request costs beside its spans, at gateway and client: the rows have no more to tell them apart by.
    let [through, straight] = figures::REQUEST.map(|figure| figure.value);
    let per_request = (through - straight - TRACE * figures::GATEWAY_JSON.value).max(0.0);
    Sourced {
        value: per_span.value + per_request * (1.0 / demand.spans_per_request - 1.0 / REQUEST).max(0.0),
        source: page(&[per_span, figures::REQUEST[0], figures::REQUEST[1]]),
    }
}

/// A trace takes something for itself and something for each span; only the latter grows with spans.
fn redis_bytes(demand: &Demand) -> Sourced {
    let spans = demand.spans_per_trace;
    let points = figures::REDIS_BYTES.map(plain);
    let [(fewer, less), (more, most)] = segment(&points, spans);
    let per_span = (more * most - fewer * less) / (more - fewer);
    let per_trace = fewer * less - fewer * per_span;
    let [whole, scattered] = figures::BYTES_OF_FRAGMENTS.map(|figure| figure.value);
    let per_fragment = (scattered - whole) / (FRAGMENTS - 1.0);
    let payload = per_span * spans * demand.bytes_per_span / figures::BYTES_PER_SPAN;
    Sourced {
        value: per_trace + payload + per_fragment * (demand.fragments() - 1.0),
        source: {
            let [of_2, of_10, of_100] = figures::REDIS_BYTES.map(|(_, figure)| figure);
            let [whole, scattered] = figures::BYTES_OF_FRAGMENTS;
            page(&[of_2, of_10, of_100, whole, scattered])
        },
    }
}

/// A value at `x` of measured points, by growing `x`: between them, and beyond, it is straight in 1/`x`, since it
/// is made of something for each span and something for what `x` spans share.
fn at(points: &[(f64, f64)], x: f64) -> f64 {
    let [(left, first), (right, second)] = segment(points, x);
    let share = (1.0 / x - 1.0 / left) / (1.0 / right - 1.0 / left);
    (first + (second - first) * share).max(0.0)
}

/// The two points that `x` lies between, or the two nearest ones.
fn segment(points: &[(f64, f64)], x: f64) -> [(f64, f64); 2] {
    let right = points.iter().skip(1).position(|(size, _)| x <= *size).unwrap_or(points.len() - 2);
    [points[right], points[right + 1]]
}

fn plain((size, figure): (f64, Figure)) -> (f64, f64) {
    (size, figure.value)
}

fn sourced(figure: Figure) -> Sourced {
    Sourced { value: figure.value, source: page(&[figure]) }
}

fn page(figures: &[Figure]) -> Source {
    Source::Page(figures.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn between_measured_points_a_value_is_straight_in_the_inverse() {
        let points = [(2.0, 5.0), (10.0, 1.0)];
        assert_eq!(at(&points, 2.0), 5.0);
        assert!((at(&points, 10.0) - 1.0).abs() < 1e-9);
        // 10 µs of what is shared and nothing else.
        assert!((at(&points, 5.0) - 2.0).abs() < 1e-9);
        assert!((at(&points, 1.0) - 10.0).abs() < 1e-9);
        assert!(at(&points, 1_000.0) < 0.011);
    }
}
