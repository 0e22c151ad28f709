//! The Lua scripts: their text, their flags, and the calls of them.

use std::sync::LazyLock;

use bytes::Bytes;
use fred::{types::Value, util::sha1_hash};

use crate::link::Command;

/// A script as it is loaded; its SHA-1 is its version, so replicas of two versions get along.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) text: String,
    sha: String,
}

impl Script {
    fn new(flags: &str, body: &str) -> Self {
        let text = format!("#!lua{flags}\n{}\n{body}", include_str!("scripts/meta.lua"));
        let sha = sha1_hash(&text);
        Self { text, sha }
    }

    /// The call of this script.
    pub(crate) fn call(&self, keys: Vec<Bytes>, arguments: impl IntoIterator<Item = Value>) -> Command {
        let mut all = vec![Value::from(self.sha.as_str()), Value::from(keys.len() as i64)];
        all.extend(keys.into_iter().map(Value::Bytes));
        all.extend(arguments);
        Command::new("EVALSHA", all)
    }
}

/// What frees memory must run when there is none.
const FREES: &str = " flags=allow-oom";
const READS: &str = " flags=no-writes";

pub(crate) static APPEND: LazyLock<Script> =
    LazyLock::new(|| Script::new("", include_str!("scripts/append.lua")));
pub(crate) static SET: LazyLock<Script> = LazyLock::new(|| Script::new("", include_str!("scripts/set.lua")));
pub(crate) static DELETE: LazyLock<Script> =
    LazyLock::new(|| Script::new(FREES, include_str!("scripts/delete.lua")));
pub(crate) static COUNT: LazyLock<Script> =
    LazyLock::new(|| Script::new(READS, include_str!("scripts/count.lua")));
pub(crate) static EXPIRE: LazyLock<Script> =
    LazyLock::new(|| Script::new(FREES, include_str!("scripts/expire.lua")));
pub(crate) static CLEANUP: LazyLock<Script> =
    LazyLock::new(|| Script::new(FREES, include_str!("scripts/cleanup.lua")));
pub(crate) static CLAIM: LazyLock<Script> =
    LazyLock::new(|| Script::new("", include_str!("scripts/claim.lua")));
pub(crate) static FINISH: LazyLock<Script> =
    LazyLock::new(|| Script::new("", include_str!("scripts/finish.lua")));
pub(crate) static RELEASE: LazyLock<Script> =
    LazyLock::new(|| Script::new("", include_str!("scripts/release.lua")));
pub(crate) static CLAIM_EVENTS: LazyLock<Script> =
    LazyLock::new(|| Script::new("", include_str!("scripts/claim_events.lua")));
pub(crate) static PUT_BACK_EVENTS: LazyLock<Script> =
    LazyLock::new(|| Script::new("", include_str!("scripts/put_back_events.lua")));
pub(crate) static INDEX_KEYS: LazyLock<Script> =
    LazyLock::new(|| Script::new("", include_str!("scripts/index_keys.lua")));
pub(crate) static LEDGER: LazyLock<Script> =
    LazyLock::new(|| Script::new(FREES, include_str!("scripts/ledger.lua")));
pub(crate) static NOTE_REFUSED: LazyLock<Script> =
    LazyLock::new(|| Script::new(FREES, include_str!("scripts/note_refused.lua")));
pub(crate) static REMOVE_EVENTS: LazyLock<Script> =
    LazyLock::new(|| Script::new(FREES, include_str!("scripts/remove_events.lua")));

/// Every script, to be loaded into each server.
pub(crate) fn all() -> [&'static Script; 15] {
    [
        &APPEND,
        &SET,
        &DELETE,
        &COUNT,
        &EXPIRE,
        &CLEANUP,
        &CLAIM,
        &FINISH,
        &RELEASE,
        &CLAIM_EVENTS,
        &PUT_BACK_EVENTS,
        &REMOVE_EVENTS,
        &INDEX_KEYS,
        &LEDGER,
        &NOTE_REFUSED,
    ]
}

#[cfg(test)]
mod tests {
    use testbed::{RedisServer, redis::Options};

    use super::*;

    /// A call can be stuck on its way until its caller has been told that it failed, and has gone on.
    #[tokio::test]
    async fn what_comes_too_late_changes_nothing() {
        let server = RedisServer::start(Options::default()).await.unwrap();
        let node = server.node();
        let key = "c:{1}:/a";
        node.command(&["HSET", key, "kept", "yes"]).await.unwrap();
        let past = "1";
        let indexes = ["time:{1}", "exp:{1}", "due:{1}", "out:{1}", "n:{1}"];
        let delete = [&["EVAL", &DELETE.text, "7"][..], &indexes, &["gone:{1}", key, past]].concat();
        let numbers = ["1", "1", "1", "0", "0", "0", "0", "-1", "-1", "", "{}", past, "0"];
        let set = [&["EVAL", &SET.text, "6"][..], &indexes, &[key], &numbers].concat();
        for call in [delete, set] {
            let answer = node.command(&call).await;
            let said = answer.unwrap_or_else(|error| format!("{error:#}"));
            assert!(said.contains("LATE"), "{said}");
        }
        assert_eq!(node.command(&["HGET", key, "kept"]).await.unwrap().trim(), "yes");
        assert_eq!(node.command(&["DBSIZE"]).await.unwrap().trim(), "1");
    }
}
