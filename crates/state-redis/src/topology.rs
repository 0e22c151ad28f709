//! Which primary serves which slots, as the servers say.

use fred::prelude::Value;

use crate::config::Address;

/// Slots and their primaries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Topology {
    /// First slot, last slot, primary.
    ranges: Vec<(u16, u16, Address)>,
}

impl Topology {
    /// One server for everything.
    pub(crate) fn single(address: Address) -> Self {
        Self { ranges: vec![(0, u16::MAX, address)] }
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
            ranges.push((first, last, Address { host, port }));
        }
        Some(Self { ranges })
    }

    /// The primary of a slot; `None` while no server has it.
    pub(crate) fn primary(&self, slot: u16) -> Option<&Address> {
        let range = self.ranges.iter().find(|(first, last, _)| (*first..=*last).contains(&slot));
        range.map(|(_, _, primary)| primary)
    }

    /// How many slots have a primary.
    pub(crate) fn slots(&self) -> usize {
        self.ranges.iter().map(|(first, last, _)| usize::from(last.saturating_sub(*first)) + 1).sum()
    }

    /// Every primary once.
    pub(crate) fn primaries(&self) -> Vec<&Address> {
        let mut primaries: Vec<_> = self.ranges.iter().map(|(_, _, primary)| primary).collect();
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
    }

    #[test]
    fn a_slot_without_a_server_has_no_primary() {
        let answer = list(vec![list(vec![0.into(), 10.into(), node("h", 1)])]);
        let topology = Topology::parse(answer, &Address { host: "h".into(), port: 1 }).unwrap();
        assert_eq!(topology.primary(11), None);
    }
}
