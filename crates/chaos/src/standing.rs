//! What a client knows of each of its requests: acknowledged, refused, or nothing.

use std::sync::atomic::{AtomicU8, Ordering};

use correlate_proof::book::Sent;

/// What is known of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Standing {
    Unsent,
    /// Every attempt was answered with no. A batch may be kept in parts all the same.
    Refused,
    /// An attempt was not answered.
    Unknown,
    Acknowledged,
}

/// Of all requests by their places.
#[derive(Debug)]
pub(crate) struct Standings(Vec<AtomicU8>);

/// Spans and log records by what is known of the requests that hold them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Items {
    pub(crate) acknowledged: u64,
    pub(crate) unknown: u64,
    pub(crate) refused: u64,
}

impl Standings {
    pub(crate) fn of(requests: usize) -> Self {
        Self((0..requests).map(|_| AtomicU8::new(Standing::Unsent as u8)).collect())
    }

    /// What is known once cannot become less: sent again, a request stays acknowledged.
    pub(crate) fn rise(&self, request: usize, standing: Standing) {
        self.0[request].fetch_max(standing as u8, Ordering::Relaxed);
    }

    /// Whether everything in it must be there.
    pub(crate) fn is_acknowledged(&self, request: usize) -> bool {
        self.0[request].load(Ordering::Relaxed) == Standing::Acknowledged as u8
    }

    /// Counts the items of traces by the best that is known of each.
    pub(crate) fn count<'a>(&self, traces: impl Iterator<Item = Sent<'a>>) -> Items {
        let mut items = Items::default();
        for item in traces.flat_map(|sent| &sent.trace.items) {
            let standings = item.requests.iter().map(|request| self.0[*request].load(Ordering::Relaxed));
            let best = standings.max().unwrap_or_default();
            let counts = [
                (Standing::Acknowledged, &mut items.acknowledged),
                (Standing::Unknown, &mut items.unknown),
                (Standing::Refused, &mut items.refused),
            ];
            for (standing, count) in counts {
                *count += u64::from(standing as u8 == best);
            }
        }
        items
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_acknowledgement_is_never_taken_back() {
        let standings = Standings::of(2);
        standings.rise(0, Standing::Acknowledged);
        standings.rise(0, Standing::Unknown);
        standings.rise(1, Standing::Refused);
        assert!(standings.is_acknowledged(0) && !standings.is_acknowledged(1));
    }
}
