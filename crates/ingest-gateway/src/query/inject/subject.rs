//! The correlation that an event is put into, and whether engines will put it there.

use otlp_codec::{SplitOptions, split_logs};
use serde::{Serialize, Serializer};
use state_core::{CorrelationId, TraceId};

use super::{super::problem::Problem, event::bad_field};

/// What an event has in common with a correlation.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Subject {
    Trace(TraceId),
    /// A correlation key, as an attribute carries it.
    Key {
        name: String,
        value: String,
    },
}

impl Subject {
    /// Reads a correlation id.
    pub(super) fn parse(id: &str) -> Option<Self> {
        if let Ok(trace_id) = id.parse() {
            return Some(Self::Trace(trace_id));
        }
        let (name, value) =
            id.split_once('=').filter(|(name, value)| !name.is_empty() && !value.is_empty())?;
        Some(Self::Key { name: unescape(name), value: unescape(value) })
    }

    /// The id of the correlation.
    pub(super) fn id(&self) -> CorrelationId {
        match self {
            Self::Trace(trace_id) => CorrelationId::trace(*trace_id),
            Self::Key { name, value } => CorrelationId::key(name, value),
        }
    }

    /// Whether an engine with these correlation keys puts an encoded export request, with one log record, into
    /// this correlation. It is cut as an engine cuts it.
    ///
    /// # Errors
    /// 400: says why not.
    pub(super) fn check(&self, export: &[u8], correlation_keys: Vec<String>) -> Result<(), Problem> {
        let known = correlation_keys.join(", ");
        let options = SplitOptions::new(correlation_keys);
        let split = split_logs(export, &options).map_err(|error| Problem::internal(error.to_string()))?;
        let landed = split.parts.into_iter().next().and_then(|part| match part.subject {
            otlp_codec::Subject::Trace(bytes) => TraceId::new(bytes).map(Self::Trace),
            otlp_codec::Subject::Key { name, value } => Some(Self::Key { name, value }),
            otlp_codec::Subject::None => None,
        });
        match landed {
            Some(landed) if landed == *self => Ok(()),
            Some(other) => {
                let reason = format!("they would put the event into correlation {}", other.id());
                Err(bad_field("attributes", &reason))
            }
            None => {
                let reason = format!(
                    "expected a trace id, or a value of up to 256 bytes of one of the engines' correlation.keys: [{known}]"
                );
                Err(bad_field("correlation_id", &reason))
            }
        }
    }
}

impl Serialize for Subject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.id().as_str())
    }
}

/// Takes back what [`CorrelationId::key`] writes in place of its special characters.
fn unescape(part: &str) -> String {
    // The percent sign last, or one that stood for itself would begin something.
    part.replace("%7B", "{").replace("%7D", "}").replace("%3D", "=").replace("%25", "%")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_of_a_key_is_read_back() {
        for (name, value) in
            [("order.id", "7"), ("a=b", "c=d"), ("{%}", "%7B{%25}"), ("k", "50%"), ("k", "%3D")]
        {
            let id = CorrelationId::key(name, value);
            let subject = Subject::parse(id.as_str()).unwrap();
            assert_eq!(subject, Subject::Key { name: name.into(), value: value.into() }, "{id}");
            assert_eq!(subject.id(), id);
        }
        // What nobody escaped, people write.
        assert_eq!(Subject::parse("k=50%").unwrap().id(), CorrelationId::key("k", "50%"));
        let trace_id = "0123456789ABCDEF0123456789abcdef";
        assert_eq!(Subject::parse(trace_id).unwrap().id().as_str(), trace_id.to_lowercase());
        for id in ["", "7", "=7", "k="] {
            assert_eq!(Subject::parse(id), None, "{id}");
        }
    }
}
