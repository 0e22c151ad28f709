//! What a configuration is, and the sections that every process has.

mod dotenv;
mod effective;
mod error;
mod file;
mod keys;
mod load;
mod mask;
mod sections;
mod setting;
mod sources;

use std::net::SocketAddr;

use serde::{Serialize, de::DeserializeOwned};

pub use effective::Effective;
pub use error::ConfigError;
pub use load::{Loaded, load};
pub use mask::mask_password;
pub use sections::{AdminConfig, LogConfig, LogFormat, ShutdownConfig, TraceConfig, deserialize_address};
pub use sources::{Sources, environment_variable};

pub(crate) use keys::Keys;

/// The configuration of one process: a struct of sections, loaded by [`load`].
///
/// The known keys are those of the serialized default, so every field must be serialized. Use
/// `#[serde(default, deny_unknown_fields)]` on it and on its sections.
pub trait Config: Serialize + DeserializeOwned + Default + Send + 'static {
    /// Environment variables of other names that also set a key: `(variable, key)`.
    ///
    /// The own name of the key wins over its alias in the same layer.
    const ENVIRONMENT_ALIASES: &'static [(&'static str, &'static str)] = &[];

    /// Keys whose values are never printed. Of a URL only the password is hidden.
    const SECRETS: &'static [&'static str] = &[];

    /// Sections of processes that may share the environment or `.env` with this one; they are
    /// passed over there. In a file or a flag they are unknown keys like any other.
    const SIBLING_SECTIONS: &'static [&'static str] = &[];

    /// Where the admin port listens.
    fn admin(&self) -> &AdminConfig;

    /// What is logged, and how.
    fn log(&self) -> &LogConfig;

    /// How long draining may take.
    fn shutdown(&self) -> &ShutdownConfig;

    /// Whether the process may trace into itself.
    fn trace(&self) -> TraceConfig {
        TraceConfig::default()
    }

    /// Keys and addresses of the ports that it listens on besides the admin port.
    fn ports(&self) -> Vec<(&'static str, SocketAddr)> {
        Vec::new()
    }

    /// What the types alone cannot rule out: values out of range, contradictions between keys.
    fn violations(&self) -> Vec<Violation> {
        Vec::new()
    }
}

/// A value as it is written in a configuration, without quotes: `all_replicas`.
pub fn config_value(value: &impl Serialize) -> String {
    match toml::Value::try_from(value) {
        Ok(toml::Value::String(text)) => text,
        Ok(other) => other.to_string(),
        // Nothing that a configuration holds.
        Err(_) => String::new(),
    }
}

/// A rule that the configuration breaks. The loader adds the values and where they came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The keys that break it together, such as `redis.url`.
    pub keys: Vec<&'static str>,
    /// What is allowed, as a phrase: `expected at least 1`.
    pub allowed: String,
}

impl Violation {
    /// States that the value of `key` is not allowed, and what is.
    pub fn new(key: &'static str, allowed: impl Into<String>) -> Self {
        Self { keys: vec![key], allowed: allowed.into() }
    }

    /// States that the values of `keys` contradict each other, and what is allowed.
    pub fn between(keys: &[&'static str], allowed: impl Into<String>) -> Self {
        Self { keys: keys.to_vec(), allowed: allowed.into() }
    }
}

#[cfg(test)]
mod tests;
