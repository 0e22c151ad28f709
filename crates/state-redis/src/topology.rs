//! Which primary serves which slots, as the servers say.

use fred::prelude::Value;

use crate::config::Address;

/// Slots and their primaries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Topology {
    ranges: Vec<Range>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Range {
    first: u16,
    last: u16,
    primary: Address,
    /// Replicas that are alive.
    replicas: usize,
}

impl Topology {
    /// One server for everything.
    pub(crate) fn single(address: Address, replicas: usize) -> Self {
        Self { ranges: vec![Range { first: 0, last: u16::MAX, primary: address, replicas }] }
    }

    /// Reads the answer to `CLUSTER SLOTS` of the server at `asked`; `None` if it is none.
    pub(crate) fn parse(answer: Value, asked: &Address) -> Option<Self> {
        let mut ranges = Vec::new();
        for range in answer.into_array() {
            let mut range = range.into_array().into_iter();
            let first = u16::try_from(range.next()?.as_i64()?).ok()?;
            let last = u16::try_from(range.next()?.as_i64()?).ok()?;
            let mut primary = range.next()?.into_array().into_iter();
            let host = primary.next()?.into_string().filter(|host| !host.is_empty() && host != "?");
            // A server that was never told its own address leaves it out.
            let host = host.unwrap_or_else(|| asked.host.clone());
            let port = u16::try_from(primary.next()?.as_i64()?).ok()?;
            ranges.push(Range { first, last, primary: Address { host, port }, replicas: range.len() });
        }
        Some(Self { ranges })
    }

    /// The primary of a slot; `None` while no server has it.
    pub(crate) fn primary(&self, slot: u16) -> Option<&Address> {
        let range = self.ranges.iter().find(|range| (range.first..=range.last).contains(&slot));
        range.map(|range| &range.primary)
    }

    /// The fewest replicas that any primary has.
    pub(crate) fn replicas(&self) -> usize {
        self.ranges.iter().map(|range| range.replicas).min().unwrap_or_default()
    }

    /// Every primary once.
    pub(crate) fn primaries(&self) -> Vec<&Address> {
        let mut primaries: Vec<_> = self.ranges.iter().map(|range| &range.primary).collect();
        primaries.sort_by_key(|address| (&address.host, address.port));
        primaries.dedup();
        primaries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(values: Vec<Value>) -> Value {
        Value::Array(values)
    }

    fn node(host: &str, port: i64) -> Value {
        list(vec![host.into(), port.into(), "id".into()])
    }

    #[test]
    fn slots_lead_to_their_primary() {
        let answer = list(vec![
            list(vec![0.into(), 5460.into(), node("10.0.0.1", 7000), node("10.0.0.1", 7003)]),
            list(vec![5461.into(), 16383.into(), node("", 7001)]),
        ]);
        let asked = Address { host: "seed".into(), port: 1 };
        let topology = Topology::parse(answer, &asked).unwrap();
        let primary = |slot| topology.primary(slot).map(ToString::to_string);
        assert_eq!(primary(0).as_deref(), Some("10.0.0.1:7000"));
        assert_eq!(primary(5461).as_deref(), Some("seed:7001"));
        assert_eq!(topology.primaries().len(), 2);
        assert_eq!(topology.replicas(), 0, "the second one has none");
    }

    #[test]
    fn a_slot_without_a_server_has_no_primary() {
        let answer = list(vec![list(vec![0.into(), 10.into(), node("h", 1)])]);
        let topology = Topology::parse(answer, &Address { host: "h".into(), port: 1 }).unwrap();
        assert_eq!(topology.primary(11), None);
    }
}
