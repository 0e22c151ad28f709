//! From URLs to addresses, again and again.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    io,
    net::SocketAddr,
    time::Duration,
};

use futures::future::join_all;
use tokio::{net::lookup_host, time::timeout};
use tracing::{info, warn};

use crate::EngineUrl;

/// A resolver that does not answer must not keep the answers of the others waiting.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

/// Resolves URLs and remembers what it found: a name server that fails for a while does not
/// take away engines that run.
#[derive(Default)]
pub(super) struct Discovery {
    found: HashMap<EngineUrl, Vec<SocketAddr>>,
    failing: HashMap<EngineUrl, String>,
}

impl Discovery {
    /// Resolves all that are in use, and forgets the others.
    pub(super) async fn look_up(&mut self, urls: impl Iterator<Item = &EngineUrl>) {
        let urls: HashSet<&EngineUrl> = urls.collect();
        self.found.retain(|url, _| urls.contains(url));
        self.failing.retain(|url, _| urls.contains(url));
        let lookups = urls.into_iter().map(|url| async move { (url.clone(), lookup(url).await) });
        for (url, result) in join_all(lookups).await {
            self.remember(url, result);
        }
    }

    /// Every address that some of them led to, with the URL that did.
    pub(super) fn addresses(&self, urls: &[EngineUrl]) -> BTreeMap<SocketAddr, EngineUrl> {
        let found = urls.iter().filter_map(|url| Some((url, self.found.get(url)?)));
        found
            .flat_map(|(url, addresses)| addresses.iter().map(move |&address| (address, url.clone())))
            .collect()
    }

    fn remember(&mut self, url: EngineUrl, result: io::Result<Vec<SocketAddr>>) {
        match result {
            Ok(addresses) => {
                if self.failing.remove(&url).is_some() {
                    info!(%url, "the name of engines resolves again");
                }
                self.found.insert(url, addresses);
            }
            Err(error) => {
                let kept = self.found.get(&url).map_or(0, Vec::len);
                let reason = error.to_string();
                // Said once, not at every refresh.
                if self.failing.get(&url) != Some(&reason) {
                    warn!(%url, %error, kept, "failed to resolve the name of engines");
                    self.failing.insert(url, reason);
                }
            }
        }
    }
}

async fn lookup(url: &EngineUrl) -> io::Result<Vec<SocketAddr>> {
    let addresses: Vec<_> = timeout(LOOKUP_TIMEOUT, lookup_host(url.authority())).await??.collect();
    match addresses.is_empty() {
        true => Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address")),
        false => Ok(addresses),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> EngineUrl {
        text.to_owned().try_into().unwrap()
    }

    #[tokio::test]
    async fn every_address_is_one_engine_however_often_it_is_named() {
        let urls = ["http://127.0.0.1:1", "http://127.0.0.1:1/", "http://[::1]:2"].map(url);
        let mut discovery = Discovery::default();
        discovery.look_up(urls.iter()).await;
        let addresses: Vec<_> = discovery.addresses(&urls).keys().map(ToString::to_string).collect();
        assert_eq!(addresses, ["127.0.0.1:1", "[::1]:2"]);
        assert_eq!(discovery.addresses(&urls[2..]).len(), 1);
    }

    #[tokio::test]
    async fn what_was_found_stays_while_the_name_does_not_resolve() {
        let engines = [url("http://engines.invalid:4317")];
        let mut discovery = Discovery::default();
        discovery.look_up(engines.iter()).await;
        assert!(discovery.addresses(&engines).is_empty(), "RFC 2606: .invalid never resolves");
        let address = SocketAddr::from(([10, 0, 0, 1], 4317));
        discovery.remember(engines[0].clone(), Ok(vec![address]));
        discovery.look_up(engines.iter()).await;
        assert_eq!(discovery.addresses(&engines), BTreeMap::from([(address, engines[0].clone())]));
        discovery.look_up([].iter()).await;
        assert!(discovery.addresses(&engines).is_empty(), "nobody asks for it any more");
    }
}
