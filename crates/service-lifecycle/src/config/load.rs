//! Layers the sources over the defaults and turns them into a configuration.

use figment::{Figment, error::Kind, value::Value};

use super::{
    Config, ConfigError, Effective, Keys, Sources, Violation,
    error::{Problem, Subject},
    mask,
    setting::Setting,
    sources::{Collected, collect},
};

/// How the source of an untouched key is called.
pub(super) const DEFAULT: &str = "default";

/// A configuration that is valid, and where its values came from.
#[derive(Debug)]
pub struct Loaded<C> {
    /// What the process runs with.
    pub config: C,
    /// The same for people: `Display` is TOML with a source behind each value, secrets masked.
    pub effective: Effective,
}

/// Loads the configuration: defaults < file < `.env` < environment < flags.
///
/// # Errors
/// Lists everything that is wrong: unknown keys, values of a wrong type or range, contradictions,
/// files that cannot be read. Nothing is bound or connected to find out.
pub fn load<C: Config>(sources: &Sources) -> Result<Loaded<C>, ConfigError> {
    let keys = Keys::of::<C>();
    let Collected { settings, mut problems } = collect::<C>(sources, &keys);
    let defaults = keys.leaves().into_iter().filter_map(|key| default_of(&keys, key));
    let mut figment = Figment::new();
    for setting in defaults.chain(settings) {
        figment = figment.merge(setting);
    }

    // Serde stops at the first value that does not fit. Its default takes its place, so that the
    // others are found too.
    let config = loop {
        let error = match figment.extract::<C>() {
            Ok(config) => break config,
            Err(error) => error,
        };
        let allowed = describe(&error.kind);
        let Some(key) = key_of(&keys, &error.path) else {
            problems.push(Problem::general(format!("{}: {allowed}", error.path.join("."))));
            return Err(ConfigError::new(problems));
        };
        let subject = subject::<C>(&figment, &key);
        let is_default = subject.source == DEFAULT;
        problems.push(Problem::between(vec![subject], allowed));
        match default_of(&keys, key) {
            Some(default) if !is_default => figment = figment.merge(default),
            _ => return Err(ConfigError::new(problems)),
        }
    };
    if problems.is_empty() {
        let own = config.log().violations().into_iter().chain(config.admin().violations());
        let violations = own.chain(config.violations());
        problems.extend(violations.map(|violation| broken::<C>(&figment, &violation)));
    }
    match problems.is_empty() {
        true => Ok(Loaded { config, effective: Effective::of::<C>(&figment, &keys) }),
        false => Err(ConfigError::new(problems)),
    }
}

/// Names the value of a key and its source.
pub(super) fn subject<C: Config>(figment: &Figment, key: &str) -> Subject {
    let value = figment.find_value(key).ok();
    let source = figment.find_metadata(key).map(|metadata| metadata.name.to_string());
    Subject {
        key: key.to_owned(),
        value: value.map(|value| mask::show(C::SECRETS, key, &value)),
        source: source.unwrap_or_else(|| DEFAULT.to_owned()),
    }
}

fn broken<C: Config>(figment: &Figment, violation: &Violation) -> Problem {
    let subjects = violation.keys.iter().map(|key| subject::<C>(figment, key));
    Problem::between(subjects.collect(), violation.allowed.clone())
}

fn default_of(keys: &Keys, key: String) -> Option<Setting> {
    let value: Value = keys.default(&key)?.clone();
    Some(Setting { key, value, source: DEFAULT.to_owned() })
}

/// The key that a path leads to: an error inside a list belongs to the list.
fn key_of(keys: &Keys, path: &[String]) -> Option<String> {
    let candidates = (1..=path.len()).rev().map(|length| path[..length].join("."));
    candidates.into_iter().find(|key| keys.default(key).is_some())
}

/// Says what is allowed, without the value: the caller prints it, masked where needed.
fn describe(kind: &Kind) -> String {
    match kind {
        Kind::InvalidType(_, expected)
        | Kind::InvalidValue(_, expected)
        | Kind::InvalidLength(_, expected) => format!("expected {}", plain(expected)),
        Kind::UnknownVariant(_, variants) => format!("expected one of {}", variants.join(", ")),
        Kind::Message(message) => message.clone(),
        other => other.to_string(),
    }
}

/// Serde names Rust's types; people who write configuration need the range.
fn plain(expected: &str) -> String {
    match expected {
        "u8" => "a whole number from 0 to 255".to_owned(),
        "u16" => "a whole number from 0 to 65535".to_owned(),
        "u32" => format!("a whole number from 0 to {}", u32::MAX),
        "u64" | "usize" => "a whole number from 0".to_owned(),
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a sequence" => r#"a list, such as ["a", "b"]"#.to_owned(),
        other => other.to_owned(),
    }
}
