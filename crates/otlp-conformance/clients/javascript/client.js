// Sends one trace with the official exporter and prints it as JSON, as the SDK holds it; over HTTP as
// JSON also a log record of it.
//
// Usage: node client.js grpc|http|proto
// Where to send it and how it is compressed is for the environment to say: OTEL_EXPORTER_OTLP_*.
'use strict';

const { SpanKind, SpanStatusCode, TraceFlags, context, trace } = require('@opentelemetry/api');
const { OTLPLogExporter } = require('@opentelemetry/exporter-logs-otlp-http');
const { resourceFromAttributes } = require('@opentelemetry/resources');
const { BatchLogRecordProcessor, LoggerProvider } = require('@opentelemetry/sdk-logs');
const { BasicTracerProvider, BatchSpanProcessor } = require('@opentelemetry/sdk-trace-base');

function exporter(protocol) {
  const { OTLPTraceExporter } = require(`@opentelemetry/exporter-trace-otlp-${protocol}`);
  return new OTLPTraceExporter();
}

function nanos([seconds, nanos]) {
  return String(BigInt(seconds) * 1_000_000_000n + BigInt(nanos));
}

function asJson(span) {
  return {
    spanId: span.spanContext().spanId,
    parentSpanId: span.parentSpanContext?.spanId ?? '',
    name: span.name,
    // On the wire 0 is "unspecified", in the API it is INTERNAL.
    kind: span.kind + 1,
    startTimeUnixNano: nanos(span.startTime),
    endTimeUnixNano: nanos(span.endTime),
    attributes: span.attributes,
    events: span.events.map(({ name, attributes }) => ({ name, attributes: attributes ?? {} })),
    links: span.links.map(link => ({
      traceId: link.context.traceId,
      spanId: link.context.spanId,
      attributes: link.attributes ?? {},
    })),
    status: { code: span.status.code, message: span.status.message ?? '' },
  };
}

async function sendLog(resource, within) {
  const provider = new LoggerProvider({
    resource,
    processors: [new BatchLogRecordProcessor({ exporter: new OTLPLogExporter() })],
  });
  const record = { severityNumber: 17, body: 'Größe 世界 🚀', attributes: { key: 'ключ', attempt: 2 } };
  provider.getLogger('conformance').emit({ ...record, context: within });
  await provider.shutdown();
  return { ...record, spanId: trace.getSpanContext(within).spanId };
}

async function main() {
  const protocol = process.argv[2];
  const resource = resourceFromAttributes({ 'service.name': 'client-javascript' });
  const provider = new BasicTracerProvider({
    resource,
    spanProcessors: [new BatchSpanProcessor(exporter(protocol))],
  });
  const tracer = provider.getTracer('conformance', '1.0');

  const root = tracer.startSpan('GET /Grüße/世界 🚀', { kind: SpanKind.SERVER });
  root.setAttributes({
    text: 'Größe 世界 🚀',
    flag: true,
    integer: -42,
    double: 2.5,
    texts: ['a', 'ü'],
    flags: [true, false],
    integers: [1, 2, 3],
    doubles: [0.5, -1.25],
    padding: 'x'.repeat(50_000),
  });
  const within = trace.setSpan(context.active(), root);
  const elsewhere = {
    traceId: '5b8efff798038103d269b633813fc60c',
    spanId: 'eee19b7ec3c1b174',
    traceFlags: TraceFlags.SAMPLED,
    isRemote: true,
  };
  const links = [{ context: elsewhere, attributes: { reason: 'retry' } }];
  const child = tracer.startSpan('query', { kind: SpanKind.CLIENT, links }, within);
  child.addEvent('cache miss', { key: 'ключ', attempt: 2 });
  child.setStatus({ code: SpanStatusCode.ERROR, message: 'no route to höst' });
  child.end();
  const plain = tracer.startSpan('plain', {}, within);
  plain.setStatus({ code: SpanStatusCode.OK });
  plain.end();
  root.end();

  await provider.shutdown();
  const logs = protocol === 'http' ? [await sendLog(resource, within)] : [];
  const spans = [root, child, plain].map(asJson);
  console.log(JSON.stringify({ traceId: root.spanContext().traceId, spans, logs }));
}

main();
