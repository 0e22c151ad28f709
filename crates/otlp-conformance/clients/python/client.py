"""Sends one trace with the official exporter and prints it as JSON, as the SDK holds it.

Usage: client.py grpc|http
Where to send it and how it is compressed is for the environment to say: OTEL_EXPORTER_OTLP_*.
"""

import json
import sys

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

# What a SpanKind of the API is on the wire.
KINDS = {
    SpanKind.INTERNAL: 1,
    SpanKind.SERVER: 2,
    SpanKind.CLIENT: 3,
    SpanKind.PRODUCER: 4,
    SpanKind.CONSUMER: 5,
}
CODES = {StatusCode.UNSET: 0, StatusCode.OK: 1, StatusCode.ERROR: 2}


def exporter(protocol):
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    else:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    return OTLPSpanExporter()


def attributes(of):
    return {key: list(value) if isinstance(value, tuple) else value for key, value in (of or {}).items()}


def as_json(span):
    return {
        "spanId": f"{span.context.span_id:016x}",
        "parentSpanId": f"{span.parent.span_id:016x}" if span.parent else "",
        "name": span.name,
        "kind": KINDS[span.kind],
        "startTimeUnixNano": str(span.start_time),
        "endTimeUnixNano": str(span.end_time),
        "attributes": attributes(span.attributes),
        "events": [{"name": event.name, "attributes": attributes(event.attributes)} for event in span.events],
        "links": [
            {
                "traceId": f"{link.context.trace_id:032x}",
                "spanId": f"{link.context.span_id:016x}",
                "attributes": attributes(link.attributes),
            }
            for link in span.links
        ],
        "status": {"code": CODES[span.status.status_code], "message": span.status.description or ""},
    }


def main():
    provider = TracerProvider(resource=Resource.create({"service.name": "client-python"}))
    provider.add_span_processor(BatchSpanProcessor(exporter(sys.argv[1])))
    tracer = provider.get_tracer("conformance", "1.0")

    elsewhere = SpanContext(0x5B8EFFF798038103D269B633813FC60C, 0xEEE19B7EC3C1B174, True, TraceFlags(1))
    with tracer.start_as_current_span("GET /Grüße/世界 🚀", kind=SpanKind.SERVER) as root:
        root.set_attributes(
            {
                "text": "Größe 世界 🚀",
                "flag": True,
                "integer": -9007199254740993,
                "double": 2.5,
                "texts": ["a", "ü"],
                "flags": [True, False],
                "integers": [1, 2, 3],
                "doubles": [0.5, -1.25],
                "padding": "x" * 50_000,
            }
        )
        links = [Link(elsewhere, {"reason": "retry"})]
        with tracer.start_as_current_span("query", kind=SpanKind.CLIENT, links=links) as child:
            child.add_event("cache miss", {"key": "ключ", "attempt": 2})
            child.set_status(Status(StatusCode.ERROR, "no route to höst"))
        with tracer.start_as_current_span("plain") as plain:
            plain.set_status(Status(StatusCode.OK))

    spans = [as_json(span) for span in (root, child, plain)]
    provider.shutdown()
    print(json.dumps({"traceId": f"{root.get_span_context().trace_id:032x}", "spans": spans}))


main()
