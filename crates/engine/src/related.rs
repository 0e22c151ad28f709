//! Walks the links between traces, both ways, nearest first, within limits.

use std::collections::BTreeSet;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use otlp_proto::correlation::v1::{
    ListRelatedRequest, ListRelatedResponse, RelatedCorrelation, RelatedDirection,
};
use state_core::{CorrelationEntry, CorrelationId, CorrelationKey, Filter, RangeQuery, StateManager, Tenant};
use tonic::Status;

use crate::{
    link::{self, LINKED_TRACE_ID},
    query, status,
};

/// How far to go when nothing else is asked for.
const DEPTH_DEFAULT: u32 = 8;
/// How far one may ask to go.
const DEPTH_MAX: u32 = 32;
/// How much is listed when nothing else is asked for.
const LIMIT_DEFAULT: u32 = 50;
/// How much one may ask for. Each is read with its telemetry.
const LIMIT_MAX: u32 = 200;
/// How many calls are on their way to the store at once.
const IN_FLIGHT_MAX: usize = 8;

/// Lists what is linked with a correlation.
///
/// # Errors
/// The request is not valid, the correlation is not stored, or the store does not answer.
pub(crate) async fn list(
    store: &dyn StateManager,
    tenant: Tenant,
    request: ListRelatedRequest,
) -> Result<ListRelatedResponse, Status> {
    let depth_max = bounded("depth_max", request.depth_max, DEPTH_DEFAULT, DEPTH_MAX)?;
    let limit = bounded("limit", request.limit, LIMIT_DEFAULT, LIMIT_MAX)? as usize;
    let key = query::key(tenant, &request.correlation_id)?;
    let walk = Walk { store, tenant: key.tenant.clone(), limit };
    let start = walk.read(key.id.clone()).await?.ok_or_else(|| query::not_found(&key))?;

    let mut seen = BTreeSet::from([key.id]);
    let (mut border, mut response) = (vec![start.node], ListRelatedResponse::default());
    // One step more than what is listed shows whether there is more.
    for depth in 1..=depth_max + 1 {
        let mut steps = walk.steps(&border).await?;
        steps.retain(|step| seen.insert(step.to_visit().clone()));
        let room = if depth > depth_max { 0 } else { limit - response.related.len() };
        response.truncated |= steps.len() > room;
        steps.truncate(room);
        if steps.is_empty() {
            break;
        }
        border = Vec::new();
        for (step, found) in walk.visit(steps).await? {
            let link = step.link.or_else(|| found.as_ref()?.node.link_to(&step.from)).unwrap_or_default();
            let (node, summary) = found.map(|found| (found.node, found.summary)).unzip();
            border.extend(node);
            response.related.push(RelatedCorrelation {
                depth,
                direction: step.direction.into(),
                from: step.from.into(),
                to: step.to.into(),
                confidence: link.confidence,
                keys: link.keys,
                synthetic: link.is_synthetic,
                summary,
            });
        }
    }
    Ok(response)
}

fn bounded(field: &str, asked: u32, default: u32, max: u32) -> Result<u32, Status> {
    match asked {
        0 => Ok(default),
        asked if asked <= max => Ok(asked),
        _ => Err(status::invalid(field, &format!("expected at most {max}"))),
    }
}

/// What all steps of a walk have in common.
struct Walk<'a> {
    store: &'a dyn StateManager,
    tenant: Tenant,
    limit: usize,
}

/// A correlation that was read.
struct Found {
    node: Node,
    summary: otlp_proto::correlation::v1::CorrelationSummary,
}

/// A correlation and the links in it, without its telemetry.
struct Node {
    id: CorrelationId,
    links: Vec<(CorrelationId, Link)>,
}

/// What is known of a link.
#[derive(Clone)]
struct Link {
    confidence: f64,
    keys: Vec<String>,
    is_synthetic: bool,
}

impl Default for Link {
    /// That of a service, which knows.
    fn default() -> Self {
        Self { confidence: 1.0, keys: Vec::new(), is_synthetic: false }
    }
}

/// A way over a link from a correlation that was visited to one that may not have been.
struct Step {
    direction: RelatedDirection,
    from: CorrelationId,
    to: CorrelationId,
    /// `None` where it stands in the correlation that is to be visited.
    link: Option<Link>,
}

impl Step {
    fn to_visit(&self) -> &CorrelationId {
        match self.direction {
            RelatedDirection::Down => &self.to,
            RelatedDirection::Up | RelatedDirection::Unspecified => &self.from,
        }
    }
}

impl Node {
    fn of(entry: &CorrelationEntry) -> Self {
        let mut links: Vec<_> = link::bridges(entry)
            .into_iter()
            .map(|bridged| {
                let link = Link { confidence: bridged.confidence, keys: bridged.keys, is_synthetic: true };
                (CorrelationId::trace(bridged.parent), link)
            })
            .collect();
        for trace in link::linked_traces(entry).into_iter().map(CorrelationId::trace) {
            if links.iter().all(|(linked, _)| *linked != trace) {
                links.push((trace, Link::default()));
            }
        }
        Self { id: entry.correlation_id.clone(), links }
    }

    fn link_to(&self, other: &CorrelationId) -> Option<Link> {
        self.links.iter().find(|(linked, _)| linked == other).map(|(_, link)| link.clone())
    }
}

impl Walk<'_> {
    /// All ways on from correlations that were visited, in their order.
    async fn steps(&self, border: &[Node]) -> Result<Vec<Step>, Status> {
        let ids: Vec<_> = border.iter().map(|node| node.id.clone()).collect();
        let down = stream::iter(ids.into_iter().map(|id| self.linked_to(id)));
        let down: Vec<_> = down.buffered(IN_FLIGHT_MAX).try_collect().await?;
        let mut steps = Vec::new();
        for (node, children) in border.iter().zip(down) {
            steps.extend(node.links.iter().map(|(from, link)| Step {
                direction: RelatedDirection::Up,
                from: from.clone(),
                to: node.id.clone(),
                link: Some(link.clone()),
            }));
            steps.extend(children.into_iter().map(|to| Step {
                direction: RelatedDirection::Down,
                from: node.id.clone(),
                to,
                link: None,
            }));
        }
        Ok(steps)
    }

    /// The correlations with a bridge to this one, more than can be listed if there are.
    async fn linked_to(&self, id: CorrelationId) -> Result<Vec<CorrelationId>, Status> {
        let key = Some((LINKED_TRACE_ID.to_owned(), id.into()));
        let filter = Filter { key, ..Filter::default() };
        // Those that are seen already are among them.
        let limit = 2 * self.limit + 1;
        let query = RangeQuery { tenant: self.tenant.clone(), filter, limit, ..RangeQuery::default() };
        let page = self.store.get_correlations_by_time_range(&query).await.map_err(query::failed)?;
        Ok(page.correlations.into_iter().map(|summary| summary.correlation_id).collect())
    }

    /// Reads where steps lead to.
    async fn visit(&self, steps: Vec<Step>) -> Result<Vec<(Step, Option<Found>)>, Status> {
        let reads = steps.into_iter().map(|step| self.take(step));
        stream::iter(reads).buffered(IN_FLIGHT_MAX).try_collect().await
    }

    async fn take(&self, step: Step) -> Result<(Step, Option<Found>), Status> {
        let found = self.read(step.to_visit().clone()).await?;
        Ok((step, found))
    }

    /// Reads a correlation; `None` if it is not stored.
    async fn read(&self, id: CorrelationId) -> Result<Option<Found>, Status> {
        let key = CorrelationKey { tenant: self.tenant.clone(), id };
        // The entry does not say where the correlation stands.
        let (entry, known) = tokio::join!(self.store.get_correlation(&key), self.store.get_summary(&key));
        let Some(entry) = entry.map_err(query::failed)? else { return Ok(None) };
        let mut summary = query::convert(entry.summary());
        summary.status =
            query::convert_status(known.map_err(query::failed)?.and_then(|known| known.status)).into();
        let node = tokio::task::block_in_place(|| Node::of(&entry));
        Ok(Some(Found { node, summary }))
    }
}
