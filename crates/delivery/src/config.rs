//! The section `[delivery]` of an engine's configuration.

use serde::{Deserialize, Serialize};
use service_lifecycle::Violation;

use crate::endpoint;

/// `[delivery]`: where closed correlations are delivered to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeliveryConfig {
    /// The one endpoint, `http://HOST:PORT` or `https://HOST:PORT`. Default empty: nothing is delivered.
    pub url: String,
    /// How OTLP is spoken to it. Default `grpc`.
    pub protocol: Protocol,
    /// File with several endpoints, or with more to say of one, in place of `url`; read again when it
    /// changes. Default empty.
    pub endpoints: String,
}

/// How OTLP is spoken to an endpoint, in OpenTelemetry's words.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Protocol {
    /// OTLP/gRPC.
    #[default]
    #[serde(rename = "grpc")]
    Grpc,
    /// OTLP/HTTP with protobuf: `/v1/traces` and `/v1/logs` follow the URL.
    #[serde(rename = "http/protobuf")]
    HttpProtobuf,
}

impl DeliveryConfig {
    /// What is wrong or contradictory in it.
    pub fn violations(&self) -> Vec<Violation> {
        let mut violations = Vec::new();
        if let Err(expected) = endpoint::check_url(&self.url, self.protocol)
            && !self.url.is_empty()
        {
            violations.push(Violation::new("delivery.url", expected));
        }
        if !self.url.is_empty() && !self.endpoints.is_empty() {
            let allowed = "expected either one URL or a file of endpoints";
            violations.push(Violation::between(&["delivery.url", "delivery.endpoints"], allowed));
        }
        violations
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(url: &str, endpoints: &str) -> Vec<&'static str> {
        let config = DeliveryConfig { url: url.into(), endpoints: endpoints.into(), ..Default::default() };
        config.violations().into_iter().flat_map(|violation| violation.keys).collect()
    }

    #[test]
    fn nothing_one_url_or_a_file_is_fine_and_both_are_not() {
        assert!(keys("", "").is_empty());
        assert!(keys("http://collector:4317", "").is_empty());
        assert!(keys("", "endpoints.toml").is_empty());
        assert_eq!(keys("http://collector:4317", "endpoints.toml"), ["delivery.url", "delivery.endpoints"]);
    }

    #[test]
    fn what_is_no_url_is_named() {
        assert_eq!(keys("collector:4317", ""), ["delivery.url"]);
    }
}
