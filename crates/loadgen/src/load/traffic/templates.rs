//! The templates of all spans and log records.

use bench_kit::traffic::{Shape, Traffic, text};
use otlp_proto::opentelemetry::proto::{
    common::v1::{AnyValue, any_value::Value},
    logs::v1::{LogRecord, SeverityNumber},
    trace::v1::Span,
};

use super::{
    Encoding,
    part::Item,
    template::{BLANK, Template},
};
use crate::request::Signal;

/// Of each kind.
const TEMPLATES: usize = 256;

/// What services log; `#` stands for the number of an order.
const LOGS: [(&str, SeverityNumber); 8] = [
    ("order # received, 3 positions, checking stock in the nearest warehouse first", SeverityNumber::Info),
    ("GET /api/v1/orders/# answered 200 in 12 ms, 1,482 bytes, cache hit", SeverityNumber::Info),
    ("price of order # computed with 2 promotions: 118.40 EUR before taxes", SeverityNumber::Info),
    ("cart of order # locked for payment, version 7, expires in 900 s", SeverityNumber::Debug),
    ("charge for order # authorized by the provider, settlement follows within a day", SeverityNumber::Info),
    (
        "connection to inventory was reset while reserving order #, trying again in 50 ms",
        SeverityNumber::Warn,
    ),
    ("mail about order # queued behind 14 others, template order-confirmation-de", SeverityNumber::Info),
    ("upstream timed out after 2,000 ms for order #, giving up after 3 attempts", SeverityNumber::Error),
];

/// Templates in one encoding; the same for every seed.
#[derive(Debug)]
pub(super) struct Templates {
    roots: Vec<Template>,
    children: Vec<Template>,
    logs: Vec<Template>,
    encoding: Encoding,
}

impl Templates {
    /// # Errors
    /// When one cannot be encoded.
    pub(super) fn new(encoding: Encoding) -> anyhow::Result<Self> {
        let shape = Shape { traces: TEMPLATES, spans: 1, requests: 1 };
        let data = Traffic::new(0).group(shape);
        let spans = || data.iter().flat_map(|data| &data.resource_spans).flat_map(|it| &it.scope_spans);
        let spans = || spans().flat_map(|scope| &scope.spans);
        let render = |parent: &[u8]| {
            let blank = |span| Template::of_span(with_blanks(span, parent), encoding);
            spans().map(blank).collect::<anyhow::Result<_>>()
        };
        Ok(Self {
            roots: render(&[])?,
            children: render(BLANK.parent_span_id.as_ref().map_or(&[], |id| id.as_slice()))?,
            logs: (0..TEMPLATES)
                .map(|index| Template::of_log(log(index), encoding))
                .collect::<Result<_, _>>()?,
            encoding,
        })
    }

    /// Length of the longest one of a signal.
    pub(super) fn len_max(&self, signal: Signal) -> usize {
        let templates = match signal {
            Signal::Traces => &self.children,
            Signal::Logs => &self.logs,
        };
        templates.iter().map(Template::len).max().unwrap_or_default()
    }

    /// Appends the span or record that belongs to an item.
    pub(super) fn append(&self, signal: Signal, item: &Item, body: &mut bytes::BytesMut) {
        let templates = match (signal, item.parent_span_id) {
            (Signal::Traces, None) => &self.roots,
            (Signal::Traces, Some(_)) => &self.children,
            (Signal::Logs, _) => &self.logs,
        };
        templates[item.choice as usize % TEMPLATES].append(item, self.encoding, body);
    }
}

fn with_blanks(span: &Span, parent_span_id: &[u8]) -> Span {
    Span {
        trace_id: BLANK.trace_id.into(),
        span_id: BLANK.span_id.into(),
        parent_span_id: parent_span_id.into(),
        start_time_unix_nano: BLANK.time_unix_nano,
        end_time_unix_nano: BLANK.end_unix_nano,
        ..span.clone()
    }
}

fn log(index: usize) -> LogRecord {
    let (body, severity) = LOGS[index % LOGS.len()];
    let order = format!("{}", 1_000_000 + index * 7_919);
    let body = Value::StringValue(body.replace('#', &order));
    LogRecord {
        time_unix_nano: BLANK.time_unix_nano,
        observed_time_unix_nano: BLANK.end_unix_nano,
        severity_number: severity.into(),
        severity_text: severity.as_str_name().trim_start_matches("SEVERITY_NUMBER_").to_owned(),
        body: Some(AnyValue { value: Some(body) }),
        attributes: vec![
            text("log.iostream", "stdout"),
            text("k8s.container.name", "server"),
            text("thread.name", &format!("http-nio-8080-exec-{}", index % 200)),
        ],
        // Sampled: W3C Trace Context, "trace-flags".
        flags: 1,
        trace_id: BLANK.trace_id.into(),
        span_id: BLANK.span_id.into(),
        ..LogRecord::default()
    }
}
