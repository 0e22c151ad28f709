//! Whether a correlation is to be closed now, why, and when to look again otherwise.

use std::time::Duration;

use otlp_codec::Structure;
use serde::Serialize;
use state_core::Claim;

/// Most missing parents that are named.
const MISSING_NAMED_MAX: usize = 16;
/// Shortest time until the next look.
const LOOK_AFTER_MIN: Duration = Duration::from_millis(50);

/// When correlations are closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rules {
    /// How long nothing must have arrived although nothing is missing.
    pub(crate) grace: Duration,
    /// How long nothing must have arrived when something is missing, or may be.
    pub(crate) window: Duration,
    /// The age at which a generation is closed in any case.
    pub(crate) age_max: Duration,
}

/// Why a correlation is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Cause {
    /// Root and all parents are there.
    Complete,
    /// Nothing has arrived for the window.
    Idle,
    /// It has become too old to wait for more.
    MaxAge,
    /// It has reached a limit.
    Full,
    /// The state ends, and it with it.
    Shutdown,
}

impl Cause {
    /// Its name in metrics and events.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Idle => "idle",
            Self::MaxAge => "max_age",
            Self::Full => "full",
            Self::Shutdown => "shutdown",
        }
    }
}

/// What an event says of a close.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Close {
    pub(crate) cause: Cause,
    /// Whether a span without a parent is there.
    pub(crate) has_root: bool,
    /// How many parents are missing.
    pub(crate) missing: usize,
    /// Some of them, as hexadecimal span ids.
    pub(crate) missing_parents: Vec<String>,
}

impl Close {
    fn new(cause: Cause, structure: &Structure) -> Self {
        let named = structure.missing_parents.iter().take(MISSING_NAMED_MAX);
        Self {
            cause,
            has_root: structure.has_root,
            missing: structure.missing_parents.len(),
            missing_parents: named.map(|id| format!("{:016x}", u64::from_be_bytes(*id))).collect(),
        }
    }

    /// The same as JSON.
    pub(crate) fn note(&self) -> String {
        serde_json::to_string(self).expect("texts and numbers have a JSON form")
    }
}

/// What is to be done with a claimed correlation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Close(Close),
    /// How long to leave it alone, unless something arrives.
    Wait(Duration),
}

/// Decides. `unrest` is how long it does not count yet that nothing has arrived, because the store
/// was away.
pub(crate) fn judge(claim: &Claim, structure: &Structure, rules: &Rules, unrest: Duration) -> Verdict {
    let quiet = claim.quiet;
    let last_arrival = (claim.entry.last_updated - claim.opened).to_std().unwrap_or_default();
    let age = last_arrival + quiet;
    let close = |cause| Verdict::Close(Close::new(cause, structure));
    if claim.is_full {
        return close(Cause::Full);
    }
    // A grace that is over was asked of the store; it may have been longer when it was written.
    if structure.is_whole() && quiet >= rules.grace {
        return close(Cause::Complete);
    }
    let until_idle = rules.window.saturating_sub(quiet);
    let until_old = rules.age_max.saturating_sub(age);
    let left = until_idle.min(until_old).max(unrest);
    if !left.is_zero() {
        return Verdict::Wait(left.max(LOOK_AFTER_MIN));
    }
    close(if until_idle.is_zero() { Cause::Idle } else { Cause::MaxAge })
}

/// Says why a correlation is closed that cannot wait any longer, because the state ends.
pub(crate) fn last(claim: &Claim, structure: &Structure) -> Close {
    let cause = if claim.is_full {
        Cause::Full
    } else if structure.is_whole() {
        Cause::Complete
    } else {
        Cause::Shutdown
    };
    Close::new(cause, structure)
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta};
    use state_core::{CorrelationEntry, CorrelationKey, Overrides, Ticket};

    use super::*;

    const RULES: Rules = Rules {
        grace: Duration::from_secs(2),
        window: Duration::from_secs(60),
        age_max: Duration::from_secs(300),
    };

    fn claim(quiet: u64, grown_for: i64) -> Claim {
        let opened = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        let id: state_core::CorrelationId = "order.id=1".parse().unwrap();
        let last_updated = opened + TimeDelta::seconds(grown_for);
        Claim {
            ticket: Ticket {
                key: CorrelationKey { tenant: Default::default(), id: id.clone() },
                fence: 1,
                version: 0,
            },
            generation: 1,
            opened,
            quiet: Duration::from_secs(quiet),
            is_full: false,
            entry: CorrelationEntry::fold(id, opened, last_updated, vec![], Overrides::default()),
            news: vec![],
        }
    }

    fn whole() -> Structure {
        Structure { has_root: true, missing_parents: [].into() }
    }

    fn with_gap() -> Structure {
        Structure { has_root: true, missing_parents: [[0xab; 8]].into() }
    }

    fn cause(claim: &Claim, structure: &Structure, unrest: u64) -> Result<Cause, u64> {
        match judge(claim, structure, &RULES, Duration::from_secs(unrest)) {
            Verdict::Close(close) => Ok(close.cause),
            Verdict::Wait(left) => Err(left.as_secs()),
        }
    }

    #[test]
    fn what_is_whole_waits_for_the_grace_only() {
        assert_eq!(cause(&claim(2, 0), &whole(), 0), Ok(Cause::Complete));
        assert_eq!(cause(&claim(1, 0), &whole(), 0), Err(59));
    }

    #[test]
    fn what_has_a_gap_waits_for_the_window() {
        assert_eq!(cause(&claim(2, 0), &with_gap(), 0), Err(58));
        assert_eq!(cause(&claim(60, 0), &with_gap(), 0), Ok(Cause::Idle));
        assert_eq!(cause(&claim(60, 0), &Structure::default(), 0), Ok(Cause::Idle));
    }

    #[test]
    fn what_keeps_growing_is_closed_at_its_maximum_age() {
        assert_eq!(cause(&claim(5, 280), &with_gap(), 0), Err(15));
        assert_eq!(cause(&claim(5, 295), &with_gap(), 0), Ok(Cause::MaxAge));
    }

    #[test]
    fn what_is_full_does_not_wait() {
        assert_eq!(cause(&Claim { is_full: true, ..claim(0, 0) }, &with_gap(), 9), Ok(Cause::Full));
    }

    #[test]
    fn silence_after_an_outage_of_the_store_says_nothing() {
        assert_eq!(cause(&claim(60, 0), &with_gap(), 7), Err(7));
        assert_eq!(cause(&claim(5, 300), &with_gap(), 7), Err(7));
        assert_eq!(cause(&claim(2, 0), &whole(), 7), Ok(Cause::Complete), "what is whole is whole");
    }

    #[test]
    fn what_ends_with_the_state_is_still_whole_or_full_if_it_is() {
        assert_eq!(last(&claim(0, 0), &whole()).cause, Cause::Complete);
        assert_eq!(last(&claim(0, 0), &with_gap()).cause, Cause::Shutdown);
        assert_eq!(last(&Claim { is_full: true, ..claim(0, 0) }, &with_gap()).cause, Cause::Full);
    }

    #[test]
    fn an_event_says_why_and_what_is_missing() {
        let Verdict::Close(close) = judge(&claim(60, 0), &with_gap(), &RULES, Duration::ZERO) else {
            panic!("it is idle")
        };
        let expected =
            r#"{"cause":"idle","has_root":true,"missing":1,"missing_parents":["abababababababab"]}"#;
        assert_eq!(close.note(), expected);
    }
}
