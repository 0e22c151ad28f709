//! Makes servers in cluster mode one cluster, and sees whether they are.

use std::{collections::HashMap, net::SocketAddr, time::Duration};

use anyhow::{Context as _, anyhow};

use super::{RedisNode, Role};
use crate::wait::{Look, wait_until};

/// Redis divides its key space into so many slots.
const SLOTS: usize = 16_384;

/// Generous for a machine that compiles beside the test; forming takes some 3 s.
const DEADLINE: Duration = Duration::from_secs(60);

/// Makes one cluster of `nodes`: the first `primaries` share the slots, the others follow them.
pub(super) async fn form(nodes: &[RedisNode], primaries: usize) -> anyhow::Result<()> {
    for (index, node) in nodes.iter().enumerate() {
        node.wait_ready().await?;
        // Different epochs from the start: nodes with the same one would have to settle it first.
        let epoch = (index + 1).to_string();
        node.command(&["CLUSTER", "SET-CONFIG-EPOCH", &epoch]).await?;
    }
    for (index, node) in nodes[..primaries].iter().enumerate() {
        let first = (index * SLOTS / primaries).to_string();
        let last = ((index + 1) * SLOTS / primaries - 1).to_string();
        node.command(&["CLUSTER", "ADDSLOTSRANGE", &first, &last]).await?;
    }
    introduce(nodes).await?;
    for (index, replica) in nodes.iter().enumerate().skip(primaries) {
        let primary = nodes[index % primaries].command(&["CLUSTER", "MYID"]).await?;
        replica.command(&["CLUSTER", "REPLICATE", &primary]).await?;
    }
    let replicas = nodes.len() - primaries;
    wait_for_each(nodes, "to know the roles of all others", async |node| {
        let view = View::of(node).await?;
        let seen = view.count(Role::Replica);
        Ok((seen != replicas).then(|| format!("it sees {seen} of {replicas} replicas")))
    })
    .await?;
    wait_healthy(nodes).await
}

/// Makes the nodes from `first` on part of the cluster of the others: the first of them becomes a primary
/// without slots, the others follow it.
pub(super) async fn join(nodes: &[RedisNode], first: usize) -> anyhow::Result<()> {
    for node in &nodes[first..] {
        node.wait_ready().await?;
        meet(&nodes[0], node).await?;
    }
    wait_until_known(nodes).await?;
    let primary = nodes[first].command(&["CLUSTER", "MYID"]).await?;
    for replica in &nodes[first + 1..] {
        replica.command(&["CLUSTER", "REPLICATE", &primary]).await?;
    }
    wait_healthy(nodes).await
}

/// Waits until every running node says that all slots are served and its own data is in sync.
pub(super) async fn wait_healthy(nodes: &[RedisNode]) -> anyhow::Result<()> {
    wait_for_each(nodes, "to be healthy", unhealthy).await
}

/// What one node has to say against the health of its cluster.
async fn unhealthy(node: &RedisNode) -> anyhow::Result<Option<String>> {
    let cluster = node.command(&["CLUSTER", "INFO"]).await?;
    let replication = node.command(&["INFO", "replication"]).await?;
    let (cluster, replication) = (fields(&cluster), fields(&replication));
    let slots = SLOTS.to_string();
    let wanted = [
        (&cluster, "cluster_state", "ok"),
        (&cluster, "cluster_slots_ok", slots.as_str()),
        (&replication, "master_link_status", "up"),
    ];
    for (source, name, value) in wanted {
        // A primary has no link to a primary.
        if let Some(seen) = source.get(name)
            && *seen != value
        {
            return Ok(Some(format!("{name}:{seen}")));
        }
    }
    let lagging =
        replication.iter().find(|(name, value)| is_replica_line(name) && !value.contains("state=online"));
    Ok(lagging.map(|(name, value)| format!("{name}:{value}")))
}

/// `slave0`, `slave1`, … one line per connected replica.
fn is_replica_line(name: &str) -> bool {
    name.strip_prefix("slave").is_some_and(|index| index.parse::<usize>().is_ok())
}

/// Tells every node of every other one; one who knows one could gossip the rest, but slower.
async fn introduce(nodes: &[RedisNode]) -> anyhow::Result<()> {
    for (index, node) in nodes.iter().enumerate() {
        for other in &nodes[index + 1..] {
            meet(node, other).await?;
        }
    }
    wait_until_known(nodes).await
}

/// Tells a node of another one.
async fn meet(node: &RedisNode, other: &RedisNode) -> anyhow::Result<()> {
    let address = other.announced();
    let bus = other.bus_port().context("a node of a cluster has a bus")?;
    let words = ["CLUSTER", "MEET", &address.ip().to_string(), &address.port().to_string(), &bus.to_string()];
    node.command(&words).await.map(drop)
}

async fn wait_until_known(nodes: &[RedisNode]) -> anyhow::Result<()> {
    wait_for_each(nodes, "to know all others", async |node| {
        let view = View::of(node).await?;
        let known = view.known();
        Ok((known != nodes.len()).then(|| format!("it knows {known} of {} nodes", nodes.len())))
    })
    .await
}

/// Waits until no running node has an objection.
async fn wait_for_each(
    nodes: &[RedisNode],
    state: &str,
    objection: impl AsyncFn(&RedisNode) -> anyhow::Result<Option<String>>,
) -> anyhow::Result<()> {
    for node in nodes {
        let name = node.process().name();
        wait_until(&format!("{name} {state}"), DEADLINE, async || {
            let has_ended = node.process().exit_status()?.is_some();
            if has_ended {
                return Ok(Look::Reached);
            }
            Ok(match objection(node).await {
                Ok(None) => Look::Reached,
                Ok(Some(seen)) => Look::NotYet(seen),
                Err(error) => Look::NotYet(format!("{error:#}")),
            })
        })
        .await?;
    }
    Ok(())
}

/// A primary that serves slots, and the replicas that follow it, as indices of nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    /// Serves the slots.
    pub primary: usize,
    /// Follow it, whether they run or not.
    pub replicas: Vec<usize>,
}

/// The cluster as one node sees it: the lines of `CLUSTER NODES`.
pub(super) struct View {
    lines: Vec<Line>,
}

struct Line {
    id: String,
    address: SocketAddr,
    flags: Vec<String>,
    /// Id of the one it follows; `-` for a primary.
    follows: String,
    /// First and last slot of each range.
    slots: Vec<(u16, u16)>,
}

impl View {
    /// What the first node that answers sees.
    pub(super) async fn of_any(nodes: &[RedisNode]) -> anyhow::Result<Self> {
        let mut last_error = anyhow!("the cluster has no node");
        for node in nodes {
            match Self::of(node).await {
                Ok(view) => return Ok(view),
                Err(error) => last_error = error,
            }
        }
        Err(last_error.context("failed to ask any node for its view of the cluster"))
    }

    async fn of(node: &RedisNode) -> anyhow::Result<Self> {
        Self::parse(&node.command(&["CLUSTER", "NODES"]).await?)
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let lines = text
            .lines()
            .map(|line| Line::parse(line).with_context(|| format!("not a line of CLUSTER NODES: {line}")));
        Ok(Self { lines: lines.collect::<anyhow::Result<_>>()? })
    }

    pub(super) fn primary_of_slot(&self, slot: u16) -> Option<SocketAddr> {
        let serves = |line: &&Line| {
            !line.has("fail") && line.slots.iter().any(|(first, last)| (*first..=*last).contains(&slot))
        };
        self.lines.iter().find(serves).map(|line| line.address)
    }

    /// Who serves slots, and who follows; `index` knows the nodes by their addresses.
    pub(super) fn shards(&self, index: impl Fn(SocketAddr) -> Option<usize>) -> Vec<Shard> {
        let serves = |line: &&Line| line.has("master") && !line.has("fail") && !line.slots.is_empty();
        let mut primaries: Vec<&Line> = self.lines.iter().filter(serves).collect();
        primaries.sort_by_key(|line| line.slots[0]);
        let shard = |primary: &Line| {
            let follow = self.lines.iter().filter(|line| line.follows == primary.id);
            let replicas = follow.filter_map(|line| index(line.address)).collect();
            Some(Shard { primary: index(primary.address)?, replicas })
        };
        primaries.into_iter().filter_map(shard).collect()
    }

    /// Nodes that are more than an announcement.
    fn known(&self) -> usize {
        self.lines.iter().filter(|line| !line.has("handshake") && !line.has("noaddr")).count()
    }

    fn count(&self, role: Role) -> usize {
        let flag = match role {
            Role::Primary => "master",
            Role::Replica => "slave",
        };
        self.lines.iter().filter(|line| line.has(flag)).count()
    }
}

impl Line {
    /// `id ip:port@bus[,name] flags primary ping pong epoch link slot slot-slot …`
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let id = words.next()?.to_owned();
        let address = words.next()?.split('@').next()?.parse().ok()?;
        let flags = words.next()?.split(',').map(str::to_owned).collect();
        let follows = words.next()?.to_owned();
        // A slot on the move is listed as [slot->-node]: it is counted where it still is.
        let slots = words.skip(4).filter(|word| !word.starts_with('[')).map(|word| {
            let (first, last) = word.split_once('-').unwrap_or((word, word));
            Some((first.parse().ok()?, last.parse().ok()?))
        });
        Some(Self { id, address, flags, follows, slots: slots.collect::<Option<_>>()? })
    }

    fn has(&self, flag: &str) -> bool {
        self.flags.iter().any(|other| other == flag)
    }
}

/// The `name:value` lines of an answer.
fn fields(text: &str) -> HashMap<&str, &str> {
    text.lines().filter_map(|line| line.trim_end().split_once(':')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODES: &str = "\
a1 127.0.0.1:7000@17000 myself,master - 0 0 1 connected 0-5460 [5461->-b2]
b2 127.0.0.1:7001@17001,host master,fail - 0 0 2 connected 5461-10922
c3 127.0.0.1:7002@17002 slave b2 0 0 7 connected
d4 127.0.0.1:7003@17003 handshake - 0 0 0 disconnected
e5 127.0.0.1:7004@17004 master - 0 0 3 connected 10923 10925-16383";

    #[test]
    fn a_view_knows_who_serves_a_slot_and_who_is_only_announced() {
        let view = View::parse(NODES).unwrap();
        let port = |slot| view.primary_of_slot(slot).map(|address| address.port());
        assert_eq!(port(0), Some(7000));
        assert_eq!(port(5461), None, "its primary has failed");
        assert_eq!(port(10_923), Some(7004));
        assert_eq!(port(10_924), None);
        assert_eq!(port(16_383), Some(7004));
        assert_eq!((view.known(), view.count(Role::Replica)), (4, 1));
        let by_port = |address: SocketAddr| Some(usize::from(address.port()) - 7000);
        let (first, last) = (Shard { primary: 0, replicas: vec![] }, Shard { primary: 4, replicas: vec![] });
        assert_eq!(view.shards(by_port), [first, last], "a primary that failed serves nothing");
    }

    #[test]
    fn a_line_of_another_kind_is_an_error() {
        assert!(View::parse("ERR unknown").is_err());
    }
}
