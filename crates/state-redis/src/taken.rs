//! What a script took of what a look had found, and what is in it, which is read after the script.

use bytes::Bytes;
use fred::prelude::Value;
use state_core::{CorrelationKey, Error, Result};
use tokio::{task::yield_now, time::Instant};
use tracing::warn;

use crate::{
    content::Content,
    field::Unreadable,
    keys::{Keys, parse_member},
    link::Command,
    look::Found,
    router::Router,
};

/// So many are read before what else is to be done gets its turn.
const READ_IN_A_ROW: usize = 64;

/// Correlations that were taken.
pub(crate) struct Taken {
    correlations: Vec<Correlation>,
    /// Why a shard was left out, if one was.
    unanswered: Option<Error>,
}

/// One of them.
struct Correlation {
    slot: u16,
    name: Bytes,
    key: CorrelationKey,
    mark: Mark,
}

/// What is known of it from the script that took it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    /// When it was taken, by the clock of the store.
    pub(crate) now: i64,
    /// The fence of the claim; 0 where nothing was claimed.
    pub(crate) fence: i64,
}

impl Taken {
    /// Reads the answers of a script that was called with an index and what was found in each bucket: the
    /// time, then `numbers` for each correlation taken, of which the first is the place of its key in the call
    /// and the second, if there is one, the fence.
    pub(crate) fn read(keys: &Keys, found: Found, answers: Vec<Result<Value>>, numbers: usize) -> Self {
        let Found { members, mut unanswered } = found;
        let mut correlations = Vec::new();
        for ((bucket, members), answer) in members.iter().zip(answers) {
            let answer = match answer {
                Ok(answer) => answer.into_array(),
                Err(error) => {
                    unanswered = Some(error);
                    continue;
                }
            };
            let Some((now, taken)) = answer.split_first() else { continue };
            let now = now.as_i64().unwrap_or_default();
            let names = keys.of(*bucket);
            correlations.extend(taken.chunks(numbers).filter_map(|taken| {
                // The first key of the call is the index, and places count from 1.
                let member = members.get(taken.first()?.as_usize()?.checked_sub(2)?)?;
                let (tenant, id) = parse_member(member)?;
                let fence = taken.get(1).and_then(Value::as_i64).unwrap_or_default();
                Some(Correlation {
                    slot: names.slot,
                    name: names.of_member(member),
                    key: CorrelationKey { tenant, id },
                    mark: Mark { now, fence },
                })
            }));
        }
        Self { correlations, unanswered }
    }

    /// Reads what is in them. Those that cannot be read, or are gone, are left out.
    ///
    /// # Errors
    /// Nothing of them could be read because a shard did not answer.
    pub(crate) async fn contents<T>(
        self,
        router: &Router,
        attempted: &str,
        deadline: Instant,
        read: impl Fn(Content, CorrelationKey, Mark) -> std::result::Result<Vec<T>, Unreadable>,
    ) -> Result<Vec<T>> {
        let Self { correlations, mut unanswered } = self;
        let calls = correlations.iter().map(|correlation| {
            (correlation.slot, Command::new("HGETALL", [Value::Bytes(correlation.name.clone())]))
        });
        let answers = router.call_each(attempted, calls.collect(), deadline).await;
        let mut contents = Vec::with_capacity(correlations.len());
        for (place, (Correlation { key, mark, .. }, answer)) in
            correlations.into_iter().zip(answers).enumerate()
        {
            if place % READ_IN_A_ROW == READ_IN_A_ROW - 1 {
                yield_now().await;
            }
            let content = match answer {
                Ok(fields) => Content::read(fields.into_array(), mark.now),
                Err(error) => {
                    unanswered = Some(error);
                    continue;
                }
            };
            match content
                .and_then(|content| content.map(|content| read(content, key.clone(), mark)).transpose())
            {
                Ok(read) => contents.extend(read.into_iter().flatten()),
                // Left to its lease, again and again, until it expires.
                Err(error) => {
                    warn!(%key, error = &error as &dyn std::error::Error, "a correlation cannot be read");
                }
            }
        }
        match unanswered {
            Some(error) if contents.is_empty() => Err(error),
            _ => Ok(contents),
        }
    }
}
