//! What engines make of requests before the store is asked: pieces that only need to be named.
//!
//! Splitting is not measured, so it is done beforehand; naming a fragment by its hash is.

use anyhow::Context as _;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use otlp_codec::{Part, SplitOptions, Subject, split_traces};
use otlp_proto::opentelemetry::proto::trace::v1::{ResourceSpans, ScopeSpans, TracesData};
use prost::Message as _;
use state_core::{
    Append, CorrelationEntry, CorrelationId, CorrelationKey, Facts, Fragment, Identity, Origin, Overrides,
    Root, Signal, Tenant, TraceId,
};

/// A fragment that has no name yet.
#[derive(Debug)]
pub(crate) struct Piece {
    signal: Signal,
    pub(crate) key: CorrelationKey,
    pub(crate) payload: Bytes,
    pub(crate) identities: Vec<Identity>,
    pub(crate) facts: Facts,
}

impl Piece {
    pub(crate) fn new(signal: Signal, part: Part) -> anyhow::Result<Self> {
        let Part { subject, payload, identities, facts } = part;
        let id = match subject {
            Subject::Trace(trace_id) => {
                CorrelationId::trace(TraceId::new(trace_id).context("a trace id is all zero")?)
            }
            Subject::Key { name, value } => CorrelationId::key(&name, &value),
            Subject::None => anyhow::bail!("telemetry that belongs to nothing is not measured"),
        };
        let key = CorrelationKey { tenant: Tenant::default(), id };
        Ok(Self { signal, key, payload: payload.into(), identities, facts: convert(facts) })
    }

    /// The same for another tenant, in memory of its own as if it had just been received.
    pub(crate) fn of_tenant(&self, tenant: &Tenant) -> Self {
        Self {
            signal: self.signal,
            key: CorrelationKey { tenant: tenant.clone(), id: self.key.id.clone() },
            payload: Bytes::copy_from_slice(&self.payload),
            identities: self.identities.clone(),
            facts: self.facts.clone(),
        }
    }

    /// Names it.
    pub(crate) fn append(self) -> Append {
        let Self { signal, key, payload, identities, facts } = self;
        Append { key, fragment: Fragment::new(signal, payload, identities, facts) }
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
    let split = split_traces(&request.encode_to_vec(), &SplitOptions::default())?;
    split.parts.into_iter().map(|part| Piece::new(Signal::Traces, part)).collect()
}

/// Takes a request apart span by span, as if each had come alone.
pub(crate) fn split_apart(request: &TracesData) -> anyhow::Result<Vec<Piece>> {
    let mut pieces = Vec::new();
    for resource in &request.resource_spans {
        for scope in &resource.scope_spans {
            for span in &scope.spans {
                let spans = vec![span.clone()];
                let (scope, schema_url) = (scope.scope.clone(), scope.schema_url.clone());
                let scope_spans = vec![ScopeSpans { scope, spans, schema_url }];
                let (resource, schema_url) = (resource.resource.clone(), resource.schema_url.clone());
                let resource_spans = vec![ResourceSpans { resource, scope_spans, schema_url }];
                pieces.extend(split(&TracesData { resource_spans })?);
            }
        }
    }
    Ok(pieces)
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
