//! Traces of the process itself, by OpenTelemetry: off until its variables name an endpoint.
//!
//! A [`Tracer`] is an `Option`: where nothing is traced, a request costs one look at it. Spans are begun at
//! the few places that ask for one, by the OpenTelemetry API, and not by `tracing`: its spans would cost
//! every request also while nobody wants them, and would depend on `log.level`.

mod convention;
mod export;
mod http;
mod own_port;
mod span;
mod target;

pub use span::{Span, SpanKind, Tracer};

pub(crate) use export::Traces;
pub(crate) use span::current_ids;
pub(crate) use target::Target;
