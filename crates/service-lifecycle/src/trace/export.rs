//! The way of finished spans out of the process.

use std::{
    collections::HashMap,
    fmt::Display,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use ::http::{HeaderMap, HeaderValue};
use anyhow::Context as _;
use metrics::counter;
use opentelemetry::{Context, KeyValue, trace::TracerProvider as _};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithHttpConfig as _, WithTonicConfig as _};
use opentelemetry_sdk::{
    Resource,
    error::{OTelSdkError, OTelSdkResult},
    resource::{EnvResourceDetector, TelemetryResourceDetector},
    trace::{self, BatchSpanProcessor, SdkTracerProvider, SpanData, SpanProcessor},
};
use tokio::{
    runtime::Handle,
    time::{Instant, timeout},
};
use tonic::{metadata::MetadataMap, transport::ClientTlsConfig};
use tracing::{info, warn};

use super::{
    Tracer,
    http::Client,
    target::{Protocol, Target},
};
use crate::App;

/// How long the end of the process waits for the last spans to be taken.
const FLUSH_TIME_MAX: Duration = Duration::from_secs(2);

/// Least time between two lines about a collector that takes nothing.
const TOLD_INTERVAL: Duration = Duration::from_secs(60);

/// A span that is not sampled. Whoever takes our spans must not make new ones of that: with this parent no
/// sampler that follows parents does, whatever stands between the exporter and an engine.
const UNSAMPLED: &str = "00-000000000000000000000000000000c0-00000000000000c0-00";

/// The traces of this process on their way out. Off when default.
#[derive(Debug, Default)]
pub(crate) struct Traces {
    provider: Option<SdkTracerProvider>,
    tracer: Tracer,
}

impl Traces {
    /// Begins to send what is traced, on the runtime that it is called on.
    ///
    /// # Errors
    /// When the exporter cannot be set up. Nothing is connected to find out.
    pub(crate) fn start(app: &App, target: &Target) -> anyhow::Result<Self> {
        let exporter = exporter(target).context("failed to set up the export of traces of this process")?;
        let exporter = Exporter {
            exporter: Arc::new(exporter),
            runtime: Handle::current(),
            timeout: target.timeout,
            told: Mutex::default(),
        };
        let processor = Counted(BatchSpanProcessor::builder(exporter).build());
        let provider = SdkTracerProvider::builder()
            .with_resource(resource(app, target))
            .with_span_processor(processor)
            .build();
        let tracer = Tracer::new(provider.tracer(app.name), target.to_string().into());
        Ok(Self { provider: Some(provider), tracer })
    }

    pub(crate) fn tracer(&self) -> Tracer {
        self.tracer.clone()
    }

    /// Sends what is left, if anybody takes it soon. Blocks the thread meanwhile.
    pub(crate) fn flush(&self) {
        if let Some(provider) = &self.provider
            && let Err(error) = provider.shutdown_with_timeout(FLUSH_TIME_MAX)
        {
            info!(%error, "the last traces of this process were not taken in time");
        }
    }
}

impl Drop for Traces {
    /// The provider would wait for seconds by itself.
    fn drop(&mut self) {
        if let Some(provider) = &self.provider {
            let _not_waited_for = provider.shutdown_with_timeout(Duration::ZERO);
        }
    }
}

fn exporter(target: &Target) -> anyhow::Result<SpanExporter> {
    let builder = SpanExporter::builder();
    // Endpoint, headers and compression they read from the environment by themselves.
    let built: Result<_, ExporterBuildError> = match target.protocol {
        Protocol::Http => {
            let headers = HashMap::from([("traceparent".to_owned(), UNSAMPLED.to_owned())]);
            let client = Client::new(target.is_encrypted())?;
            builder.with_http().with_http_client(client).with_headers(headers).build()
        }
        Protocol::Grpc => {
            let headers = HeaderMap::from_iter([(
                ::http::HeaderName::from_static("traceparent"),
                HeaderValue::from_static(UNSAMPLED),
            )]);
            let builder = builder.with_tonic().with_metadata(MetadataMap::from_headers(headers));
            match target.is_encrypted() {
                true => builder.with_tls_config(ClientTlsConfig::new().with_native_roots()).build(),
                false => builder.build(),
            }
        }
    };
    Ok(built?)
}

/// What is said of every span: which process it is of. The environment wins.
fn resource(app: &App, target: &Target) -> Resource {
    let builder = Resource::builder_empty()
        .with_service_name(format!("correlation-{}", app.name))
        .with_attribute(KeyValue::new("service.version", app.version))
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_detector(Box::new(EnvResourceDetector::new()));
    match &target.service_name {
        Some(name) => builder.with_service_name(name.clone()).build(),
        None => builder.build(),
    }
}

/// Counts the spans that end.
#[derive(Debug)]
struct Counted(BatchSpanProcessor);

impl SpanProcessor for Counted {
    fn on_start(&self, span: &mut trace::Span, context: &Context) {
        self.0.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        count("ended", 1);
        self.0.on_end(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.0.set_resource(resource);
    }
}

/// Exports on the runtime, in bounded time, and says what came of it.
#[derive(Debug)]
struct Exporter {
    exporter: Arc<SpanExporter>,
    /// The processor has a thread of its own that knows no runtime.
    runtime: Handle,
    timeout: Duration,
    /// When a failure was told last.
    told: Mutex<Option<Instant>>,
}

impl trace::SpanExporter for Exporter {
    fn export(&self, batch: Vec<SpanData>) -> impl Future<Output = OTelSdkResult> + Send {
        let spans = batch.len() as u64;
        let (exporter, limit) = (Arc::clone(&self.exporter), self.timeout);
        let exporting = self.runtime.spawn(async move { timeout(limit, exporter.export(batch)).await });
        async move {
            let result = match exporting.await {
                Ok(Ok(result)) => result,
                Ok(Err(_elapsed)) => Err(OTelSdkError::Timeout(limit)),
                // The runtime is at its end.
                Err(cancelled) => Err(OTelSdkError::InternalFailure(cancelled.to_string())),
            };
            match &result {
                Ok(()) => count("exported", spans),
                Err(error) => {
                    count("failed", spans);
                    self.tell(error, spans);
                }
            }
            result
        }
    }

    fn shutdown(&self) -> OTelSdkResult {
        self.exporter.shutdown()
    }

    fn set_resource(&mut self, resource: &Resource) {
        // Nothing is being exported then.
        if let Some(exporter) = Arc::get_mut(&mut self.exporter) {
            exporter.set_resource(resource);
        }
    }
}

impl Exporter {
    fn tell(&self, error: &impl Display, spans: u64) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|told| told.elapsed() >= TOLD_INTERVAL) {
            *told = Some(Instant::now());
            warn!(%error, spans, "traces of this process are not taken; requests are served all the same");
        }
    }
}

fn count(state: &'static str, spans: u64) {
    counter!("self_trace_spans_total", "state" => state).increment(spans);
}
