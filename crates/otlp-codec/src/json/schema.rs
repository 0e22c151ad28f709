//! The OTLP messages as tables: number, JSON name and kind of each field.
//!
//! Taken from `proto/opentelemetry` (OTLP 1.11). A test compares the tables with the descriptors
//! of those files, so that an update of the files cannot leave the tables behind.

/// A message: its fields, ascending by number.
pub(super) struct Schema {
    pub(super) name: &'static str,
    pub(super) fields: &'static [Field],
}

pub(super) struct Field {
    pub(super) number: u32,
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) cardinality: Cardinality,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Cardinality {
    /// At most once; the default value is not written.
    Single,
    /// Any number of times, in JSON a list.
    Repeated,
    /// A member of the message's only oneof: at most one of them, written even as its default.
    OneOf,
}

#[derive(Clone, Copy)]
pub(super) enum Kind {
    Bool,
    Int32,
    Int64,
    Uint32,
    Fixed32,
    Fixed64,
    Double,
    String,
    Bytes,
    /// Bytes of this length or none, in JSON hexadecimal.
    Id(usize),
    /// The names of its values.
    Enum(&'static [(&'static str, i32)]),
    Message(&'static Schema),
}

impl Field {
    /// Whether setting one unsets the other.
    pub(super) fn excludes(&self, other: &Self) -> bool {
        self.slot() == other.slot()
    }

    /// A bit for what a message can hold once: this field, or one of the members of its oneof.
    #[inline]
    pub(super) fn slot(&self) -> u32 {
        if self.cardinality == Cardinality::OneOf { 1 } else { 1 << self.number }
    }

    /// Whether a text begins with the name and the quote behind it.
    #[inline]
    pub(super) fn is_named_at(&self, text: &[u8]) -> bool {
        let name = self.name.as_bytes();
        text.get(name.len()) == Some(&b'"') && text.starts_with(name)
    }
}

const fn single(number: u32, name: &'static str, kind: Kind) -> Field {
    Field { number, name, kind, cardinality: Cardinality::Single }
}

const fn repeated(number: u32, name: &'static str, kind: Kind) -> Field {
    Field { number, name, kind, cardinality: Cardinality::Repeated }
}

const fn one_of(number: u32, name: &'static str, kind: Kind) -> Field {
    Field { number, name, kind, cardinality: Cardinality::OneOf }
}

/// Defines the static table of a message.
macro_rules! schema {
    ($(#[$attribute:meta])* $table:ident, $name:literal, [$($field:expr),* $(,)?]) => {
        $(#[$attribute])*
        pub(super) static $table: Schema = Schema { name: $name, fields: &[$($field),*] };
    };
}

use Kind::{Bool, Bytes, Double, Enum, Fixed32, Fixed64, Id, Int32, Int64, Message, String, Uint32};

const TRACE_ID: Kind = Id(16);
const SPAN_ID: Kind = Id(8);

schema!(
    EXPORT_TRACE_SERVICE_REQUEST,
    "ExportTraceServiceRequest",
    [repeated(1, "resourceSpans", Message(&RESOURCE_SPANS)),]
);

schema!(
    EXPORT_LOGS_SERVICE_REQUEST,
    "ExportLogsServiceRequest",
    [repeated(1, "resourceLogs", Message(&RESOURCE_LOGS)),]
);

schema!(
    EXPORT_TRACE_SERVICE_RESPONSE,
    "ExportTraceServiceResponse",
    [single(1, "partialSuccess", Message(&EXPORT_TRACE_PARTIAL_SUCCESS)),]
);

schema!(
    EXPORT_TRACE_PARTIAL_SUCCESS,
    "ExportTracePartialSuccess",
    [single(1, "rejectedSpans", Int64), single(2, "errorMessage", String),]
);

schema!(
    EXPORT_LOGS_SERVICE_RESPONSE,
    "ExportLogsServiceResponse",
    [single(1, "partialSuccess", Message(&EXPORT_LOGS_PARTIAL_SUCCESS)),]
);

schema!(
    EXPORT_LOGS_PARTIAL_SUCCESS,
    "ExportLogsPartialSuccess",
    [single(1, "rejectedLogRecords", Int64), single(2, "errorMessage", String),]
);

schema!(TRACES_DATA, "TracesData", [repeated(1, "resourceSpans", Message(&RESOURCE_SPANS)),]);

schema!(LOGS_DATA, "LogsData", [repeated(1, "resourceLogs", Message(&RESOURCE_LOGS)),]);

schema!(
    RESOURCE_SPANS,
    "ResourceSpans",
    [
        single(1, "resource", Message(&RESOURCE)),
        repeated(2, "scopeSpans", Message(&SCOPE_SPANS)),
        single(3, "schemaUrl", String),
    ]
);

schema!(
    SCOPE_SPANS,
    "ScopeSpans",
    [
        single(1, "scope", Message(&INSTRUMENTATION_SCOPE)),
        repeated(2, "spans", Message(&SPAN)),
        single(3, "schemaUrl", String),
    ]
);

schema!(
    SPAN,
    "Span",
    [
        single(1, "traceId", TRACE_ID),
        single(2, "spanId", SPAN_ID),
        single(3, "traceState", String),
        single(4, "parentSpanId", SPAN_ID),
        single(5, "name", String),
        single(6, "kind", Enum(SPAN_KINDS)),
        single(7, "startTimeUnixNano", Fixed64),
        single(8, "endTimeUnixNano", Fixed64),
        repeated(9, "attributes", Message(&KEY_VALUE)),
        single(10, "droppedAttributesCount", Uint32),
        repeated(11, "events", Message(&EVENT)),
        single(12, "droppedEventsCount", Uint32),
        repeated(13, "links", Message(&LINK)),
        single(14, "droppedLinksCount", Uint32),
        single(15, "status", Message(&SPAN_STATUS)),
        single(16, "flags", Fixed32),
    ]
);

schema!(
    EVENT,
    "Event",
    [
        single(1, "timeUnixNano", Fixed64),
        single(2, "name", String),
        repeated(3, "attributes", Message(&KEY_VALUE)),
        single(4, "droppedAttributesCount", Uint32),
    ]
);

schema!(
    LINK,
    "Link",
    [
        single(1, "traceId", TRACE_ID),
        single(2, "spanId", SPAN_ID),
        single(3, "traceState", String),
        repeated(4, "attributes", Message(&KEY_VALUE)),
        single(5, "droppedAttributesCount", Uint32),
        single(6, "flags", Fixed32),
    ]
);

schema!(SPAN_STATUS, "Status", [single(2, "message", String), single(3, "code", Enum(STATUS_CODES)),]);

schema!(
    RESOURCE_LOGS,
    "ResourceLogs",
    [
        single(1, "resource", Message(&RESOURCE)),
        repeated(2, "scopeLogs", Message(&SCOPE_LOGS)),
        single(3, "schemaUrl", String),
    ]
);

schema!(
    SCOPE_LOGS,
    "ScopeLogs",
    [
        single(1, "scope", Message(&INSTRUMENTATION_SCOPE)),
        repeated(2, "logRecords", Message(&LOG_RECORD)),
        single(3, "schemaUrl", String),
    ]
);

schema!(
    LOG_RECORD,
    "LogRecord",
    [
        single(1, "timeUnixNano", Fixed64),
        single(2, "severityNumber", Enum(SEVERITY_NUMBERS)),
        single(3, "severityText", String),
        single(5, "body", Message(&ANY_VALUE)),
        repeated(6, "attributes", Message(&KEY_VALUE)),
        single(7, "droppedAttributesCount", Uint32),
        single(8, "flags", Fixed32),
        single(9, "traceId", TRACE_ID),
        single(10, "spanId", SPAN_ID),
        single(11, "observedTimeUnixNano", Fixed64),
        single(12, "eventName", String),
    ]
);

schema!(
    RESOURCE,
    "Resource",
    [
        repeated(1, "attributes", Message(&KEY_VALUE)),
        single(2, "droppedAttributesCount", Uint32),
        repeated(3, "entityRefs", Message(&ENTITY_REF)),
    ]
);

schema!(
    ENTITY_REF,
    "EntityRef",
    [
        single(1, "schemaUrl", String),
        single(2, "type", String),
        repeated(3, "idKeys", String),
        repeated(4, "descriptionKeys", String),
    ]
);

schema!(
    INSTRUMENTATION_SCOPE,
    "InstrumentationScope",
    [
        single(1, "name", String),
        single(2, "version", String),
        repeated(3, "attributes", Message(&KEY_VALUE)),
        single(4, "droppedAttributesCount", Uint32),
    ]
);

schema!(
    KEY_VALUE,
    "KeyValue",
    [single(1, "key", String), single(2, "value", Message(&ANY_VALUE)), single(3, "keyStrindex", Int32),]
);

schema!(
    ANY_VALUE,
    "AnyValue",
    [
        one_of(1, "stringValue", String),
        one_of(2, "boolValue", Bool),
        one_of(3, "intValue", Int64),
        one_of(4, "doubleValue", Double),
        one_of(5, "arrayValue", Message(&ARRAY_VALUE)),
        one_of(6, "kvlistValue", Message(&KEY_VALUE_LIST)),
        one_of(7, "bytesValue", Bytes),
        one_of(8, "stringValueStrindex", Int32),
    ]
);

schema!(ARRAY_VALUE, "ArrayValue", [repeated(1, "values", Message(&ANY_VALUE)),]);

schema!(KEY_VALUE_LIST, "KeyValueList", [repeated(1, "values", Message(&KEY_VALUE)),]);

schema!(
    /// `google.rpc.Status`; `details` is left out on purpose.
    STATUS_RPC, "Status", [
    single(1, "code", Int32),
    single(2, "message", String),
]);

const SPAN_KINDS: &[(&str, i32)] = &[
    ("SPAN_KIND_UNSPECIFIED", 0),
    ("SPAN_KIND_INTERNAL", 1),
    ("SPAN_KIND_SERVER", 2),
    ("SPAN_KIND_CLIENT", 3),
    ("SPAN_KIND_PRODUCER", 4),
    ("SPAN_KIND_CONSUMER", 5),
];

const STATUS_CODES: &[(&str, i32)] =
    &[("STATUS_CODE_UNSET", 0), ("STATUS_CODE_OK", 1), ("STATUS_CODE_ERROR", 2)];

const SEVERITY_NUMBERS: &[(&str, i32)] = &[
    ("SEVERITY_NUMBER_UNSPECIFIED", 0),
    ("SEVERITY_NUMBER_TRACE", 1),
    ("SEVERITY_NUMBER_TRACE2", 2),
    ("SEVERITY_NUMBER_TRACE3", 3),
    ("SEVERITY_NUMBER_TRACE4", 4),
    ("SEVERITY_NUMBER_DEBUG", 5),
    ("SEVERITY_NUMBER_DEBUG2", 6),
    ("SEVERITY_NUMBER_DEBUG3", 7),
    ("SEVERITY_NUMBER_DEBUG4", 8),
    ("SEVERITY_NUMBER_INFO", 9),
    ("SEVERITY_NUMBER_INFO2", 10),
    ("SEVERITY_NUMBER_INFO3", 11),
    ("SEVERITY_NUMBER_INFO4", 12),
    ("SEVERITY_NUMBER_WARN", 13),
    ("SEVERITY_NUMBER_WARN2", 14),
    ("SEVERITY_NUMBER_WARN3", 15),
    ("SEVERITY_NUMBER_WARN4", 16),
    ("SEVERITY_NUMBER_ERROR", 17),
    ("SEVERITY_NUMBER_ERROR2", 18),
    ("SEVERITY_NUMBER_ERROR3", 19),
    ("SEVERITY_NUMBER_ERROR4", 20),
    ("SEVERITY_NUMBER_FATAL", 21),
    ("SEVERITY_NUMBER_FATAL2", 22),
    ("SEVERITY_NUMBER_FATAL3", 23),
    ("SEVERITY_NUMBER_FATAL4", 24),
];

#[cfg(test)]
mod tests;
