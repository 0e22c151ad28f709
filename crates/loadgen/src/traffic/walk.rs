//! One request's way through the shop, as the spans and logs it leaves behind.

use otlp_proto::opentelemetry::proto::{
    common::v1::KeyValue,
    logs::v1::{LogRecord, SeverityNumber},
    trace::v1::{Span, Status, span::SpanKind, status::StatusCode},
};
use rand::{Rng as _, rngs::StdRng};

use super::{
    attribute,
    shop::{Call, ENTRIES, Operation},
    string,
};

/// Telemetry of one trace, each piece with the service that sends it.
pub(super) struct Trace {
    pub(super) id: [u8; 16],
    pub(super) spans: Vec<(&'static str, Span)>,
    pub(super) logs: Vec<(&'static str, LogRecord)>,
    pub(super) has_error: bool,
}

/// Sends one random request through the shop, beginning at `start` in nanoseconds since 1970.
pub(super) fn trace(random: &mut StdRng, start: u64) -> Trace {
    let entry = entry(random);
    let mut walk = Walk {
        trace: Trace { id: random.random(), spans: Vec::new(), logs: Vec::new(), has_error: false },
        user: format!("user-{}", random.random_range(1..=500)),
        order: format!("order-{:08x}", random.random::<u32>()),
        now: start,
        random,
    };
    // A failure fails everything above it.
    walk.trace.has_error = walk.serve(entry, &[]).is_err();
    walk.trace
}

fn entry(random: &mut StdRng) -> &'static Operation {
    let total = ENTRIES.iter().map(|(_, weight)| weight).sum();
    let mut point: u32 = random.random_range(0..total);
    for (operation, weight) in ENTRIES {
        if point < weight {
            return operation;
        }
        point -= weight;
    }
    unreachable!("the point lies below the sum of the weights")
}

struct Walk<'a> {
    random: &'a mut StdRng,
    trace: Trace,
    user: String,
    order: String,
    /// Nanoseconds since 1970; the whole request is one line of time.
    now: u64,
}

impl Walk<'_> {
    /// Does an operation on the server's side; says why when it failed.
    fn serve(&mut self, operation: &'static Operation, parent: &[u8]) -> Result<(), &'static str> {
        let span_id = self.span_id();
        let start = self.now;
        let mut logs = operation.logs.iter();
        self.work(operation);
        if let Some(text) = logs.next() {
            self.log(operation.service, &span_id, SeverityNumber::Info, text);
        }
        let mut outcome = self.call_others(operation, &span_id);
        if outcome.is_ok() && self.random.random_ratio(operation.fails_per_mille, 1_000) {
            outcome = Err(operation.failure);
        }
        self.work(operation);
        match outcome {
            Ok(()) => {
                for text in logs {
                    self.log(operation.service, &span_id, SeverityNumber::Info, text);
                }
            }
            Err(failure) => {
                self.log(operation.service, &span_id, SeverityNumber::Error, failure);
            }
        }
        let attributes = vec![attribute("user.id", &self.user), attribute("order.id", &self.order)];
        let span = Span {
            name: operation.name.to_owned(),
            kind: SpanKind::Server.into(),
            attributes,
            ..self.span(&span_id, parent, start, outcome)
        };
        self.trace.spans.push((operation.service, span));
        outcome
    }

    fn call_others(&mut self, operation: &'static Operation, span_id: &[u8]) -> Result<(), &'static str> {
        for call in operation.calls {
            match call {
                Call::Service(callee, percent) => {
                    if self.random.random_ratio(*percent, 100) {
                        self.call(operation.service, callee, span_id)?;
                    }
                }
                Call::Database(system, statement, time_us) => {
                    self.query(operation.service, system, statement, *time_us, span_id);
                }
            }
        }
        Ok(())
    }

    /// Calls another service: the client's span around the server's.
    fn call(
        &mut self,
        service: &'static str,
        callee: &'static Operation,
        parent: &[u8],
    ) -> Result<(), &'static str> {
        let span_id = self.span_id();
        let start = self.now;
        self.pass((50, 300));
        let outcome = self.serve(callee, &span_id);
        self.pass((50, 300));
        let span = Span {
            name: callee.name.to_owned(),
            kind: SpanKind::Client.into(),
            attributes: vec![attribute("server.address", callee.service), attribute("rpc.system", "grpc")],
            ..self.span(&span_id, parent, start, outcome)
        };
        self.trace.spans.push((service, span));
        outcome
    }

    fn query(
        &mut self,
        service: &'static str,
        system: &str,
        statement: &str,
        time_us: (u64, u64),
        parent: &[u8],
    ) {
        let span_id = self.span_id();
        let start = self.now;
        self.pass(time_us);
        let attributes: Vec<KeyValue> =
            vec![attribute("db.system.name", system), attribute("db.query.text", statement)];
        let span = Span {
            name: statement.split(' ').next().unwrap_or(system).to_owned(),
            kind: SpanKind::Client.into(),
            attributes,
            ..self.span(&span_id, parent, start, Ok(()))
        };
        self.trace.spans.push((service, span));
    }

    /// A span that ends now.
    fn span(&self, span_id: &[u8], parent: &[u8], start: u64, outcome: Result<(), &'static str>) -> Span {
        let status = outcome
            .err()
            .map(|failure| Status { message: failure.to_owned(), code: StatusCode::Error.into() });
        Span {
            trace_id: self.trace.id.to_vec(),
            span_id: span_id.to_vec(),
            parent_span_id: parent.to_vec(),
            // Sampled: W3C Trace Context, "trace-flags".
            flags: 1,
            start_time_unix_nano: start,
            end_time_unix_nano: self.now,
            status,
            ..Span::default()
        }
    }

    fn log(&mut self, service: &'static str, span_id: &[u8], severity: SeverityNumber, text: &str) {
        let body = text.replace("{user}", &self.user).replace("{order}", &self.order);
        let record = LogRecord {
            time_unix_nano: self.now,
            observed_time_unix_nano: self.now,
            severity_number: severity.into(),
            severity_text: if severity == SeverityNumber::Error { "ERROR" } else { "INFO" }.to_owned(),
            body: Some(string(&body)),
            attributes: vec![attribute("order.id", &self.order)],
            flags: 1,
            trace_id: self.trace.id.to_vec(),
            span_id: span_id.to_vec(),
            ..LogRecord::default()
        };
        self.trace.logs.push((service, record));
    }

    /// An operation works before and after it calls others.
    fn work(&mut self, operation: &Operation) {
        let (least, most) = operation.work_us;
        self.pass((least / 2, most / 2));
    }

    fn pass(&mut self, (least_us, most_us): (u64, u64)) {
        self.now += self.random.random_range(least_us..=most_us) * 1_000;
    }

    fn span_id(&mut self) -> [u8; 8] {
        self.random.random()
    }
}
