//! The span of one attempt to call an engine, where this process is traced.

use std::{future::Future, net::SocketAddr};

use service_lifecycle::{Span, SpanKind, Tracer};
use tonic::{Code, Response, Status, metadata::MetadataMap};

/// Which attempt it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ordinal {
    /// How many engines were called before for the same request.
    pub(super) earlier: usize,
    /// It was called although another one may still answer.
    pub(super) is_hedge: bool,
}

/// One attempt. What is dropped without an answer was abandoned.
pub(super) struct Attempt {
    span: Option<Span>,
    is_answered: bool,
}

impl Attempt {
    /// Begins it, and lets the engine know of it.
    pub(super) fn begin(
        tracer: &Tracer,
        path: &str,
        engine: SocketAddr,
        ordinal: Ordinal,
        metadata: &mut MetadataMap,
    ) -> Self {
        let span = tracer.child(SpanKind::Client);
        if let Some(span) = &span {
            span.describe_rpc(path);
            span.set("server.address", engine.ip().to_string());
            span.set("server.port", i64::from(engine.port()));
            if ordinal.earlier > 0 {
                let resend = i64::try_from(ordinal.earlier).unwrap_or(i64::MAX);
                span.set("correlation.attempt.resend_count", resend);
                span.set("correlation.attempt.hedge", ordinal.is_hedge);
            }
        }
        tracer.propagate(span.as_ref(), metadata.as_mut());
        Self { span, is_answered: false }
    }

    /// Waits for the answer.
    pub(super) async fn run<Answer>(
        mut self,
        answering: impl Future<Output = Result<Response<Answer>, Status>>,
    ) -> Result<Response<Answer>, Status> {
        let Some(span) = &self.span else { return answering.await };
        let answer = span.run(answering).await;
        let code = answer.as_ref().map_or_else(|status| status.code(), |_| Code::Ok);
        span.got_rpc(code.into());
        self.is_answered = true;
        answer
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Some(span) = self.span.as_ref().filter(|_| !self.is_answered) {
            span.set("correlation.attempt.abandoned", true);
        }
    }
}
