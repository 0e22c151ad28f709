//! What is left when everything is healed and quiet, compared with what was acknowledged.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use anyhow::Context as _;
use correlate_proof::{
    book::{Book, Owed},
    check::Findings,
    delivered::Delivered,
    disguise::TraceId,
    readback::{self, Stored},
    redis,
    store::{Row, Store},
};
use loadgen::content::hex;
use serde_json::Value;
use testbed::RedisCluster;

use crate::clients::Clients;

/// The one key that stays: it says how to read all others (`state-redis/src/keys.rs`).
const SCHEMA: &str = "schema";

/// What a phase has left.
#[derive(Debug, Default)]
pub(crate) struct Checked {
    pub(crate) findings: Findings,
    /// Differences between what lists, counts and the ledger say and what is there.
    pub(crate) disagreements: u64,
    /// Keys of Redis that stay for ever.
    pub(crate) lasting_keys: u64,
    pub(crate) ledger_balanced: bool,
    /// Correlation keys, and for how many of them the right traces were found.
    pub(crate) keys: usize,
    pub(crate) keys_together: usize,
}

/// Compares everything.
///
/// # Errors
/// When something cannot be asked.
pub(crate) async fn check(
    clients: &Clients,
    delivered: &Delivered,
    store: &Store,
    redis: &RedisCluster,
) -> anyhow::Result<Checked> {
    let book = &clients.book;
    let owed = |_, request| clients.standings.is_acknowledged(request);
    let generations = redis::generations(redis).await.context("failed to ask Redis for the generations")?;
    let mut checked = Checked {
        findings: Findings::of_delivery(
            book,
            &delivered.pages(),
            &generations,
            &clients.arrivals,
            &owed,
            |_| true,
        ),
        ..Checked::default()
    };
    checked.read(book, store, &owed, &generations).await?;
    for key in redis::lasting_keys(redis).await?.iter().filter(|key| *key != SCHEMA) {
        checked.lasting_keys += 1;
        checked.findings.examples.push(format!("the key {key} of Redis has no TTL"));
    }
    Ok(checked)
}

impl Checked {
    async fn read(
        &mut self,
        book: &Arc<Book>,
        store: &Store,
        owed: &Owed<'_>,
        generations: &HashMap<TraceId, u32>,
    ) -> anyhow::Result<()> {
        let all = readback::sample(book, usize::MAX, 0);
        let stored = readback::traces(book, store, &all, owed, &mut self.findings).await?;
        let stored: BTreeMap<String, Stored> = stored
            .iter()
            .filter(|(_, stored)| **stored != Stored::default())
            .map(|(id, stored)| (hex(id), *stored))
            .collect();
        let listed = store.list(&[]).await.context("failed to list all correlations")?;
        self.compare_list(&stored, &listed);
        self.compare_count("counts of correlations", store.count().await?, stored.len() as u64);
        self.compare_count("closed correlations", generations.len() as u64, stored.len() as u64);
        let ledger = store.ledger().await?;
        self.ledger_balanced = ledger["balanced"].as_bool().unwrap_or_default();
        self.compare_ledger(&ledger, stored.values());
        (self.keys_together, self.keys) = readback::keys(book, store, owed, &mut self.findings).await?;
        Ok(())
    }

    /// By time and by id, the same correlations are there, with the same counts.
    fn compare_list(&mut self, stored: &BTreeMap<String, Stored>, listed: &[Row]) {
        let mut rows = BTreeMap::new();
        for row in listed {
            if rows.insert(row.id.as_str(), row).is_some() {
                self.disagree(format!("{} is listed twice", row.id));
            }
        }
        for (id, Stored { spans, logs }) in stored {
            match rows.remove(id.as_str()) {
                None => self.disagree(format!("{id} is stored and not listed")),
                Some(row) if (row.spans, row.logs) != (*spans as u64, *logs as u64) => {
                    let said = format!("{} spans and {} logs", row.spans, row.logs);
                    self.disagree(format!("{id} is listed with {said}, and has {spans} and {logs}"));
                }
                Some(_) => {}
            }
        }
        for id in rows.into_keys() {
            self.disagree(format!("{id} is listed and was never sent, or is not stored"));
        }
    }

    /// Once everything is closed and delivered, what was kept is what is stored, and all of it was delivered.
    fn compare_ledger<'a>(&mut self, ledger: &Value, stored: impl Iterator<Item = &'a Stored>) {
        let (spans, logs) =
            stored.fold((0, 0), |(spans, logs), stored| (spans + stored.spans, logs + stored.logs));
        for (signal, count) in [("spans", spans), ("logs", logs)] {
            for account in ["kept", "delivered"] {
                let said = ledger[signal][account].as_u64().unwrap_or_default();
                self.compare_count(&format!("{account} {signal} of the ledger"), said, count as u64);
            }
        }
    }

    fn compare_count(&mut self, what: &str, said: u64, counted: u64) {
        if said != counted {
            self.disagree(format!("{what}: {said} instead of {counted}"));
        }
    }

    fn disagree(&mut self, words: String) {
        self.disagreements += 1;
        self.findings.examples.push(words);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn stored(spans: usize, logs: usize) -> BTreeMap<String, Stored> {
        BTreeMap::from([("a".to_owned(), Stored { spans, logs })])
    }

    fn row(id: &str, spans: u64) -> Row {
        Row { id: id.to_owned(), spans, logs: 1 }
    }

    #[test]
    fn a_list_holds_what_is_stored_and_nothing_else() {
        let differences = |rows: &[Row]| {
            let mut checked = Checked::default();
            checked.compare_list(&stored(2, 1), rows);
            assert_eq!(checked.findings.examples.len() as u64, checked.disagreements);
            checked.disagreements
        };
        assert_eq!(differences(&[row("a", 2)]), 0);
        assert_eq!(differences(&[]), 1, "not listed");
        assert_eq!(differences(&[row("a", 3)]), 1, "other counts");
        assert_eq!(differences(&[row("a", 2), row("a", 2)]), 1, "listed twice");
        assert_eq!(differences(&[row("a", 2), row("b", 2)]), 1, "not stored");
    }

    #[test]
    fn the_ledger_tells_what_is_stored_and_that_all_of_it_was_delivered() {
        let differences = |kept, delivered| {
            let mut checked = Checked::default();
            let account = json!({ "kept": kept, "delivered": delivered });
            let ledger = json!({ "spans": account, "logs": { "kept": 1, "delivered": 1 } });
            checked.compare_ledger(&ledger, stored(2, 1).values());
            checked.disagreements
        };
        assert_eq!(differences(2, 2), 0);
        assert_eq!(differences(3, 2), 1);
        assert_eq!(differences(2, 1), 1);
    }
}
