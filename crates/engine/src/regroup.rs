//! Turns the parts that the codec cuts out of a request into fragments of correlations.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use otlp_codec::{Part, Subject};
use state_core::{
    Append, CorrelationId, CorrelationKey, Facts, Fragment, Origin, Root, Signal, Tenant, TraceId,
};

/// Makes the fragment of a part, and names its correlation.
///
/// Log records without a trace id and without a correlation key are kept too: as a correlation of
/// their own, named after their bytes, so that a resent request finds it again.
pub(crate) fn append(signal: Signal, part: Part, tenant: &Tenant) -> Append {
    let Part { subject, payload, identities, facts } = part;
    let fragment = Fragment::new(signal, Bytes::from(payload), identities, convert(facts));
    let trace = |bytes| TraceId::new(bytes).map(CorrelationId::trace);
    let id = match subject {
        Subject::Trace(bytes) => trace(bytes),
        Subject::Key { name, value } => Some(CorrelationId::key(&name, &value)),
        Subject::None => None,
    };
    let id = id.unwrap_or_else(|| CorrelationId::key("fragment", &fragment.id().to_string()));
    Append { key: CorrelationKey { tenant: tenant.clone(), id }, fragment }
}

fn convert(facts: otlp_codec::Facts) -> Facts {
    let origin = |origin: otlp_codec::Origin| Origin { service: origin.service, env: origin.environment };
    Facts {
        errors: facts.errors,
        first_event: facts.first_event_unix_nano.and_then(time),
        last_event: facts.last_event_unix_nano.and_then(time),
        origins: facts.origins.into_iter().map(origin).collect(),
        root: facts.root.map(|root| Root { service: root.service, name: root.name }),
        keys: facts.keys,
    }
}

fn time(unix_nano: u64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_micros(i64::try_from(unix_nano / 1_000).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(subject: Subject) -> Part {
        Part {
            subject,
            payload: b"logs".to_vec(),
            identities: vec![[1; 16]],
            facts: otlp_codec::Facts::default(),
        }
    }

    fn id(subject: Subject) -> String {
        append(Signal::Logs, part(subject), &Tenant::default()).key.id.to_string()
    }

    #[test]
    fn the_subject_names_the_correlation() {
        assert_eq!(id(Subject::Trace([0xab; 16])), "ab".repeat(16));
        assert_eq!(id(Subject::Key { name: "order.id".into(), value: "7".into() }), "order.id=7");
    }

    #[test]
    fn what_is_uncorrelated_is_found_again_by_its_bytes() {
        assert!(id(Subject::None).starts_with("fragment="));
        assert_eq!(id(Subject::None), id(Subject::None));
    }

    #[test]
    fn times_beyond_any_calendar_do_not_panic() {
        assert!(time(u64::MAX).is_some_and(|time| time > DateTime::UNIX_EPOCH));
    }
}
