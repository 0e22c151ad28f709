//! Metrics: one table per crate, one recorder per process, rendered by the admin port.

use std::time::{SystemTime, UNIX_EPOCH};

use metrics::{Unit, counter, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusRecorder};

use crate::App;

/// One row of a crate's metrics table.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// `<app>_<noun>_<unit>_total` and the like, in base units.
    pub name: &'static str,
    /// Counter, gauge or histogram.
    pub kind: Kind,
    /// Base unit, `None` for plain counts.
    pub unit: Option<Unit>,
    /// One sentence; labels and their values are named here.
    pub help: &'static str,
}

/// What a metric does over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts observations in buckets, chosen by the end of its name: `_lag_seconds`, `_seconds` or `_bytes`.
    Histogram,
}

/// From an operation in memory (10 µs) to the 10 s after which OTLP clients give up by default.
const SECONDS: &[f64] = &[
    0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
    0.5, 1.0, 2.5, 5.0, 10.0,
];

/// How late something is: up to an hour, since what is late waits for others.
const LAG_SECONDS: &[f64] =
    &[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0];

/// From one small span to the 64 MiB that OTLP recommends as the largest request.
const BYTES: &[f64] = &[
    256.0,
    1024.0,
    4096.0,
    16384.0,
    65536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
];

/// What every process tells about itself, `build_info` apart, which carries the app's name.
pub const METRICS: &[Metric] = &[
    Metric {
        name: "process_start_time_seconds",
        kind: Kind::Gauge,
        unit: Some(Unit::Seconds),
        help: "When the process started, in seconds since 1970.",
    },
    Metric {
        name: "self_trace_spans_total",
        kind: Kind::Counter,
        unit: None,
        help: "Spans about this process itself, by state: ended, exported or failed. What has ended and is \
               neither of the others waits, or found the queue full.",
    },
    Metric {
        name: "door_connections",
        kind: Kind::Gauge,
        unit: None,
        help: "Open connections, by door (grpc, http, admin).",
    },
    Metric {
        name: "door_refused_connections_total",
        kind: Kind::Counter,
        unit: None,
        help: "Connections closed at once, by door and reason: connections_max, handshake (TLS failed) or \
               silent (too little was sent in time).",
    },
];

pub(crate) fn connection_opened(door: &'static str) {
    gauge!("door_connections", "door" => door).increment(1.0);
}

pub(crate) fn connection_closed(door: &'static str) {
    gauge!("door_connections", "door" => door).decrement(1.0);
}

pub(crate) fn connection_refused(door: &'static str, reason: &'static str) {
    counter!("door_refused_connections_total", "door" => door, "reason" => reason).increment(1);
}

/// Builds the recorder that collects the metrics of the process.
pub(crate) fn recorder() -> PrometheusRecorder {
    let suffix = |unit: &str| Matcher::Suffix(unit.to_owned());
    PrometheusBuilder::new()
        .set_buckets_for_metric(suffix("_seconds"), SECONDS)
        // Suffixes are tried in the order of the alphabet, so this one comes before `_seconds`.
        .and_then(|builder| builder.set_buckets_for_metric(suffix("_lag_seconds"), LAG_SECONDS))
        .and_then(|builder| builder.set_buckets_for_metric(suffix("_bytes"), BYTES))
        .expect("the bucket lists are not empty")
        .build_recorder()
}

/// Describes the metrics of `app` to the recorder in place and sets those about the process itself.
pub(crate) fn describe(app: &App) {
    for metric in METRICS.iter().chain(app.metrics.iter().copied().flatten()) {
        let (name, help) = (metric.name, metric.help);
        let unit = metric.unit.unwrap_or(Unit::Count);
        match metric.kind {
            Kind::Counter => metrics::describe_counter!(name, unit, help),
            Kind::Gauge => metrics::describe_gauge!(name, unit, help),
            Kind::Histogram => metrics::describe_histogram!(name, unit, help),
        }
    }
    let build_info = format!("{}_build_info", app.name.replace('-', "_"));
    metrics::describe_gauge!(build_info.clone(), "Always 1; the labels tell version and revision.");
    gauge!(build_info, "version" => app.version, "revision" => app.revision).set(1.0);
    let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    gauge!("process_start_time_seconds").set(started.as_secs_f64());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_becomes_help_type_and_buckets() {
        let app = App {
            name: "some-app",
            version: "1.2.3",
            revision: "abc",
            about: "",
            metrics: &[&[Metric {
                name: "some_request_duration_seconds",
                kind: Kind::Histogram,
                unit: Some(Unit::Seconds),
                help: "How long requests take.",
            }]],
            commands: &[],
        };
        let recorder = recorder();
        metrics::with_local_recorder(&recorder, || {
            describe(&app);
            metrics::histogram!("some_request_duration_seconds").record(0.003);
            metrics::histogram!("some_lag_seconds").record(400.0);
        });
        let text = recorder.handle().render();
        for line in [
            "# HELP some_request_duration_seconds How long requests take.",
            "# TYPE some_request_duration_seconds histogram",
            r#"some_request_duration_seconds_bucket{le="0.0025"} 0"#,
            r#"some_request_duration_seconds_bucket{le="0.005"} 1"#,
            r#"some_lag_seconds_bucket{le="300"} 0"#,
            r#"some_lag_seconds_bucket{le="900"} 1"#,
            r#"some_app_build_info{version="1.2.3",revision="abc"} 1"#,
            "# TYPE process_start_time_seconds gauge",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in:\n{text}");
        }
    }
}
