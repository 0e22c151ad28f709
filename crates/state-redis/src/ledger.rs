//! The ledger: read over all buckets, and entries about what never came to one.

use fred::prelude::Value;
use state_core::{Ledger, Refused, Result, Signal};

use crate::{error, keys::Keys, router::Router, script};

/// Adds up the ledgers of all buckets.
pub(crate) async fn read(router: &Router, keys: &Keys) -> Result<Ledger> {
    const ATTEMPTED: &str = "read the ledger";
    let call = |bucket| {
        let names = keys.of(bucket);
        (names.slot, script::LEDGER.call(vec![names.ledger.clone(), names.exp.clone()], []))
    };
    let answers = router.call_each(ATTEMPTED, keys.buckets().map(call).collect(), router.deadline()).await;
    let mut ledger = Ledger::default();
    for answer in answers {
        let mut fields = answer?.into_array().into_iter();
        while let (Some(name), Some(count)) = (fields.next(), fields.next()) {
            let entered =
                name.as_str().zip(count.as_i64()).and_then(|(name, count)| enter(&mut ledger, &name, count));
            entered.ok_or_else(|| {
                let (name, count) = (name.as_string(), count.as_string());
                error::unavailable(ATTEMPTED, format!("it has an entry {name:?} = {count:?}"))
            })?;
        }
    }
    Ok(ledger)
}

/// Adds a field of a bucket's ledger; `None` if there is no such field.
fn enter(ledger: &mut Ledger, name: &str, count: i64) -> Option<()> {
    let (signal, account) = name.split_once('.')?;
    let sums = ledger.of_mut(match signal {
        "spans" => Signal::Traces,
        "logs" => Signal::Logs,
        _ => return None,
    });
    let sum = match account.split_once('.') {
        Some(("refused", reason)) => sums.refused.entry(reason.to_owned()).or_default(),
        Some(("expired", reason)) => sums.expired.entry(reason.to_owned()).or_default(),
        _ => match account {
            "received" => &mut sums.received,
            "kept" => &mut sums.kept,
            "duplicate" => &mut sums.duplicate,
            "delivered" => &mut sums.delivered,
            "stored" => &mut sums.stored,
            "pending" => &mut sums.pending,
            "deleted" => &mut sums.deleted,
            _ => return None,
        },
    };
    // Less than nothing is where a bucket's ledger began anew in between: the ledger does not balance, and is
    // read all the same.
    *sum += u64::try_from(count).unwrap_or_default();
    Some(())
}

/// Enters what was refused before it came here, into the ledger of any bucket.
pub(crate) async fn note_refused(router: &Router, keys: &Keys, refused: &[Refused]) -> Result<()> {
    if refused.is_empty() {
        return Ok(());
    }
    let buckets: Vec<_> = keys.buckets().collect();
    let names = keys.of(buckets[router.turn() % buckets.len()]);
    let arguments = refused.iter().flat_map(|Refused { signal, reason, items }| {
        let (spans, logs) = match signal {
            Signal::Traces => (*items, 0),
            Signal::Logs => (0, *items),
        };
        [Value::from(reason.as_str()), Value::from(spans as i64), Value::from(logs as i64)]
    });
    let call = script::NOTE_REFUSED.call(vec![names.ledger.clone()], arguments);
    router.call("note what was refused", names.slot, vec![call], router.deadline()).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_account_of_the_scripts_is_read() {
        let texts: String = script::all().iter().map(|script| script.text.as_str()).collect();
        for account in [
            "received",
            "kept",
            "duplicate",
            "refused.spans_max",
            "refused.bytes_max",
            "delivered",
            "stored",
            "pending",
            "expired.pending",
            "expired.undelivered",
            "expired.stored",
            "expired.unseen",
            "deleted",
        ] {
            assert!(texts.contains(&format!("'{account}'")), "{account}");
            let mut ledger = Ledger::default();
            assert_eq!(enter(&mut ledger, &format!("logs.{account}"), 3), Some(()), "{account}");
            assert_ne!(ledger.logs, Ledger::default().logs, "{account}");
        }
        assert_eq!(enter(&mut Ledger::default(), "spans.lost", 1), None);
        assert_eq!(enter(&mut Ledger::default(), "metrics.kept", 1), None);
    }
}
