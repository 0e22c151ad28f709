//! What no API tells: reads the cluster's own records in Redis (`state-redis/src/keys.rs`, `field.rs`).

use std::collections::HashMap;

use anyhow::{Context as _, ensure};
use testbed::RedisCluster;

use crate::disguise::TraceId;

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

/// What the engines still have to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Open {
    /// Correlations that are not closed.
    pub(crate) active: usize,
    /// Correlations with events that somebody has still to get.
    pub(crate) undelivered: usize,
}

pub(crate) async fn open(cluster: &RedisCluster) -> anyhow::Result<Open> {
    let count = async |pattern| {
        let counts = ask_all(cluster, COUNT, pattern).await?;
        counts.iter().map(|count| Ok(count.parse::<usize>()?)).sum::<anyhow::Result<_>>()
    };
    Ok(Open { active: count("due:*").await?, undelivered: count("out:*").await? })
}

/// How often each trace was closed with something new.
pub(crate) async fn generations(cluster: &RedisCluster) -> anyhow::Result<HashMap<TraceId, u32>> {
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
