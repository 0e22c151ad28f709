//! What spans take while they wait for the rest of their trace: in the memory of an engine, and in Redis.

use bench_kit::{
    deployment::{Deployment, Plan, State},
    figure::{Figure, Unit},
    load::{self, Pace},
    memory,
    statistics::median,
    traffic::Shape,
};

use crate::scale::Scale;

/// Decides all ids and names; each shape has the next one.
const SEED: u64 = 4_700;
const AT_ONCE: usize = 16;
/// Nothing is closed while it is looked at.
const SETTINGS: [(&str, &str); 1] = [("correlation.grace_ms", "60000")];
const SHAPES: [Shape; 3] = [
    Shape { traces: 500, spans: 2, requests: 1 },
    Shape { traces: 100, spans: 10, requests: 1 },
    Shape { traces: 10, spans: 100, requests: 1 },
];

/// Bytes for each span, by the length of traces.
pub(crate) async fn measure(scale: &Scale) -> anyhow::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (state, text) in [(State::Memory, "engine"), (State::Cluster, "Redis Cluster")] {
        let mut found = [const { Vec::new() }; SHAPES.len()];
        for _ in 0..scale.repetitions {
            let deployment = Deployment::start(&Plan::new(state).with(&SETTINGS)).await?;
            for (index, shape) in SHAPES.into_iter().enumerate() {
                let requests = load::whole(SEED + index as u64, shape, scale.pending_spans);
                let before = held(&deployment, state).await?;
                load::send(&deployment.engine().url(), &requests, Pace::AtOnce(AT_ONCE)).await?;
                let spans: usize = requests.iter().map(|request| request.spans).sum();
                found[index].push((held(&deployment, state).await? - before) / spans as f64);
            }
        }
        for (shape, bytes) in SHAPES.into_iter().zip(found) {
            let name = format!("bytes per span in the {text}, {} in a trace", shape.spans);
            figures.push(Figure::new(name, Unit::Bytes, median(bytes)));
        }
    }
    Ok(figures)
}

/// Bytes that the state takes now.
async fn held(deployment: &Deployment, state: State) -> anyhow::Result<f64> {
    if state == State::Memory {
        let pid = deployment.engine().process().pid();
        memory::forget_peak(pid)?;
        Ok(memory::peak_of(pid)? as f64)
    } else {
        deployment.redis_bytes().await
    }
}
