//! What is attacked, and what must hold for any input.

use std::{fs, path::Path};

use clap::ValueEnum;
use engine::Config as EngineConfig;
use ingest_gateway::{Coding, GatewayConfig};
use otlp_codec::{
    DecodeError, PARTS_BYTES_MAX, Split, SplitOptions,
    forest::Forest,
    json::{self, Message},
    merge_logs, merge_traces, split_logs, split_traces,
};
use otlp_proto::opentelemetry::proto::{logs::v1::LogsData, trace::v1::TracesData};
use prost::Message as _;
use service_lifecycle::{Sources, load};
use tempfile::TempDir;

/// A parser of what comes from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Target {
    /// Protobuf requests cut into parts, joined again, printed as JSON.
    Split,
    /// JSON requests to protobuf.
    Json,
    /// Decompression of bodies; the first byte chooses the coding.
    Coding,
    /// Configuration: file, `.env`, environment and flags.
    Config,
}

/// What a body may decompress to here: little, so that reaching it is quick.
const PLAIN_BYTES_MAX: usize = 64 << 10;

const MESSAGES: [Message; 7] = [
    Message::ExportTraceServiceRequest,
    Message::ExportLogsServiceRequest,
    Message::ExportTraceServiceResponse,
    Message::ExportLogsServiceResponse,
    Message::TracesData,
    Message::LogsData,
    Message::Status,
];

impl Target {
    pub(crate) const ALL: [Self; 4] = [Self::Split, Self::Json, Self::Coding, Self::Config];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Split => "split",
            Self::Json => "json",
            Self::Coding => "coding",
            Self::Config => "config",
        }
    }

    /// Pieces of its format that chance would not find.
    pub(crate) fn words(self) -> &'static [&'static str] {
        match self {
            // Groups, the deprecated way to nest, and the highest field number.
            Self::Split => {
                &["\x0b", "\x0c", "\x13", "\x14", "\u{7ff}\u{7ff}\u{7ff}", "service.name", "order.id"]
            }
            Self::Json => &[
                "{",
                "}",
                "[",
                "]",
                ",",
                ":",
                "\"",
                "\\",
                "\\u0000",
                "\\ud800",
                "\\udc00",
                "null",
                "true",
                "-0",
                "1e999",
                "1e-999",
                "18446744073709551616",
                "-9223372036854775809",
                "0.1",
                "\"NaN\"",
                "\"Infinity\"",
                "{\"arrayValue\":{\"values\":[",
                "{\"kvlistValue\":{\"values\":[{\"value\":",
                "\"resourceSpans\":",
                "\"resourceLogs\":",
                "\"bytesValue\":\"_-=\"",
                "\"traceId\":\"\"",
                "\"kind\":\"SPAN_KIND_SERVER\"",
            ],
            Self::Coding => &["\x1f", "\x08", "(", "/", "\0\0\0\0"],
            Self::Config => &[
                "=",
                "\"",
                "'",
                "[",
                "]",
                "[[",
                "]]",
                "{",
                "}",
                ".",
                "\n",
                "#",
                "\"\"\"",
                "export ",
                "CORRELATION__",
                "CORRELATION__GRPC__LISTEN=",
                "REDIS_URL=",
                "redis.url=",
                "redis://:p%00@[::1]:99999/",
                "-1",
                "1e400",
                "99999999999999999999",
                "1979-05-27T07:32:00Z",
                "true",
                "\\u0000",
                "nan",
                "[redis]\n",
                "url = ",
            ],
        }
    }

    /// # Panics
    /// When something that must hold for any input does not.
    pub(crate) fn check(self, input: &[u8]) {
        match self {
            Self::Split => split(input),
            Self::Json => json(input),
            Self::Coding => coding(input),
            Self::Config => config(input),
        }
    }
}

fn split(input: &[u8]) {
    let keys = SplitOptions::new(vec!["order.id".to_owned(), "user.id".to_owned()]);
    let patterns = [r"(?<order.id>\w+)".to_owned(), r"(?<trace_id>[0-9a-f-]{32,36})".to_owned()];
    let texts = keys.clone().with_text_patterns(&patterns, 4_096).expect("the patterns are valid");
    for options in [SplitOptions::default(), keys, texts] {
        let traces = split_traces(input, &options);
        let logs = split_logs(input, &options);
        if TracesData::decode(input).is_ok() {
            assert!(traces.is_ok(), "prost reads these traces: {traces:?}");
        }
        if LogsData::decode(input).is_ok() {
            assert!(logs.is_ok(), "prost reads these logs: {logs:?}");
        }
        parts(traces, |part| split_traces(part, &options), |parts| merge_traces(parts).map(|it| it.items));
        parts(logs, |part| split_logs(part, &options), |parts| merge_logs(parts).map(|it| it.items));
    }
    if let Ok(forest) = Forest::read(input, input) {
        assert_eq!(forest.walk().count(), forest.nodes.len(), "a span is not in the tree, or twice");
    }
    for message in MESSAGES {
        if let Ok(text) = json::from_protobuf(message, input) {
            assert!(str::from_utf8(&text).is_ok(), "the JSON is not UTF-8");
        }
    }
}

/// Nothing is lost, invented or multiplied without limit, and a part is its own only part.
fn parts(
    split: Result<Split, DecodeError>,
    again: impl Fn(&[u8]) -> Result<Split, DecodeError>,
    merge: impl Fn(Vec<&[u8]>) -> Result<u64, DecodeError>,
) {
    let Ok(split) = split else { return };
    let kept: usize = split.parts.iter().map(|part| part.identities.len()).sum();
    assert_eq!(kept as u64 + split.rejected.total(), split.received);
    assert!(split.parts.iter().map(|part| part.payload.len()).sum::<usize>() <= PARTS_BYTES_MAX);
    assert!(split.rejected.error_message().len() < 1024);
    for part in &split.parts {
        let again = again(&part.payload).map(|split| split.parts);
        assert_eq!(again.as_deref(), Ok(std::slice::from_ref(part)), "a part, split again");
    }
    let payloads = split.parts.iter().map(|part| &part.payload[..]).collect();
    let items = merge(payloads).expect("parts can be joined");
    assert!(items as usize <= kept, "{items} items of {kept}");
}

fn json(input: &[u8]) {
    for message in MESSAGES {
        match json::to_protobuf(message, input) {
            Err(error) => assert!(error.to_string().len() < 1024, "{error}"),
            Ok(bytes) => {
                assert!(bytes.len() <= input.len(), "{} bytes of protobuf", bytes.len());
                let text = json::from_protobuf(message, &bytes).expect("what is written can be read");
                let again = json::to_protobuf(message, &text);
                assert_eq!(again.as_ref(), Ok(&bytes), "the same message, printed and read again");
                let by_prost = match message {
                    Message::TracesData => TracesData::decode(&bytes[..]).map(|data| data.encode_to_vec()),
                    Message::LogsData => LogsData::decode(&bytes[..]).map(|data| data.encode_to_vec()),
                    _ => continue,
                };
                assert_eq!(by_prost.as_ref(), Ok(&bytes), "the same message, read and written by prost");
            }
        }
    }
}

fn coding(input: &[u8]) {
    let Some((choice, compressed)) = input.split_first() else { return };
    let coding = Coding::ALL[usize::from(*choice) % Coding::ALL.len()];
    if let Ok(plain) = coding.decompress(compressed, PLAIN_BYTES_MAX) {
        assert!(plain.len() <= PLAIN_BYTES_MAX, "{} bytes", plain.len());
    }
}

/// The same text from every source, as far as it can be one there.
fn config(input: &[u8]) {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let file = write(&directory, "process.toml", input);
    let dotenv = write(&directory, ".env", input);
    let text = String::from_utf8_lossy(input);
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let pairs = lines.iter().filter_map(|line| line.split_once('='));
    let environment = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let nothing = Sources { dotenv: directory.path().join("none"), ..Sources::default() };
    for sources in [
        Sources { file: Some(file), ..nothing.clone() },
        Sources { dotenv, ..nothing.clone() },
        Sources { environment, ..nothing.clone() },
        Sources { set: lines, ..nothing },
    ] {
        loaded::<EngineConfig>(&sources);
        loaded::<GatewayConfig>(&sources);
    }
}

fn loaded<C: service_lifecycle::Config>(sources: &Sources) {
    let text = match load::<C>(sources) {
        Ok(loaded) => loaded.effective.to_string(),
        Err(error) => error.to_string(),
    };
    assert!(!text.is_empty(), "neither a configuration nor an error");
}

fn write(directory: &TempDir, name: &str, content: &[u8]) -> std::path::PathBuf {
    let path = Path::new(directory.path()).join(name);
    fs::write(&path, content).expect("a file can be written");
    path
}
