//! One value of one key, and where it came from.

use figment::{
    Error, Metadata, Profile, Provider,
    value::{Dict, Map, Value},
};

/// One value of one key. Each is merged on its own, so that figment remembers its source.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    /// Dotted path, such as `redis.url`.
    pub(super) key: String,
    pub(super) value: Value,
    /// For people: `environment variable REDIS_URL`.
    pub(super) source: String,
}

impl Provider for Setting {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.source.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        let nested = figment::util::nest(&self.key, self.value.clone());
        let dict = nested.into_dict().ok_or_else(|| Error::from("a setting has a key".to_owned()))?;
        Ok(Profile::Default.collect(dict))
    }
}
