//! Lists of correlations: what is asked for, and a page of the answer.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::{Cursor, Status, Summary, Tenant};

/// Which correlations to list.
#[derive(Debug, Clone, Default)]
pub struct RangeQuery {
    /// Whose.
    pub tenant: Tenant,
    /// Last arrival at or after this time.
    pub from: Option<DateTime<Utc>>,
    /// Last arrival before this time.
    pub to: Option<DateTime<Utc>>,
    /// What they must be like.
    pub filter: Filter,
    /// At most this many.
    pub limit: usize,
    /// Where the page before ended.
    pub after: Option<Cursor>,
}

/// What a correlation must be like to be listed; by default anything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// It carries this correlation key, name and value. One that carried it before it was replaced may
    /// be listed too, and a store may remember only some of very many.
    pub key: Option<(String, String)>,
    /// This service took part.
    pub service: Option<String>,
    /// The deployment environment of its service.
    pub env: Option<String>,
    /// Where it stands.
    pub status: Option<Status>,
    /// It has errors, or has none.
    pub has_errors: Option<bool>,
    /// So much time lies at least between its first and its last event.
    pub duration_min: Option<Duration>,
}

impl Filter {
    /// Whether a correlation is like that, apart from its keys, which a summary does not know.
    pub fn admits(&self, summary: &Summary) -> bool {
        let Self { key: _, service, env, status, has_errors, duration_min } = self;
        service.as_ref().is_none_or(|service| summary.involves(service))
            && env.as_ref().is_none_or(|env| summary.env == *env)
            && status.is_none_or(|status| summary.status == Some(status))
            && has_errors.is_none_or(|has_errors| (summary.counts.errors > 0) == has_errors)
            && duration_min.is_none_or(|min| summary.counts.duration() >= min)
    }
}

impl RangeQuery {
    /// Whether a correlation belongs into the list after the cursor.
    pub fn admits(&self, summary: &Summary) -> bool {
        let time = summary.last_updated;
        self.from.is_none_or(|from| time >= from)
            && self.to.is_none_or(|to| time < to)
            && self.after.as_ref().is_none_or(|after| *after < Cursor::of(summary))
            && self.filter.admits(summary)
    }
}

/// One page of at most `limit` out of a page of each of several lists that are ordered alike, and where it goes
/// on. Each list is given with where it goes on; `place` is the place of an item in the order.
///
/// What stands in two of them at the same place stands there twice, on the same page.
pub fn unite_pages<T>(
    pages: impl IntoIterator<Item = (Vec<T>, Option<Cursor>)>,
    limit: usize,
    place: impl Fn(&T) -> Cursor,
) -> (Vec<T>, Option<Cursor>) {
    let (mut items, mut border) = (Vec::new(), None::<Cursor>);
    for (page, next) in pages {
        items.extend(page.into_iter().map(|item| (place(&item), item)));
        // Beyond the nearest end of a page that goes on, something may be missing.
        border = match (border, next) {
            (Some(border), Some(next)) => Some(border.min(next)),
            (border, next) => border.or(next),
        };
    }
    items.sort_by(|(one, _), (other, _)| one.cmp(other));
    if let Some(border) = &border {
        items.retain(|(place, _)| place <= border);
    }
    if let Some((last, _)) = limit.checked_sub(1).and_then(|last| items.get(last))
        && items.len() > limit
    {
        let last = last.clone();
        items.retain(|(place, _)| *place <= last);
        border = Some(last);
    }
    (items.into_iter().map(|(_, item)| item).collect(), border)
}

/// Part of a list.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// Newest arrival first.
    pub correlations: Vec<Summary>,
    /// Where the list goes on; `None` at its end.
    pub next: Option<Cursor>,
}
