//! A correlation for people: spans under their parents, log records in the order of time.
//!
//! Nothing here recurses, because nobody limits how deep a trace is; spans that are each other's
//! parents stand there once.

mod parents;
mod read;
mod value;

pub use read::{KEYS_MAX, LINKS_MAX, Link, Log, Marks, Span};

use crate::wire::DecodeError;
use parents::Parents;

/// Spans and log records where they belong.
#[derive(Debug, Default)]
pub struct Forest<'a> {
    /// In the order of their starts; of two that start at once, the client's comes first: it called.
    pub nodes: Vec<Node<'a>>,
    /// Places in `nodes` of the spans that stand under no other, in that order.
    pub roots: Vec<usize>,
    /// In the order of their times.
    pub logs: Vec<Log<'a>>,
    /// Places in `logs` of the records whose span is not here.
    pub stray_logs: Vec<usize>,
}

/// A span and what belongs to it.
#[derive(Debug)]
pub struct Node<'a> {
    /// The span itself.
    pub span: Span<'a>,
    /// What it stands under.
    pub parent: Parent,
    /// Places of the spans under it, in their order.
    pub children: Vec<usize>,
    /// Places of the log records that were written during it, in their order.
    pub logs: Vec<usize>,
}

/// What a span stands under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parent {
    /// It names no parent.
    None,
    /// The span at that place.
    Span(usize),
    /// The span that it names is not here.
    Missing,
    /// It is its own ancestor. Of such a circle the first span in the order of starts stands at the top.
    Circle,
}

/// A step of a [walk](Forest::walk).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Place of the span in [`Forest::nodes`].
    pub index: usize,
    /// How many spans it stands under.
    pub level: usize,
    /// Whether it is the last one under its parent.
    pub is_last: bool,
}

impl<'a> Forest<'a> {
    /// Reads an encoded `TracesData` and an encoded `LogsData`.
    ///
    /// What lies in a span or log record beyond its own fields, and is malformed, is left out: it must
    /// not take along what is around it.
    ///
    /// # Errors
    /// When a message around the spans and log records, or one of their own fields, is malformed.
    pub fn read(traces: &'a [u8], logs: &'a [u8]) -> Result<Self, DecodeError> {
        let (spans, logs) = (read::spans(traces)?, read::logs(logs)?);
        let parents = Parents::of(&spans);
        let places_of_spans: Vec<_> = logs.iter().map(|log| parents.place(log.span_id)).collect();
        let found = parents.find(&spans);
        let node = |(span, parent)| Node { span, parent, children: Vec::new(), logs: Vec::new() };
        let nodes = spans.into_iter().zip(found).map(node).collect();
        let mut forest = Self { nodes, logs, ..Self::default() };
        for index in 0..forest.nodes.len() {
            match forest.nodes[index].parent {
                Parent::Span(parent) => forest.nodes[parent].children.push(index),
                _ => forest.roots.push(index),
            }
        }
        for (index, place) in places_of_spans.into_iter().enumerate() {
            match place {
                Some(place) => forest.nodes[place].logs.push(index),
                None => forest.stray_logs.push(index),
            }
        }
        Ok(forest)
    }

    /// Goes through all spans, each once: a span, then all that is under it, then the one beside it.
    pub fn walk(&self) -> impl Iterator<Item = Step> {
        let mut open = Vec::new();
        push(&mut open, &self.roots, 0);
        std::iter::from_fn(move || {
            let step = open.pop()?;
            push(&mut open, &self.nodes[step.index].children, step.level + 1);
            Some(step)
        })
    }
}

/// Puts siblings on the stack so that the first one lies on top.
fn push(open: &mut Vec<Step>, siblings: &[usize], level: usize) {
    let steps = siblings.iter().enumerate().map(|(place, index)| {
        let is_last = place + 1 == siblings.len();
        Step { index: *index, level, is_last }
    });
    open.extend(steps.rev());
}

#[cfg(test)]
mod tests;
