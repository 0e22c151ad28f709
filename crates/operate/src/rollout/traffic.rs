//! What is sent: traces that are a function of seed and number, so that what comes out is computed again
//! instead of being remembered.

use correlate_proof::sample;
use loadgen::request::Request;
use otlp_proto::opentelemetry::proto::trace::v1::{Span, span::SpanKind};

/// Spans of a trace.
pub(super) const SPANS: u32 = 20;
/// In the early part of it.
const EARLY_SPANS: u32 = 10;
/// Traces that share their requests, so that a gateway has to cut them where they belong to different engines.
pub(super) const TRACES_PER_PAIR: u64 = 2;

/// 2026-01-01T00:00:00Z; like recorded telemetry, it is of the past.
const START_UNIX_NANO: u64 = 1_767_225_600_000_000_000;
const MILLISECOND_NANOS: u64 = 1_000_000;

pub(super) type TraceId = [u8; 16];

/// Which spans of a trace are sent together. A trace spends the time between the two in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// Spans whose parent has not ended yet. Alone, something is missing.
    Early,
    /// The others with the root, which ends last. Alone, nothing is missing.
    Late,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Traffic {
    pub(super) seed: u64,
}

/// A span that was sent, by its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) trace: u64,
    /// Less than [`SPANS`].
    pub(super) span: u32,
}

impl Part {
    pub(super) const BOTH: [Self; 2] = [Self::Early, Self::Late];

    fn spans(self) -> std::ops::Range<u32> {
        match self {
            Self::Early => 0..EARLY_SPANS,
            Self::Late => EARLY_SPANS..SPANS,
        }
    }

    fn service(self) -> &'static str {
        match self {
            Self::Early => "stock",
            Self::Late => "shop",
        }
    }

    /// The spans as bits.
    pub(super) fn mask(self) -> u32 {
        self.spans().fold(0, |mask, span| mask | 1 << span)
    }
}

/// Numbers of the traces of a pair.
pub(super) fn traces_of(pair: u64) -> impl Iterator<Item = u64> {
    (0..TRACES_PER_PAIR).map(move |index| pair * TRACES_PER_PAIR + index)
}

impl Traffic {
    /// The request with a part of both traces of a pair.
    pub(super) fn request(self, pair: u64, part: Part) -> Request {
        let spans = traces_of(pair).flat_map(|trace| part.spans().map(move |span| Place { trace, span }));
        Request::traces(&sample::traces_of(part.service(), spans.map(|place| self.span(place))))
    }

    pub(super) fn trace_id(self, trace: u64) -> TraceId {
        // The increment of SplitMix64 keeps the ids of neighbouring seeds apart.
        let high = self.seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (u128::from(high) << 64 | u128::from(trace)).to_be_bytes()
    }

    /// Which span of the traffic this is; `None` when it was never sent like that.
    pub(super) fn recognise(self, span: &Span) -> Option<Place> {
        let (_, trace) = span.trace_id.split_at_checked(8)?;
        let trace = u64::from_be_bytes(trace.try_into().ok()?);
        let number = u64::from_be_bytes(span.span_id.as_slice().try_into().ok()?);
        let span_number = u32::try_from(number.checked_sub(1)?).ok().filter(|number| *number < SPANS)?;
        let place = Place { trace, span: span_number };
        (self.span(place) == *span).then_some(place)
    }

    fn span(self, Place { trace, span }: Place) -> Span {
        let id = |span: u32| u64::from(span + 1).to_be_bytes().to_vec();
        let is_root = span + 1 == SPANS;
        let start = START_UNIX_NANO + (trace * 100 + u64::from(SPANS - span)) * MILLISECOND_NANOS;
        Span {
            trace_id: self.trace_id(trace).to_vec(),
            span_id: id(span),
            // Each is the child of the next one.
            parent_span_id: if is_root { Vec::new() } else { id(span + 1) },
            name: format!("step {span}"),
            kind: SpanKind::Server.into(),
            start_time_unix_nano: start,
            end_time_unix_nano: start + u64::from(span + 1) * MILLISECOND_NANOS,
            ..Span::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use otlp_proto::opentelemetry::proto::trace::v1::TracesData;
    use prost::Message as _;

    use super::*;

    const TRAFFIC: Traffic = Traffic { seed: 7 };

    fn spans(part: Part) -> Vec<Span> {
        let data = TracesData::decode(TRAFFIC.request(3, part).protobuf()).unwrap();
        let scopes = data.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
        scopes.flat_map(|scope| scope.spans).collect()
    }

    #[test]
    fn every_span_that_was_sent_is_recognised() {
        let mut places: Vec<Place> = Vec::new();
        for part in Part::BOTH {
            places.extend(spans(part).iter().map(|span| TRAFFIC.recognise(span).unwrap()));
        }
        places.sort_by_key(|place| (place.trace, place.span));
        let expected = [6, 7].into_iter().flat_map(|trace| (0..SPANS).map(move |span| Place { trace, span }));
        assert_eq!(places, expected.collect::<Vec<_>>());
    }

    #[test]
    fn an_altered_span_and_one_of_other_traffic_are_strangers() {
        let span = spans(Part::Late).remove(0);
        assert_eq!(TRAFFIC.recognise(&Span { name: "step x".to_owned(), ..span.clone() }), None);
        assert_eq!(Traffic { seed: 8 }.recognise(&span), None);
    }

    #[test]
    fn only_the_late_part_is_whole_on_its_own() {
        let is_whole = |part| {
            let spans = spans(part);
            let is_there = |id: &Vec<u8>| id.is_empty() || spans.iter().any(|span| span.span_id == *id);
            spans.iter().all(|span| is_there(&span.parent_span_id))
        };
        assert!(!is_whole(Part::Early) && is_whole(Part::Late));
    }
}
