//! A span of this process while it is under way, and who begins one.

use std::{fmt, future::Future, sync::Arc};

use ::http::HeaderMap;
use opentelemetry::{
    Context, KeyValue, Value,
    propagation::TextMapPropagator as _,
    trace::{FutureExt as _, SpanBuilder, SpanId, Status, TraceContextExt as _, TraceId, Tracer as _},
};
use opentelemetry_http::{HeaderExtractor, HeaderInjector};
use opentelemetry_sdk::{propagation::TraceContextPropagator, trace::SdkTracer};

pub use opentelemetry::trace::SpanKind;

/// Begins spans of this process, or none at all. Cheap to clone.
///
/// `Display` says where they go, or `off`.
#[derive(Debug, Clone, Default)]
pub struct Tracer {
    tracer: Option<SdkTracer>,
    target: Option<Arc<str>>,
}

impl Tracer {
    pub(super) fn new(tracer: SdkTracer, target: Arc<str>) -> Self {
        Self { tracer: Some(tracer), target: Some(target) }
    }

    /// Whether this process is traced.
    pub fn is_on(&self) -> bool {
        self.tracer.is_some()
    }

    /// Begins the span of a request that came with these headers, under the span that they name by W3C Trace
    /// Context. `None` where nothing is traced.
    pub fn server(&self, headers: &HeaderMap) -> Option<Span> {
        let tracer = self.tracer.as_ref()?;
        let parent =
            TraceContextPropagator::new().extract_with_context(&Context::new(), &HeaderExtractor(headers));
        Some(Span::begin(tracer, SpanKind::Server, &parent))
    }

    /// Begins a span under the one that the caller runs in. `None` where nothing is traced, where there is
    /// no such span, or where it is not recorded.
    pub fn child(&self, kind: SpanKind) -> Option<Span> {
        let tracer = self.tracer.as_ref()?;
        Context::map_current(|parent| parent.span().is_recording().then(|| Span::begin(tracer, kind, parent)))
    }

    /// Names a span to whom a request goes, by W3C Trace Context: `span`, otherwise the one that the caller
    /// runs in, which says that it is not recorded when it is not.
    pub fn propagate(&self, span: Option<&Span>, headers: &mut HeaderMap) {
        if !self.is_on() {
            return;
        }
        let mut inject = |context: &Context| {
            TraceContextPropagator::new().inject_context(context, &mut HeaderInjector(headers));
        };
        match span {
            Some(span) => inject(&span.context),
            None => Context::map_current(inject),
        }
    }
}

impl fmt::Display for Tracer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.target.as_deref().unwrap_or("off"))
    }
}

/// A span under way. It ends when it is dropped, and what ran in it with it.
pub struct Span {
    context: Context,
}

impl Span {
    fn begin(tracer: &SdkTracer, kind: SpanKind, parent: &Context) -> Self {
        // Named by whoever knows what it is, if it is recorded: then that costs the others nothing.
        let builder = SpanBuilder::from_name("request").with_kind(kind);
        Self { context: parent.with_span(tracer.build_with_context(builder, parent)) }
    }

    /// Runs a future in this span: spans that begin in it are its children, and logs name it.
    pub fn run<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        future.with_context(self.context.clone())
    }

    /// Whether anybody will see it. Otherwise there is no need to describe it.
    pub fn is_recording(&self) -> bool {
        self.context.span().is_recording()
    }

    /// Adds an attribute.
    pub fn set(&self, key: &'static str, value: impl Into<Value>) {
        self.context.span().set_attribute(KeyValue::new(key, value));
    }

    /// Says that it failed, and of what kind the failure is (`error.type`).
    pub fn fail(&self, kind: impl Into<Value>) {
        self.set("error.type", kind);
        self.context.span().set_status(Status::error(""));
    }

    pub(super) fn rename(&self, name: String) {
        self.context.span().update_name(name);
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let span = self.context.span();
        formatter.debug_tuple("Span").field(&span.span_context()).finish()
    }
}

/// The ids of the trace and of the span that the caller runs in, recorded or not.
pub(crate) fn current_ids() -> Option<(TraceId, SpanId)> {
    Context::map_current(|context| {
        let span = context.span();
        let span = span.span_context();
        span.is_valid().then(|| (span.trace_id(), span.span_id()))
    })
}
