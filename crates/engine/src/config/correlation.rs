//! `[correlation]`: what belongs together, and when it is closed.

use std::time::Duration;

use otlp_codec::{InvalidPattern, SplitOptions};
use serde::{Deserialize, Serialize};
use state_core::{Limits, Settings};

use crate::close::Rules;

/// `[correlation]`: what belongs together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CorrelationConfig {
    /// How long a correlation is kept after its last arrival. Default 3600.
    pub ttl_seconds: u64,
    /// How long nothing must have arrived until a trace is closed whose root and parents are there.
    /// Default 2000.
    pub grace_ms: u64,
    /// How long nothing must have arrived until any other is closed. Default 60.
    pub window_seconds: u64,
    /// Age at which it is closed although more arrives. Default 300. With a short TTL it is at most
    /// three quarters of that, and the window too, so that nothing is gone before it was closed.
    pub age_max_seconds: u64,
    /// Attribute names by which log records without a trace id are correlated, the first one found
    /// wins; also noted of spans and log records as metadata. Default none.
    pub keys: Vec<String>,
    /// Regular expressions, each with one group named `trace_id` or like one of `keys`: what log records
    /// that would belong to nothing name in the text of their body. Default none.
    pub text_patterns: Vec<String>,
    /// How much of the text of a body is searched by `text_patterns`. Default 4096.
    pub text_bytes_max: usize,
    /// Most spans, and likewise most log records, in one correlation. Default 10000.
    pub spans_max: u64,
    /// Most bytes of OTLP in one correlation. Default 16 MiB.
    pub bytes_max: u64,
}

impl Default for CorrelationConfig {
    fn default() -> Self {
        let Settings { ttl, limits: Limits { spans_max, bytes_max }, grace, age_max } = Settings::default();
        Self {
            ttl_seconds: ttl.as_secs(),
            grace_ms: grace.as_millis() as u64,
            window_seconds: 60,
            age_max_seconds: age_max.as_secs(),
            keys: Vec::new(),
            text_patterns: Vec::new(),
            text_bytes_max: 4_096,
            spans_max,
            bytes_max,
        }
    }
}

impl CorrelationConfig {
    /// How requests are split.
    ///
    /// # Errors
    /// A pattern that cannot be used.
    pub(crate) fn split_options(&self) -> Result<SplitOptions, InvalidPattern> {
        SplitOptions::new(self.keys.clone()).with_text_patterns(&self.text_patterns, self.text_bytes_max)
    }

    /// What every backend is told.
    pub(super) fn settings(&self) -> Settings {
        let Self { ttl_seconds, spans_max, bytes_max, .. } = *self;
        let (ttl, limits) = (Duration::from_secs(ttl_seconds), Limits { spans_max, bytes_max });
        let Rules { grace, age_max, .. } = self.rules();
        Settings { ttl, limits, grace, age_max }
    }

    /// When correlations are closed.
    pub(super) fn rules(&self) -> Rules {
        let Self { ttl_seconds, grace_ms, window_seconds, age_max_seconds, .. } = *self;
        let before_the_end = Duration::from_secs(ttl_seconds) * 3 / 4;
        Rules {
            grace: Duration::from_millis(grace_ms).min(before_the_end),
            window: Duration::from_secs(window_seconds).min(before_the_end),
            age_max: Duration::from_secs(age_max_seconds).min(before_the_end),
        }
    }
}
