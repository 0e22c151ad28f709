//! Deviations that are made on purpose: a proof that cannot fail proves nothing.

use std::sync::atomic::{AtomicBool, Ordering};

use clap::ValueEnum;

/// What is done wrong, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Mutation {
    /// A request counts as sent and is not.
    LoseRequest,
    /// A request holds a span that nobody expects.
    AddSpan,
    /// The endpoint says that it has a generation of a trace, and has not.
    LoseDelivery,
    /// A span is delivered in two generations.
    DoubleSpan,
}

/// Says yes once, if at all.
#[derive(Debug)]
pub struct Once(AtomicBool);

impl Once {
    pub fn of(chosen: Option<Mutation>, this: Mutation) -> Self {
        Self(AtomicBool::new(chosen == Some(this)))
    }

    pub fn is_now(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}
