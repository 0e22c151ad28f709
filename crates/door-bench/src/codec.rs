//! The codec in this process, beside what others decode OTLP with.

use std::{hint::black_box, time::Duration};

use anyhow::ensure;
use bench_kit::{
    cpu,
    figure::{Figure, Mark, Unit},
    statistics::median,
};
use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use otlp_codec::{
    SplitOptions,
    json::{self, Message},
    split_traces,
};
use prost::Message as _;

use crate::{
    requests::{self, Shape},
    scale::Scale,
};

/// Four requests that both work through, 1.8 MB of protobuf: like one that has just been received,
/// they are in the processor's caches.
const SPANS: usize = 4_000;

/// Splitting, beside a full decode of the same bytes.
pub(crate) fn split(scale: &Scale) -> anyhow::Result<Vec<Figure>> {
    let requests = requests::protobuf(Shape::LARGE, SPANS);
    let options = SplitOptions::default();
    for request in &requests {
        let split = split_traces(request, &options)?;
        ensure!(split.parts.len() == Shape::LARGE.traces, "{} parts of a request", split.parts.len());
    }
    let compared = compare(
        scale,
        &requests,
        |request| Ok(split_traces(request, &options)?),
        |request| Ok(ExportTraceServiceRequest::decode(&request[..])?),
    )?;
    Ok(vec![
        Figure::new("CPU per span", Unit::Microseconds, compared.ours_us).with_mark(Mark::AtMost(0.35)),
        Figure::new("full decode by opentelemetry-proto, per span", Unit::Microseconds, compared.theirs_us),
        Figure::new("less than that", Unit::Times, compared.ratio).with_mark(Mark::AtLeast(5.0)),
        Figure::new("spans per second of CPU", Unit::PerSecond, 1e6 / compared.ours_us),
        Figure::new("requests in a repetition", Unit::Count, (scale.passes * requests.len()) as f64),
    ])
}

/// JSON to protobuf, beside `serde_json` into the structs of `opentelemetry-proto`, which makes
/// less of it: the protobuf still has to be encoded.
pub(crate) fn json_decode(scale: &Scale) -> anyhow::Result<Vec<Figure>> {
    let requests = requests::protobuf(Shape::LARGE, SPANS);
    let texts = requests::to_json(&requests)?;
    for (request, text) in requests.iter().zip(&texts) {
        let ours = json::to_protobuf(Message::ExportTraceServiceRequest, text)?;
        let theirs: ExportTraceServiceRequest = serde_json::from_slice(text)?;
        ensure!(ours == request[..] && theirs.encode_to_vec() == ours, "the JSON decoders disagree");
    }
    let compared = compare(
        scale,
        &texts,
        |text| Ok(json::to_protobuf(Message::ExportTraceServiceRequest, text)?),
        |text| Ok(serde_json::from_slice::<ExportTraceServiceRequest>(text)?),
    )?;
    Ok(vec![
        Figure::new("CPU per span", Unit::Microseconds, compared.ours_us),
        Figure::new("serde of opentelemetry-proto, per span", Unit::Microseconds, compared.theirs_us),
        Figure::new("faster than that", Unit::Times, compared.ratio).with_mark(Mark::AtLeast(2.0)),
        Figure::new("spans per second of CPU", Unit::PerSecond, 1e6 / compared.ours_us),
        Figure::new("requests in a repetition", Unit::Count, (scale.passes * texts.len()) as f64),
    ])
}

/// Medians; CPU is per span.
struct Compared {
    ours_us: f64,
    theirs_us: f64,
    /// Of repetitions, not of the two medians.
    ratio: f64,
}

/// Takes turns, so that a machine that gets slower or faster does so for both.
fn compare<Ours, Theirs>(
    scale: &Scale,
    inputs: &[Bytes],
    ours: impl Fn(&Bytes) -> anyhow::Result<Ours>,
    theirs: impl Fn(&Bytes) -> anyhow::Result<Theirs>,
) -> anyhow::Result<Compared> {
    let (mut ours_us, mut theirs_us, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..scale.repetitions {
        let (mut our_time, mut their_time) = (Duration::ZERO, Duration::ZERO);
        for _ in 0..scale.passes {
            our_time += time(inputs, &ours)?;
            their_time += time(inputs, &theirs)?;
        }
        let per_span = |time: Duration| time.as_secs_f64() * 1e6 / (scale.passes * SPANS) as f64;
        ours_us.push(per_span(our_time));
        theirs_us.push(per_span(their_time));
        ratios.push(per_span(their_time) / per_span(our_time));
    }
    Ok(Compared { ours_us: median(ours_us), theirs_us: median(theirs_us), ratio: median(ratios) })
}

/// CPU of one pass; dropping what was made belongs to it.
fn time<Made>(inputs: &[Bytes], work: impl Fn(&Bytes) -> anyhow::Result<Made>) -> anyhow::Result<Duration> {
    let begin = cpu::of_this_process()?;
    for input in inputs {
        black_box(work(input)?);
    }
    Ok(cpu::of_this_process()?.saturating_sub(begin))
}
