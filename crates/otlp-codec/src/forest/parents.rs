//! Who is whose parent.

use crate::forest::{Parent, Span};

/// Where the spans of an id are. Client and server span of one call may share theirs, so the kind
/// ranks them: of the two sides of a call the server's is the one that goes on.
pub(super) struct Parents<'a> {
    /// Sorted, so that any number of spans of one id costs a look-up and not a search.
    by_id: Vec<(&'a [u8], Rank, usize)>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Server,
    Client,
    Other,
}

impl Rank {
    fn of(span: &Span<'_>) -> Self {
        if span.is_server() {
            Self::Server
        } else if span.is_client() {
            Self::Client
        } else {
            Self::Other
        }
    }
}

impl<'a> Parents<'a> {
    pub(super) fn of(spans: &[Span<'a>]) -> Self {
        let entry = |(index, span): (usize, &Span<'a>)| (span.span_id, Rank::of(span), index);
        let mut by_id: Vec<_> = spans.iter().enumerate().map(entry).collect();
        by_id.sort_unstable();
        Self { by_id }
    }

    /// The span with this id; of several the one that goes on.
    pub(super) fn place(&self, id: &[u8]) -> Option<usize> {
        self.from(id, Rank::Server).next().map(|(_, index)| index)
    }

    /// What each span stands under; following it ends for every span.
    pub(super) fn find(&self, spans: &[Span<'a>]) -> Vec<Parent> {
        let mut parents: Vec<_> =
            spans.iter().enumerate().map(|(index, span)| self.parent(index, span)).collect();
        cut_circles(&mut parents);
        parents
    }

    fn parent(&self, index: usize, span: &Span<'a>) -> Parent {
        // Of two sides that share an id the server's stands under the client's.
        let beside = self.from(span.span_id, Rank::Client).next().filter(|(rank, _)| *rank == Rank::Client);
        if span.is_server()
            && let Some((_, client)) = beside
        {
            return Parent::Span(client);
        }
        if span.is_root() {
            return Parent::None;
        }
        let others = self.from(span.parent_span_id, Rank::Server).map(|(_, other)| other);
        match others.clone().find(|other| *other != index) {
            Some(other) => Parent::Span(other),
            None if others.clone().next().is_some() => Parent::Circle,
            None => Parent::Missing,
        }
    }

    /// The spans of an id, from a rank on.
    fn from(&self, id: &[u8], rank: Rank) -> impl Iterator<Item = (Rank, usize)> + Clone {
        let start = self.by_id.partition_point(|(known, other, _)| (*known, *other) < (id, rank));
        let rest = self.by_id[start..].iter();
        rest.take_while(move |(known, ..)| *known == id).map(|(_, rank, index)| (*rank, *index))
    }
}

/// Takes one span out of every circle of parents: the first of it.
fn cut_circles(parents: &mut [Parent]) {
    let above = |parents: &[Parent], index: usize| match parents[index] {
        Parent::Span(parent) => Some(parent),
        _ => None,
    };
    // From which span on the way up a span was seen first; every span is seen once.
    let mut seen_from = vec![usize::MAX; parents.len()];
    for start in 0..parents.len() {
        let mut next = Some(start);
        while let Some(index) = next
            && seen_from[index] == usize::MAX
        {
            seen_from[index] = start;
            next = above(parents, index);
        }
        let Some(met) = next.filter(|met| seen_from[*met] == start) else { continue };
        let around =
            std::iter::successors(Some(met), |index| above(parents, *index).filter(|next| *next != met));
        let first = around.min().unwrap_or(met);
        parents[first] = Parent::Circle;
    }
}
