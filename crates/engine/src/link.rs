//! Links traces whose context was not propagated: when one closes, the trace that led to it is looked for among those
//! that carry the same keys, and a bridge span that links to it is added to what closes.
//!
//! Nothing here keeps a trace from being closed: what cannot be linked, now or at all, is closed without.

mod bridge;
mod candidates;
mod config;
mod score;

use std::{
    collections::{BTreeSet, HashMap},
    mem,
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt as _, stream};
use otlp_codec::{DecodeError, Outline};
use state_core::{
    Append, Claim, CorrelationEntry, CorrelationKey, Counts, Fragment, Outcome, StateManager, TraceId,
};
use tokio::time::{Instant, timeout_at};
use tracing::{debug, warn};

use crate::metrics;
use bridge::Bridge;
pub(crate) use bridge::{Bridged, LINKED_TRACE_ID};
use candidates::{Candidates, Carried, Carriers};
pub use config::LinksConfig;
use score::{Child, Choice, Key, Missed, Rules};

/// Most keys by which a trace is linked, those of the largest weights.
const KEYS_MAX: usize = 8;
/// How many traces are linked together: candidates of all of them are in memory at once.
const TOGETHER_MAX: usize = 64;
/// How many traces that lead to others are read at once.
const READ_MAX: usize = 8;
/// How long looking for links may take. With the calls around it, a claim is still good afterwards.
const TIME_MAX: Duration = Duration::from_secs(2);

/// Makes the links.
#[derive(Debug)]
pub(crate) struct Linker {
    store: Arc<dyn StateManager>,
    rules: Rules,
    candidates: Candidates,
}

/// A trace that is closed and what is known of it.
struct Closing<'a> {
    claim: &'a mut Claim,
    child: Child,
}

/// A link that is to be made.
struct Found<'a> {
    claim: &'a mut Claim,
    parent: TraceId,
    choice: Choice,
}

impl Linker {
    /// `None` where traces are not linked.
    pub(crate) fn new(config: &LinksConfig, store: Arc<dyn StateManager>) -> Option<Self> {
        let candidates = Candidates::new(Arc::clone(&store), config.candidates_max);
        config.enabled.then(|| Self { store, rules: config.rules(), candidates })
    }

    /// Adds bridges to those of the claimed traces for which one is found, in the store and in the claim alike, so
    /// that it is finished with its bridge.
    pub(crate) async fn link(&self, claims: impl Iterator<Item = &mut Claim>) {
        let closing = claims.filter_map(|claim| {
            let child = self.child(claim)?;
            Some(Closing { claim, child })
        });
        let mut closing: Vec<_> = closing.collect();
        let deadline = Instant::now() + TIME_MAX;
        while !closing.is_empty() {
            let rest = closing.split_off(closing.len().min(TOGETHER_MAX));
            self.link_some(mem::replace(&mut closing, rest), deadline).await;
        }
    }

    async fn link_some(&self, closing: Vec<Closing<'_>>, deadline: Instant) {
        let keys = closing.iter().flat_map(Closing::carried).collect();
        let carriers = self.candidates.find(keys, deadline).await;
        let found = closing.into_iter().filter_map(|closing| self.choose(closing, &carriers)).collect();
        let bridged = self.bridge(found, deadline).await;
        self.append(bridged).await;
    }

    /// What a trace is linked by; `None` if it cannot be linked, or is already.
    fn child(&self, claim: &Claim) -> Option<Child> {
        let entry = &claim.entry;
        let id = &claim.ticket.key.id;
        let is_linkable = claim.has_news() && id.trace_id().is_some() && !entry.spans.is_empty();
        if !is_linkable || entry.spans.iter().any(bridge::is_bridge) {
            return None;
        }
        let mut keys: Vec<Key> = carried_keys(entry).into_iter().cloned().collect();
        keys.retain(|(name, _)| self.rules.weight(name) > 0.0);
        // Stable: of equal weights the first ones by name.
        keys.sort_by(|(one, _), (other, _)| self.rules.weight(other).total_cmp(&self.rules.weight(one)));
        metrics::link_keys_left_out("keys_max", keys.len().saturating_sub(KEYS_MAX));
        keys.truncate(KEYS_MAX);
        let mut counts = Counts::default();
        entry.fragments().for_each(|fragment| counts.absorb(fragment));
        let first_event = counts.first_event.filter(|_| !keys.is_empty())?;
        Some(Child { id: id.clone(), service: entry.service.clone(), first_event, keys })
    }

    /// Chooses the trace that led to a closing one.
    fn choose<'a>(&self, closing: Closing<'a>, carriers: &HashMap<Carried, Carriers>) -> Option<Found<'a>> {
        let mut found = Vec::new();
        for (key, carried) in closing.child.keys.iter().zip(closing.carried()) {
            match carriers.get(&carried) {
                Some(Carriers::These(summaries)) => {
                    found.extend(summaries.iter().map(|summary| (key, summary)));
                }
                Some(Carriers::TooMany) => metrics::link_keys_left_out("common", 1),
                // Half of what is known could lead to the wrong one.
                Some(Carriers::Unknown) | None => {
                    metrics::not_linked("unavailable");
                    return None;
                }
            }
        }
        let chosen = self.rules.choose(&closing.child, found);
        let chosen = chosen.map_err(|missed| match missed {
            Missed::NoCandidate => metrics::not_linked("no_candidate"),
            Missed::BelowThreshold => metrics::not_linked("below_threshold"),
        });
        let choice = chosen.ok()?;
        Some(Found { parent: choice.parent.trace_id()?, claim: closing.claim, choice })
    }

    /// Reads both traces of each link and makes the bridges.
    async fn bridge<'a>(&self, found: Vec<Found<'a>>, deadline: Instant) -> Vec<(&'a mut Claim, Append)> {
        let parents: BTreeSet<_> = found.iter().map(Found::parent_key).collect();
        let reads = parents.into_iter().map(|key| self.read_outline(key, deadline));
        let parents: HashMap<_, _> = stream::iter(reads).buffer_unordered(READ_MAX).collect().await;
        let bridged = found.into_iter().filter_map(|found| {
            let parent = parents.get(&found.parent_key())?.as_ref();
            match parent.map_or(Err("unavailable"), |parent| found.bridge(parent)) {
                Ok(append) => Some((found.claim, append)),
                Err(reason) => {
                    metrics::not_linked(reason);
                    None
                }
            }
        });
        bridged.collect()
    }

    async fn read_outline(
        &self,
        key: CorrelationKey,
        deadline: Instant,
    ) -> (CorrelationKey, Option<Outline>) {
        if Instant::now() >= deadline {
            return (key, None);
        }
        let outline = match timeout_at(deadline, self.store.get_correlation(&key)).await {
            Ok(Ok(Some(entry))) => outline(&entry).ok(),
            Ok(Err(error)) => {
                debug!(%key, error = &error as &dyn std::error::Error, "a trace was not read for a link");
                None
            }
            Ok(Ok(None)) | Err(_) => None,
        };
        (key, outline)
    }

    /// Adds the bridges to their traces.
    async fn append(&self, bridged: Vec<(&mut Claim, Append)>) {
        if bridged.is_empty() {
            return;
        }
        let batch = bridged.iter().map(|(_, append)| append.clone()).collect();
        let outcomes = match self.store.append(batch).await {
            Ok(outcomes) => outcomes,
            Err(error) => {
                // Any of them may be there: then finishing answers that something has changed.
                debug!(error = &error as &dyn std::error::Error, "links were not kept");
                return bridged.iter().for_each(|_| metrics::not_linked("unavailable"));
            }
        };
        for ((claim, append), outcome) in bridged.into_iter().zip(outcomes) {
            match outcome {
                Outcome::Added => {
                    add(claim, append.fragment);
                    metrics::linked();
                }
                // Another engine holds the trace by now, and has linked it.
                Outcome::Duplicate => metrics::not_linked("linked"),
                Outcome::Refused(refusal) => metrics::not_linked(refusal.as_str()),
            }
        }
    }
}

impl Closing<'_> {
    fn carried(&self) -> impl Iterator<Item = Carried> {
        let tenant = &self.claim.ticket.key.tenant;
        self.child.keys.iter().map(|key| (tenant.clone(), key.clone()))
    }
}

impl Found<'_> {
    fn parent_key(&self) -> CorrelationKey {
        CorrelationKey { tenant: self.claim.ticket.key.tenant.clone(), id: self.choice.parent.clone() }
    }

    /// The bridge from the closing trace to the one that led to it.
    ///
    /// # Errors
    /// Why there is none.
    fn bridge(&self, parent: &Outline) -> Result<Append, &'static str> {
        let CorrelationKey { tenant, id } = &self.claim.ticket.key;
        let entry = &self.claim.entry;
        let child = outline(entry).map_err(|error| {
            warn!(%id, error = &error as &dyn std::error::Error, "a trace cannot be read for a link");
            "unreadable"
        })?;
        let trace_id = id.trace_id().ok_or("unreadable")?;
        if child.linked.iter().any(|linked| linked != trace_id.bytes()) {
            // It says itself what it follows from.
            return Err("linked");
        }
        let (child_top, parent_top) = child.top.zip(parent.top).ok_or("unreadable")?;
        let Choice { confidence, ref keys, .. } = self.choice;
        let bridge = Bridge {
            child: trace_id,
            child_top,
            service: &entry.service,
            env: &entry.env,
            parent: self.parent,
            parent_top,
            confidence,
            keys,
        };
        Ok(bridge.append(tenant))
    }
}

/// Makes a fragment that was added to a claimed correlation part of the claim.
fn add(claim: &mut Claim, fragment: Fragment) {
    claim.ticket.version += 1;
    for (name, value) in &fragment.facts().keys {
        claim.entry.metadata.entry(name.clone()).or_insert_with(|| value.clone());
    }
    claim.entry.spans.push(fragment.clone());
    claim.news.push(fragment);
}

fn carried_keys(entry: &CorrelationEntry) -> BTreeSet<&Key> {
    entry.fragments().flat_map(|fragment| &fragment.facts().keys).collect()
}

fn outline(entry: &CorrelationEntry) -> Result<Outline, DecodeError> {
    Outline::read(entry.spans.iter().map(|fragment| &fragment.payload()[..]))
}

/// The bridges of a correlation.
pub(crate) fn bridges(entry: &CorrelationEntry) -> Vec<Bridged> {
    entry.spans.iter().flat_map(Bridged::read).collect()
}

/// Traces that the spans of a correlation link to; none where they cannot be read.
pub(crate) fn linked_traces(entry: &CorrelationEntry) -> Vec<TraceId> {
    let linked = outline(entry).map(|outline| outline.linked).unwrap_or_default();
    linked.into_iter().filter_map(TraceId::new).collect()
}
