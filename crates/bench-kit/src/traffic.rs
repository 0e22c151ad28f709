//! Seeded OTLP requests: spans of about 450 bytes with ten attributes, as an HTTP service sends them.
//!
//! Ids are random and names come from small vocabularies, so that they compress like real ones.

use otlp_proto::opentelemetry::proto::{
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value},
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span, Status, TracesData, span::SpanKind, status::StatusCode},
};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};

/// 2026-01-01T00:00:00Z.
const START_UNIX_NANO: u64 = 1_767_225_600_000_000_000;

const SERVICES: [&str; 10] = [
    "frontend",
    "cart",
    "checkout",
    "payment",
    "shipping",
    "catalog",
    "recommendation",
    "accounts",
    "inventory",
    "email",
];
const METHODS: [&str; 4] = ["GET", "GET", "POST", "PUT"];
const ROUTES: [&str; 8] = [
    "/api/v1/orders/{id}",
    "/api/v1/carts/{id}/items",
    "/api/v1/products/{id}",
    "/api/v1/users/{id}",
    "/api/v1/payments/{id}",
    "/api/v1/shipments/{id}",
    "/api/v1/stock/{id}",
    "/api/v1/mails/{id}",
];
const AGENTS: [&str; 4] =
    ["okhttp/4.12.0", "Apache-HttpClient/5.3.1", "python-requests/2.32.3", "Go-http-client/2.0"];

/// How the spans of traces lie in requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    /// Traces in a request.
    pub traces: usize,
    /// Spans of each trace in a request.
    pub spans: usize,
    /// Requests over which each trace is scattered, each from another service.
    pub requests: usize,
}

impl Shape {
    /// Requests of 1,000 spans, each trace whole.
    pub const TOGETHER: Self = Self { traces: 100, spans: 10, requests: 1 };
    /// Requests of 1,000 spans, each trace of ten spans over five of them.
    pub const SCATTERED: Self = Self { traces: 500, spans: 2, requests: 5 };
    /// Requests of 1,000 spans, each trace whole: the large ones of a Collector.
    pub const LARGE: Self = Self::TOGETHER;
    /// Requests of 20 spans, each trace whole: the small ones of an SDK.
    pub const SMALL: Self = Self { traces: 2, spans: 10, requests: 1 };
    /// A request of one trace of ten spans.
    pub const ALONE: Self = Self { traces: 1, spans: 10, requests: 1 };
    /// A request of many traces of one span.
    pub const SINGLE: Self = Self { traces: 1_000, spans: 1, requests: 1 };
}

/// Makes requests; the same seed makes the same ones.
#[derive(Debug)]
pub struct Traffic {
    random: StdRng,
    now_unix_nano: u64,
}

impl Traffic {
    pub fn new(seed: u64) -> Self {
        Self { random: StdRng::seed_from_u64(seed), now_unix_nano: START_UNIX_NANO }
    }

    /// The requests over which some traces are scattered.
    pub fn group(&mut self, shape: Shape) -> Vec<TracesData> {
        let first = self.random.random_range(0..SERVICES.len());
        let traces: Vec<Trace> = (0..shape.traces).map(|_| self.trace()).collect();
        (0..shape.requests)
            .map(|request| {
                let service = SERVICES[(first + request) % SERVICES.len()];
                let spans = traces.iter().flat_map(|trace| {
                    (0..shape.spans).map(|span| (trace, (request, span) == (0, 0))).collect::<Vec<_>>()
                });
                let spans = spans.map(|(trace, is_root)| self.span(trace, is_root)).collect();
                self.request(service, spans)
            })
            .collect()
    }

    fn request(&mut self, service: &str, spans: Vec<Span>) -> TracesData {
        let instance = self.random.random_range(0..4_u8);
        TracesData {
            resource_spans: vec![ResourceSpans {
                resource: Some(resource(service, instance)),
                scope_spans: vec![ScopeSpans { scope: Some(scope()), spans, ..ScopeSpans::default() }],
                ..ResourceSpans::default()
            }],
        }
    }

    fn trace(&mut self) -> Trace {
        self.now_unix_nano += self.random.random_range(10_000..1_000_000);
        Trace { id: self.random.random(), root: self.random.random(), start: self.now_unix_nano }
    }

    fn span(&mut self, trace: &Trace, is_root: bool) -> Span {
        let random = &mut self.random;
        let mut choose = |words: &[&'static str]| *words.choose(random).expect("no vocabulary is empty");
        let (method, route, agent) = (choose(&METHODS), choose(&ROUTES), choose(&AGENTS));
        let server = choose(&SERVICES);
        let has_error = random.random_ratio(1, 100);
        let path = route.replace("{id}", &random.random_range(1_000_000..10_000_000_u32).to_string());
        let peer = format!("10.42.{}.{}", random.random_range(0..8_u8), random.random::<u8>());
        let attributes = vec![
            text("http.request.method", method),
            text("http.route", route),
            text("url.path", &path),
            number("http.response.status_code", if has_error { 500 } else { 200 }),
            text("server.address", &format!("{server}.shop.svc.cluster.local")),
            number("server.port", 8_080),
            text("network.peer.address", &peer),
            text("user_agent.original", agent),
            text("enduser.id", &format!("user-{:08x}", random.random::<u32>())),
            text("thread.name", &format!("http-nio-8080-exec-{}", random.random_range(1..=200_u8))),
        ];
        let start = trace.start + random.random_range(0..50_000_000);
        let (span_id, parent) =
            if is_root { (trace.root, None) } else { (random.random(), Some(trace.root)) };
        Span {
            trace_id: trace.id.to_vec(),
            span_id: span_id.to_vec(),
            parent_span_id: parent.map(Vec::from).unwrap_or_default(),
            // Sampled: W3C Trace Context, "trace-flags".
            flags: 1,
            name: format!("{method} {route}"),
            kind: SpanKind::Server.into(),
            start_time_unix_nano: start,
            end_time_unix_nano: start + random.random_range(100_000..20_000_000),
            attributes,
            status: has_error
                .then(|| Status { message: "upstream timed out".into(), code: StatusCode::Error.into() }),
            ..Span::default()
        }
    }
}

struct Trace {
    id: [u8; 16],
    root: [u8; 8],
    start: u64,
}

/// What a service says of itself.
pub fn resource(service: &str, instance: u8) -> Resource {
    let attributes = vec![
        text("service.name", service),
        text("service.namespace", "shop"),
        text("service.version", "2.14.1"),
        text("service.instance.id", &format!("{service}-6f7c9d8b5-{instance}")),
        text("deployment.environment.name", "production"),
        text("telemetry.sdk.name", "opentelemetry"),
        text("telemetry.sdk.language", "java"),
    ];
    Resource { attributes, ..Resource::default() }
}

/// Which library of it has recorded.
pub fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: "io.opentelemetry.tomcat-10.0".into(),
        version: "2.10.0".into(),
        ..InstrumentationScope::default()
    }
}

/// An attribute of text.
pub fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.into()))
}

fn number(key: &str, value: i64) -> KeyValue {
    attribute(key, Value::IntValue(value))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    #[test]
    fn spans_have_about_450_bytes_and_ten_attributes() {
        let request = &Traffic::new(1).group(Shape::TOGETHER)[0];
        let spans = &request.resource_spans[0].scope_spans[0].spans;
        assert_eq!(spans.len(), 1_000);
        assert!(spans.iter().all(|span| span.attributes.len() == 10));
        let average = spans.iter().map(Message::encoded_len).sum::<usize>() / spans.len();
        assert!((440..=460).contains(&average), "{average} bytes on average");
    }

    #[test]
    fn the_same_seed_makes_the_same_requests() {
        let requests = |seed| Traffic::new(seed).group(Shape::SCATTERED);
        assert_eq!(requests(1), requests(1));
        assert_ne!(requests(1), requests(2));
    }
}
