//! The ledger: read over all buckets, and entries about what never came to one.

use std::collections::HashMap;

use fred::prelude::Value;
use state_core::{Ledger, Refused, Result, Signal};

use crate::{error, keys::Keys, router::Router, script};

/// What comes to this account of a signal has come to received, kept and pending.
const ADDED: &str = ".added";

/// Adds up the ledgers of all buckets.
pub(crate) async fn read(router: &Router, keys: &Keys) -> Result<Ledger> {
    const ATTEMPTED: &str = "read the ledger";
    let call = |bucket| {
        let names = keys.of(bucket);
        (names.slot, script::LEDGER.call(vec![names.ledger.clone(), names.exp.clone()], []))
    };
    let answers = router.call_each(ATTEMPTED, keys.buckets().map(call).collect(), router.deadline()).await;
    let mut sums = HashMap::<String, i64>::new();
    for answer in answers {
        let mut fields = answer?.into_array().into_iter();
        while let (Some(name), Some(count)) = (fields.next(), fields.next()) {
            let (Some(account), Some(items)) = (name.as_str(), count.as_i64()) else {
                let (name, count) = (name.as_string(), count.as_string());
                return Err(error::unavailable(ATTEMPTED, format!("it has an entry {name:?} = {count:?}")));
            };
            add(&mut sums, &account, items);
        }
    }
    ledger(&sums).map_err(|name| error::unavailable(ATTEMPTED, format!("it has an account {name:?}")))
}

/// Adds an entry to the accounts that it is about.
fn add(sums: &mut HashMap<String, i64>, name: &str, count: i64) {
    let accounts: &[&str] = if name.ends_with(ADDED) { &[".received", ".kept", ".pending"] } else { &[""] };
    let signal = name.strip_suffix(ADDED).unwrap_or(name);
    for account in accounts {
        *sums.entry(format!("{signal}{account}")).or_default() += count;
    }
}

/// The ledger of these accounts.
///
/// # Errors
/// The name of one that there is not.
fn ledger(sums: &HashMap<String, i64>) -> std::result::Result<Ledger, String> {
    let mut ledger = Ledger::default();
    for (name, sum) in sums {
        // Less than nothing is where a bucket's ledger began anew in between: the ledger does not balance, and
        // is read all the same.
        let sum = u64::try_from(*sum).unwrap_or_default();
        *account(&mut ledger, name).ok_or_else(|| name.clone())? = sum;
    }
    Ok(ledger)
}

/// The account that a field of a bucket's ledger names; `None` if there is no such account.
fn account<'a>(ledger: &'a mut Ledger, name: &str) -> Option<&'a mut u64> {
    let (signal, account) = name.split_once('.')?;
    let sums = ledger.of_mut(match signal {
        "spans" => Signal::Traces,
        "logs" => Signal::Logs,
        _ => return None,
    });
    Some(match account.split_once('.') {
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
    })
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
        for name in [
            "added",
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
            assert!(texts.contains(&format!("'{name}'")), "{name}");
            let mut sums = HashMap::new();
            add(&mut sums, &format!("logs.{name}"), 3);
            assert_ne!(ledger(&sums).unwrap().logs, Ledger::default().logs, "{name}");
        }
        for name in ["spans.lost", "metrics.kept"] {
            assert!(account(&mut Ledger::default(), name).is_none(), "{name}");
        }
    }

    #[test]
    fn what_was_added_is_received_kept_and_pending() {
        let mut sums = HashMap::new();
        [
            ("spans.added", 5),
            ("spans.received", 2),
            ("spans.duplicate", 2),
            ("spans.pending", -4),
            ("spans.stored", 4),
        ]
        .into_iter()
        .for_each(|(name, count)| add(&mut sums, name, count));
        let spans = ledger(&sums).unwrap().spans;
        assert_eq!((spans.received, spans.kept, spans.duplicate), (7, 5, 2));
        assert_eq!((spans.pending, spans.stored), (1, 4));
    }
}
