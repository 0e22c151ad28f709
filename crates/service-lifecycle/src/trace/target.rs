//! Where traces of the process go, by OpenTelemetry's variables, and whether they may go there.

use std::{fmt, net::SocketAddr, time::Duration};

use ::http::Uri;

use super::own_port;
use crate::{Config, mask_password};

/// OpenTelemetry specification, "OpenTelemetry Protocol Exporter".
const TIMEOUT: Duration = Duration::from_secs(10);

const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
const PROTOCOLS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
const TIMEOUTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"];
const EXPORTER: &str = "OTEL_TRACES_EXPORTER";
const SERVICE_NAME: &str = "OTEL_SERVICE_NAME";
const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
const SAMPLER_ARGUMENT: &str = "OTEL_TRACES_SAMPLER_ARG";

/// Those of the SDK. It takes the first one for whatever it does not know, and says nothing.
const SAMPLERS: [&str; 6] = [
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
    "always_on",
    "always_off",
    "traceidratio",
];

/// The endpoint that traces of this process are sent to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// The variable that names it.
    variable: &'static str,
    /// As it stands there, with the password masked.
    shown: String,
    endpoint: Uri,
    pub(super) protocol: Protocol,
    /// For one request.
    pub(super) timeout: Duration,
    pub(super) service_name: Option<String>,
    sampler: String,
}

/// How they are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Grpc,
    Http,
}

/// A variable that asks for what cannot be done.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the traces of this process cannot be sent as the environment says:\n  {0}")]
pub(crate) struct Problem(String);

impl Target {
    /// Reads the variables; `None` when they ask for no traces.
    ///
    /// # Errors
    /// A value that is not allowed, or an endpoint that is a port of this process.
    pub(crate) fn of<C: Config>(
        environment: &[(String, String)],
        config: &C,
    ) -> Result<Option<Self>, Problem> {
        let Some(target) = Self::read(environment)? else { return Ok(None) };
        if config.trace().into_itself {
            return Ok(Some(target));
        }
        let mut ports = config.ports();
        ports.push(("admin.listen", config.admin().listen));
        target.must_not_be(&ports)?;
        Ok(Some(target))
    }

    fn read(environment: &[(String, String)]) -> Result<Option<Self>, Problem> {
        let get = |name: &'static str| {
            // As for an operating system, the last one counts; empty is unset.
            let found = environment.iter().rev().find(|(other, _)| other == name);
            found.map(|(_, value)| value.trim()).filter(|value| !value.is_empty())
        };
        let first = |names: [&'static str; 2]| names.into_iter().find_map(|name| Some((name, get(name)?)));
        let is_off = get("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let Some((variable, endpoint)) = first(ENDPOINTS).filter(|_| !is_off) else { return Ok(None) };
        match get(EXPORTER) {
            Some("none") => return Ok(None),
            Some("otlp") | None => {}
            Some(other) => return Err(refused(EXPORTER, other, "expected otlp or none")),
        }
        let url = endpoint.parse::<Uri>().ok().filter(|url| {
            url.host().is_some() && url.scheme_str().is_some_and(|scheme| ["http", "https"].contains(&scheme))
        });
        let Some(url) = url else {
            return Err(refused(variable, endpoint, "expected http://HOST:PORT or https://HOST:PORT"));
        };
        let protocol = match first(PROTOCOLS) {
            Some((_, "grpc")) => Protocol::Grpc,
            Some((_, "http/protobuf")) | None => Protocol::Http,
            Some((name, other)) => return Err(refused(name, other, "expected grpc or http/protobuf")),
        };
        let timeout = match first(TIMEOUTS) {
            None => TIMEOUT,
            Some((name, text)) => match text.parse() {
                Ok(milliseconds) => Duration::from_millis(milliseconds),
                Err(_) => return Err(refused(name, text, "expected milliseconds as a whole number")),
            },
        };
        let sampler = sampler(get(SAMPLER), get(SAMPLER_ARGUMENT))?;
        let service_name = get(SERVICE_NAME).map(str::to_owned);
        let shown = mask_password(endpoint);
        Ok(Some(Self { variable, shown, endpoint: url, protocol, timeout, service_name, sampler }))
    }

    fn must_not_be(&self, ports: &[(&'static str, SocketAddr)]) -> Result<(), Problem> {
        let host = self.endpoint.host().unwrap_or_default();
        let Some((key, address)) = own_port::find(host, self.port(), ports) else { return Ok(()) };
        let allowed = format!(
            "this is {key} = {address}, a port of this process; name another endpoint, \
             switch traces of the process off by OTEL_TRACES_EXPORTER=none, or set trace.into_itself = true"
        );
        Err(refused(self.variable, &self.shown, &allowed))
    }

    fn port(&self) -> u16 {
        self.endpoint.port_u16().unwrap_or(if self.is_encrypted() { 443 } else { 80 })
    }

    pub(super) fn is_encrypted(&self) -> bool {
        self.endpoint.scheme_str() == Some("https")
    }
}

/// Endpoint, protocol and sampler in one line, for people.
impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = match self.protocol {
            Protocol::Grpc => "grpc",
            Protocol::Http => "http/protobuf",
        };
        write!(formatter, "{} ({protocol}, {})", self.shown, self.sampler)
    }
}

fn sampler(name: Option<&str>, argument: Option<&str>) -> Result<String, Problem> {
    let name = name.unwrap_or(SAMPLERS[0]);
    if !SAMPLERS.contains(&name) {
        return Err(refused(SAMPLER, name, &format!("expected one of {}", SAMPLERS.join(", "))));
    }
    if !name.ends_with("traceidratio") {
        return Ok(name.to_owned());
    }
    let ratio = argument.unwrap_or("1.0");
    match ratio.parse::<f64>() {
        Ok(number) if (0.0..=1.0).contains(&number) => Ok(format!("{name} {ratio}")),
        _ => Err(refused(SAMPLER_ARGUMENT, ratio, "expected a number from 0.0 to 1.0")),
    }
}

fn refused(variable: &str, value: &str, allowed: &str) -> Problem {
    Problem(format!("{variable} = {}: {allowed}", mask_password(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");

    fn read(variables: &[(&str, &str)]) -> Result<Option<Target>, Problem> {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Target::read(&variables.iter().map(own).collect::<Vec<_>>())
    }

    #[test]
    fn nothing_is_traced_until_an_endpoint_is_named() {
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")]), Ok(None));
        assert_eq!(read(&[ENDPOINT, ("OTEL_SDK_DISABLED", "TRUE")]), Ok(None));
        assert_eq!(read(&[ENDPOINT, ("OTEL_TRACES_EXPORTER", "none")]), Ok(None));
        let target = read(&[ENDPOINT]).unwrap().unwrap();
        assert_eq!(target.to_string(), "http://collector:4318 (http/protobuf, parentbased_always_on)");
    }

    #[test]
    fn the_variables_for_traces_win() {
        let target = read(&[
            ENDPOINT,
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://user:secret@traces:4317"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "2000"),
            ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "0.01"),
        ]);
        let target = target.unwrap().unwrap();
        let text = target.to_string();
        assert!(
            text.contains("traces:4317") && text.contains("(grpc, parentbased_traceidratio 0.01)"),
            "{text}"
        );
        assert!(!text.contains("secret"), "{text}");
        assert_eq!((target.timeout, target.is_encrypted()), (Duration::from_secs(2), true));
    }

    #[test]
    fn a_value_that_is_not_allowed_is_named_with_its_variable() {
        for (name, value) in [
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "collector:4317"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
            ("OTEL_TRACES_EXPORTER", "zipkin"),
            ("OTEL_TRACES_SAMPLER", "sometimes"),
        ] {
            let message = read(&[ENDPOINT, (name, value)]).unwrap_err().to_string();
            assert!(message.contains(&format!("{name} = {value}: expected")), "{message}");
        }
        let ratio = [ENDPOINT, ("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "1.5")];
        assert!(read(&ratio).unwrap_err().to_string().contains("OTEL_TRACES_SAMPLER_ARG = 1.5"));
    }

    #[test]
    fn a_port_of_the_process_is_refused_and_named() {
        let target = read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4317")]).unwrap().unwrap();
        let ports = [("grpc.listen", SocketAddr::from(([127, 0, 0, 1], 4317)))];
        let message = target.must_not_be(&ports).unwrap_err().to_string();
        assert!(message.contains("OTEL_EXPORTER_OTLP_ENDPOINT = http://localhost:4317"), "{message}");
        assert!(message.contains("grpc.listen = 127.0.0.1:4317"), "{message}");
        assert!(message.contains("trace.into_itself"), "{message}");
        let others = [("grpc.listen", SocketAddr::from(([127, 0, 0, 1], 4327)))];
        assert_eq!(target.must_not_be(&others), Ok(()));
    }
}
