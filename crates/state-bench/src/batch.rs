//! What engines make of requests before the store is asked: pieces that only need to be named.
//!
//! Splitting is not measured, so it is done beforehand; naming a fragment by its hash is.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use otlp_codec::{Part, SplitOptions, Subject, split_traces};
use otlp_proto::opentelemetry::proto::trace::v1::TracesData;
use prost::Message as _;
use state_core::{
    Append, CorrelationEntry, CorrelationId, CorrelationKey, Facts, Fragment, Identity, Origin, Overrides,
    Root, Signal, Tenant, TraceId,
};

/// A fragment that has no name yet.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) key: CorrelationKey,
    pub(crate) payload: Bytes,
    pub(crate) identities: Vec<Identity>,
    pub(crate) facts: Facts,
}

impl Piece {
    fn new(part: Part) -> anyhow::Result<Self> {
        let Part { subject, payload, identities, facts } = part;
        let Subject::Trace(trace_id) = subject else { anyhow::bail!("a span belongs to no trace") };
        let Some(trace_id) = TraceId::new(trace_id) else { anyhow::bail!("a trace id is all zero") };
        let key = CorrelationKey { tenant: Tenant::default(), id: CorrelationId::trace(trace_id) };
        Ok(Self { key, payload: payload.into(), identities, facts: convert(facts) })
    }

    /// The same for another tenant, in memory of its own as if it had just been received.
    pub(crate) fn of_tenant(&self, tenant: &Tenant) -> Self {
        Self {
            key: CorrelationKey { tenant: tenant.clone(), id: self.key.id.clone() },
            payload: Bytes::copy_from_slice(&self.payload),
            identities: self.identities.clone(),
            facts: self.facts.clone(),
        }
    }

    /// Names it.
    pub(crate) fn append(self) -> Append {
        let Self { key, payload, identities, facts } = self;
        Append { key, fragment: Fragment::new(Signal::Traces, payload, identities, facts) }
    }

    /// A correlation of this fragment alone, with its times.
    pub(crate) fn entry(self, time: DateTime<Utc>) -> (CorrelationKey, CorrelationEntry) {
        let Append { key, fragment } = self.append();
        let entry = CorrelationEntry::fold(key.id.clone(), time, time, vec![fragment], Overrides::default());
        (key, entry)
    }
}

/// Takes a request apart as an engine does.
pub(crate) fn split(request: &TracesData) -> anyhow::Result<Vec<Piece>> {
    split_bytes(&request.encode_to_vec())
}

/// Takes an encoded request apart as an engine does.
pub(crate) fn split_bytes(request: &[u8]) -> anyhow::Result<Vec<Piece>> {
    let split = split_traces(request, &SplitOptions::default())?;
    split.parts.into_iter().map(Piece::new).collect()
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
