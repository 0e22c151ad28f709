//! What no API tells: reads the cluster's own records in Redis (`state-redis/src/keys.rs`, `field.rs`).

use std::{collections::HashMap, time::Duration};

use anyhow::{Context as _, ensure};
use loadgen::output::note;
use testbed::RedisCluster;
use tokio::time::{Instant, sleep};

use crate::disguise::TraceId;

const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// So many looks in a row find nothing to do: what is closed may still be linked.
const QUIET_LOOKS: usize = 6;

/// Entries of all indexes with a name like this.
const COUNT: &str = "local count = 0
    for _, key in ipairs(redis.call('KEYS', ARGV[1])) do count = count + redis.call('ZCARD', key) end
    return count";
/// Generations that a correlation was closed with are number 41 to 44 of the bytes in field `s`.
const GENERATIONS: &str = "local lines = {}
    for _, key in ipairs(redis.call('KEYS', 'c:*')) do
        local state = redis.call('HGET', key, 's')
        if state then lines[#lines + 1] = key .. ' ' .. struct.unpack('<I4', state, 41) end
    end
    return lines";

/// Keys that stay for ever.
const LASTING: &str = "local lasting = {}
    for _, key in ipairs(redis.call('KEYS', '*')) do
        if redis.call('PTTL', key) == -1 then lasting[#lasting + 1] = key end
    end
    return lasting";

/// What the engines still have to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Open {
    /// Correlations that are not closed.
    active: usize,
    /// Correlations with events that somebody has still to get.
    undelivered: usize,
}

/// Waits until everything is closed and delivered; answers whether it is.
///
/// # Errors
/// When Redis cannot be asked.
pub async fn is_quiet_within(cluster: &RedisCluster, deadline: Duration) -> anyhow::Result<bool> {
    let end = Instant::now() + deadline;
    let mut quiet = 0;
    while quiet < QUIET_LOOKS {
        let open = open(cluster).await?;
        quiet = if open.active == 0 && open.undelivered == 0 { quiet + 1 } else { 0 };
        if Instant::now() >= end {
            note(&format!(
                "{} correlations are not closed and {} not delivered",
                open.active, open.undelivered
            ));
            return Ok(false);
        }
        sleep(LOOK_INTERVAL).await;
    }
    Ok(true)
}

async fn open(cluster: &RedisCluster) -> anyhow::Result<Open> {
    let count = async |pattern| {
        let counts = ask_all(cluster, COUNT, pattern).await?;
        counts.iter().map(|count| Ok(count.parse::<usize>()?)).sum::<anyhow::Result<_>>()
    };
    Ok(Open { active: count("due:*").await?, undelivered: count("out:*").await? })
}

/// How often each trace was closed with something new.
///
/// # Errors
/// When Redis cannot be asked, or answers something else.
pub async fn generations(cluster: &RedisCluster) -> anyhow::Result<HashMap<TraceId, u32>> {
    let mut generations = HashMap::new();
    for answer in ask_all(cluster, GENERATIONS, "").await? {
        for line in answer.lines() {
            let (key, generation) = line.rsplit_once(' ').with_context(|| format!("what is {line}?"))?;
            // Correlations other than traces are nobody's question here.
            if let Some(id) = key.rsplit_once('/').and_then(|(_, id)| parse(id)) {
                generations.insert(id, generation.parse()?);
            }
        }
    }
    Ok(generations)
}

/// Names of all keys without a TTL.
///
/// # Errors
/// When Redis cannot be asked.
pub async fn lasting_keys(cluster: &RedisCluster) -> anyhow::Result<Vec<String>> {
    let answers = ask_all(cluster, LASTING, "").await?;
    Ok(answers.iter().flat_map(|answer| answer.lines()).map(str::to_owned).collect())
}

/// Runs a script on every primary.
async fn ask_all(cluster: &RedisCluster, script: &str, argument: &str) -> anyhow::Result<Vec<String>> {
    let shards = cluster.shards().await?;
    ensure!(!shards.is_empty(), "no server of Redis has slots");
    let mut answers = Vec::new();
    for shard in shards {
        answers.push(cluster.nodes()[shard.primary].command(&["EVAL", script, "0", argument]).await?);
    }
    Ok(answers)
}

fn parse(id: &str) -> Option<TraceId> {
    Some(u128::from_str_radix(id, 16).ok().filter(|_| id.len() == 32)?.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_known_by_its_digits_and_nothing_else_is() {
        assert_eq!(
            parse("000102030405060708090a0b0c0d0e0f"),
            Some([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15])
        );
        assert_eq!(parse("order.id=1"), None);
        assert_eq!(parse("01"), None);
    }
}
