//! The file of endpoints, `delivery.endpoints`.

use std::{collections::HashSet, path::Path};

use serde::Deserialize;
use service_lifecycle::{FileError, line_at};
use state_core::Signal;
use toml::Spanned;

use super::{ENDPOINTS_MAX, Endpoint, Entry};
use crate::{client::Client, metric};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    endpoint: Vec<Spanned<Entry>>,
}

/// Reads the endpoints of a file, and tries whether each has what it needs.
///
/// # Errors
/// What is wrong, in which line and endpoint.
pub(super) fn read(file: &Path, contents: &[u8]) -> Result<Vec<Endpoint>, FileError> {
    let endpoints = std::str::from_utf8(contents).map_err(|_| "expected UTF-8".to_owned()).and_then(parse);
    let usable = endpoints.and_then(|endpoints| {
        let try_one = |endpoint| Client::new(endpoint, Signal::Traces).map(drop);
        endpoints.iter().try_for_each(try_one).map_err(|error| error.to_string())?;
        Ok(endpoints)
    });
    usable.map_err(|reason| {
        metric::endpoints_changed("refused");
        FileError::new(file, reason)
    })
}

pub(crate) fn parse(text: &str) -> Result<Vec<Endpoint>, String> {
    let line = |start: usize| line_at(text, start);
    let read: File = toml::from_str(text).map_err(|error| {
        let line = line(error.span().map_or(0, |span| span.start));
        format!("line {line}: {}", without_values(error.message()))
    })?;
    if read.endpoint.is_empty() || read.endpoint.len() > ENDPOINTS_MAX {
        return Err(format!("expected 1 to {ENDPOINTS_MAX} [[endpoint]], each with at least name and url"));
    }
    let mut names = HashSet::new();
    let check = |entry: Spanned<Entry>| {
        let line = line(entry.span().start);
        let entry = entry.into_inner();
        let name = entry.name.clone();
        let wrong = |reason: &str| format!("line {line}: endpoint {name:?}: {reason}");
        if !names.insert(name.clone()) {
            return Err(wrong("there are two of this name"));
        }
        entry.check().map_err(|reason| wrong(&reason))
    };
    read.endpoint.into_iter().map(check).collect()
}

/// What was expected, without what was found: it may be a secret in the wrong place.
fn without_values(message: &str) -> String {
    let quotes = message.starts_with("invalid type: ") || message.starts_with("invalid value: ");
    match message.rsplit_once(", expected ") {
        Some((_, expected)) if quotes => format!("expected {expected}"),
        _ => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, time::Duration};

    use service_lifecycle::Files;

    use super::*;
    use crate::{
        DeliveryConfig, Protocol,
        endpoint::{self, Compression},
    };

    const SAMPLE: &str = include_str!("../../../../deploy/config/endpoints.toml");

    #[test]
    fn the_sample_is_valid_and_shows_every_key() {
        let endpoints = parse(SAMPLE).unwrap();
        let told: Vec<_> =
            endpoints.iter().map(|endpoint| (endpoint.name.as_str(), endpoint.protocol)).collect();
        assert_eq!(told, [("archive", Protocol::HttpProtobuf), ("tempo", Protocol::Grpc)]);
        let first = SAMPLE.split("[[endpoint]]").nth(1).unwrap();
        for key in
            ["name", "url", "protocol", "headers", "compression", "timeout_ms", "batch_bytes_max", "signals"]
        {
            assert!(first.contains(&format!("\n{key} = ")), "{key} is missing in:\n{first}");
        }
        for key in ["ca", "certificate", "key"] {
            assert!(first.contains(&format!("{key} = ")), "tls.{key} is missing in:\n{first}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_changed_file_is_used_and_a_broken_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("endpoints.toml");
        let write = |name: &str, url: &str| {
            fs::write(&file, format!("[[endpoint]]\nname = '{name}'\nurl = '{url}'")).unwrap();
        };
        write("a", "http://a:1");
        let config = DeliveryConfig { endpoints: file.display().to_string(), ..DeliveryConfig::default() };
        let files = Files::default();
        let source = endpoint::open(&config, &files).unwrap().unwrap();
        let following = tokio::spawn(files.follow());
        for (name, url, expected) in [("b", "http://b:1", "b"), ("c", "c", "b"), ("d", "http://d:1", "d")] {
            write(name, url);
            tokio::time::sleep(Duration::from_secs(10)).await;
            assert_eq!(source()[0].name, expected, "{name}");
        }
        following.abort();
    }

    #[test]
    fn what_is_not_said_has_a_default() {
        let endpoints = parse("[[endpoint]]\nname = 'a'\nurl = 'http://a:4317/'").unwrap();
        let [endpoint] = &endpoints[..] else { panic!("one endpoint, not {endpoints:?}") };
        assert_eq!((endpoint.url.as_str(), endpoint.protocol), ("http://a:4317", Protocol::Grpc));
        assert_eq!(endpoint.compression, Compression::None);
        assert_eq!(endpoint.timeout, Duration::from_secs(10));
        assert_eq!(endpoint.signals, [Signal::Traces, Signal::Logs]);
        assert!(endpoint.batch_bytes_max < 4 << 20);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line_and_endpoint() {
        let good = "[[endpoint]]\nname = 'a'\nurl = 'http://a:1'\n";
        let with = |line: &str| format!("# A comment.\n{good}{line}");
        for (text, expected) in [
            (String::new(), "expected 1 to 32 [[endpoint]]"),
            (good.repeat(33), "expected 1 to 32"),
            (good.repeat(2), "line 4: endpoint \"a\": there are two"),
            (with("colour = 'red'"), "line 5: unknown field `colour`"),
            (with("protocol = 'http/json'"), "line 5: unknown variant `http/json`"),
            (with("compression = 'lz4'"), "line 5: unknown variant `lz4`"),
            (with("timeout_ms = 0"), "line 2: endpoint \"a\": expected a timeout_ms of 1 to 60000"),
            (with("batch_bytes_max = 0"), "expected a batch_bytes_max"),
            (with("signals = []"), "expected signals"),
            (with("signals = ['logs', 'logs']"), "expected signals"),
            (with("tls = { key = 'key.pem' }"), "expected both of tls.certificate and tls.key"),
            (with("tls = { ca = 'ca.pem' }"), "expected an https:// URL"),
            (with("headers = { 'a b' = 'c' }"), "header \"a b\": expected the name"),
            (with("headers = { te = 'c' }"), "header \"te\": is set by the protocol"),
            (with("headers = { grpc-timeout = '1S' }"), "is set by the protocol"),
            (good.replace("'a'", "'A'"), "line 1: endpoint \"A\": expected a name"),
            (good.replace("http://a:1", "a:1"), "expected a URL of the form"),
            (good.replace("http://a:1", "ftp://a:1"), "expected a URL of the form"),
            (good.replace("http://a:1", "http://u:p@a:1"), "without user and password"),
            (good.replace("http://a:1", "http://a:1/otlp"), "without a path"),
            (
                good.replace("http://a:1'", "http://a:1/v1/traces'\nprotocol = 'http/protobuf'"),
                "which are appended",
            ),
        ] {
            let error = parse(&text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn no_header_is_ever_printed() {
        let secret = "a-very-secret-token";
        let endpoint = "[[endpoint]]\nname = 'a'\nurl = 'http://a:1'\n";
        let endpoints = parse(&format!("{endpoint}headers = {{ authorization = '{secret}' }}")).unwrap();
        assert_eq!(endpoints[0].headers["authorization"], secret);
        let shown = format!("{endpoints:?}");
        assert!(shown.contains("authorization") && !shown.contains(secret), "{shown}");
        for wrong in [
            format!("headers = '{secret}'"),
            format!("headers = {secret}"),
            format!("headers = {{ authorization = ['{secret}'] }}"),
            format!("headers = {{ authorization = \"{secret}\\n\" }}"),
            format!("timeout_ms = '{secret}, expected this'"),
        ] {
            let error = parse(&format!("{endpoint}{wrong}")).unwrap_err();
            assert!(error.contains("line ") && !error.contains(secret), "{wrong}: {error}");
        }
    }
}
