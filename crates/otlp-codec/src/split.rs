//! Cuts an export request into parts, one per trace or correlation key.

mod parts;
mod rejected;

use crate::{
    attributes::SplitOptions,
    envelope::{LOGS, TRACES},
    facts::Facts,
    identity::{self, LogHasher},
    log_record::{LOG_ATTRIBUTES, LogRecord},
    seeded::SeededMap,
    span::{SPAN_ATTRIBUTES, Span},
    wire::DecodeError,
};

use parts::Parts;
pub use rejected::{RejectReason, Rejected};

/// Most memory that the parts of one request may take: 1 GiB, sixteen times the largest request
/// that the OTLP specification recommends to accept.
///
/// Every part carries its resources, so a large resource over many traces multiplies a request.
pub const PARTS_BYTES_MAX: usize = 1 << 30;

/// An export request, cut.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Split {
    /// In order of first appearance.
    pub parts: Vec<Part>,
    /// Spans or log records in the request, the rejected ones included.
    pub received: u64,
    /// Spans that can never be kept.
    pub rejected: Rejected,
    /// Log records whose subject is named in the text of their body, and nowhere else.
    pub named_in_text: u64,
}

/// What the telemetry of a part has in common.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A trace id: not all zero.
    Trace([u8; 16]),
    /// A correlation key, for log records without a trace id.
    Key {
        /// One of the keys of [`SplitOptions::new`].
        name: String,
        /// Its value, at most 256 bytes and not empty.
        value: String,
    },
    /// Log records with neither a trace id nor a correlation key.
    None,
}

/// The spans or log records of one request that share a subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// What they share.
    pub subject: Subject,
    /// A `TracesData` or `LogsData`: the items in request order, each resource and scope message
    /// around its own, everything byte for byte as received.
    pub payload: Vec<u8>,
    /// One per item, in payload order.
    ///
    /// A span is named by its id and kind; a log record by a hash of resource, scope and record,
    /// plus the ordinal among equal ones of the request.
    pub identities: Vec<[u8; 16]>,
    /// What is known about them.
    pub facts: Facts,
}

/// Splits an encoded `ExportTraceServiceRequest` by trace.
///
/// A span whose ids are invalid is rejected, the others are kept. Only what identifies and
/// describes a span is decoded: attributes, events and links may hold anything.
///
/// # Errors
///
/// When a message, or a field that is read, is malformed: then nothing of the request is usable.
/// When the parts together would take more than [`PARTS_BYTES_MAX`].
pub fn split_traces(request: &[u8], options: &SplitOptions) -> Result<Split, DecodeError> {
    let mut parts = Parts::new(&TRACES, options);
    let mut received = 0;
    let mut rejected = Rejected::default();
    for resource in TRACES.resources(request) {
        for scope in parts.enter_resource(resource?)? {
            for slice in parts.enter_scope(scope?)? {
                let slice = slice?;
                received += 1;
                let span = Span::read(slice)?;
                let ids = match span.ids() {
                    Ok(ids) => ids,
                    Err(reason) => {
                        rejected.add(reason, &span);
                        continue;
                    }
                };
                let mut keys = Vec::new();
                options.find_keys("Span", slice, SPAN_ATTRIBUTES, &mut keys)?;
                let mut part = parts.part(Subject::Trace(ids.trace_id));
                part.add(slice, identity::of_span(ids.span_id, span.kind))?;
                part.add_keys(&keys);
                if ids.is_root {
                    part.offer_root(span.name);
                }
                let (start, end) = span.times();
                let facts = part.facts();
                facts.spans += 1;
                facts.errors += u32::from(span.is_error);
                facts.see_times(start, end);
            }
        }
    }
    Ok(Split { parts: parts.finish(), received, rejected, named_in_text: 0 })
}

/// Splits an encoded `ExportLogsServiceRequest` by trace, else by correlation key, else by what the
/// text of a body names.
///
/// No log record is rejected: one without any subject is kept under [`Subject::None`].
///
/// # Errors
///
/// Like [`split_traces`].
pub fn split_logs(request: &[u8], options: &SplitOptions) -> Result<Split, DecodeError> {
    let mut parts = Parts::new(&LOGS, options);
    let (mut received, mut named_in_text) = (0, 0);
    let mut equal_before = SeededMap::<u128, u32>::default();
    for resource in LOGS.resources(request) {
        let scopes = parts.enter_resource(resource?)?;
        let hasher = LogHasher::of_resource(parts.resource_head());
        for scope in scopes {
            let records = parts.enter_scope(scope?)?;
            let hasher = hasher.with_scope(parts.scope_head());
            for slice in records {
                let slice = slice?;
                received += 1;
                let record = LogRecord::read(slice)?;
                let mut keys = Vec::new();
                options.find_keys("LogRecord", slice, LOG_ATTRIBUTES, &mut keys)?;
                let subject = match record.trace_id() {
                    Some(trace_id) => Subject::Trace(trace_id),
                    None => match parts.key_subject(&keys) {
                        Subject::None => {
                            let subject = options.subject_in_text(slice, &mut keys)?;
                            named_in_text += u64::from(subject != Subject::None);
                            subject
                        }
                        of_key => of_key,
                    },
                };
                let hash = hasher.hash(slice.bytes);
                let ordinal = equal_before.entry(hash).or_default();
                let mut part = parts.part(subject);
                part.add(slice, identity::of_log(hash, *ordinal))?;
                part.add_keys(&keys);
                *ordinal += 1;
                let facts = part.facts();
                facts.logs += 1;
                facts.errors += u32::from(record.is_error());
                facts.see_times(record.time(), record.time());
            }
        }
    }
    Ok(Split { parts: parts.finish(), received, rejected: Rejected::default(), named_in_text })
}

#[cfg(test)]
mod tests;
