//! The commands as a user runs them, against a real engine and gateway in memory.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{
    fs,
    process::{Command, Output},
};

use loadgen::{
    request::{Signal, gzip},
    traffic::Traffic,
};
use testbed::{Backend, LocalCluster, Shape};

struct Cluster {
    /// Runs as long as this value lives.
    _local: LocalCluster,
    directory: tempfile::TempDir,
}

impl Cluster {
    async fn start() -> Self {
        let shape = Shape { backend: Backend::Memory, engines: 1, ..Shape::default() };
        let local = LocalCluster::start(&shape).await.unwrap();
        let directory = tempfile::tempdir().unwrap();
        local.describe().unwrap().save(directory.path()).unwrap();
        Self { _local: local, directory }
    }

    fn loadgen(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_loadgen"))
            .args(arguments)
            .arg("--cluster")
            .arg(self.directory.path().join("cluster.json"))
            .output()
            .unwrap()
    }

    /// Writes 20 traces as a data set that states `spans_more` spans per trace than there are.
    fn data_set(&self, spans_more: usize) -> String {
        let directory = self.directory.path().join(format!("data-{spans_more}"));
        fs::create_dir(&directory).unwrap();
        let traffic = Traffic { seed: 1, start_unix_nano: 1_767_225_600_000_000_000 };
        let mut stated = serde_json::Map::new();
        for number in 0..2 {
            let batch = traffic.batch(number);
            for (signal, name) in [(Signal::Traces, "traces"), (Signal::Logs, "logs")] {
                let requests = batch.requests.iter().filter(|request| request.signal == signal);
                let lines: Vec<u8> = requests
                    .flat_map(|request| [request.json().unwrap().to_vec(), b"\n".to_vec()].concat())
                    .collect();
                let file = directory.join(format!("{name}-{number}.jsonl.gz"));
                fs::write(file, gzip(&lines).unwrap()).unwrap();
            }
            for (trace_id, trace) in batch.expectation.traces() {
                let spans = trace.span_count() + spans_more;
                let numbers = serde_json::json!({"spans": spans, "logs": trace.log_count()});
                stated.insert(trace_id.clone(), numbers);
            }
        }
        let stated = serde_json::to_vec(&stated).unwrap();
        fs::write(directory.join("expected.json"), stated).unwrap();
        directory.to_str().unwrap().to_owned()
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn last_line(output: &Output) -> serde_json::Value {
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().last().unwrap_or_default();
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}\n{}", stderr(output)))
}

#[tokio::test]
async fn what_is_replayed_comes_out_as_it_went_in_also_the_second_time() {
    let cluster = Cluster::start().await;
    let data = cluster.data_set(0);
    for seed in ["1", "2"] {
        let output = cluster.loadgen(&["replay", &data, "--seed", seed]);
        let summary = last_line(&output);
        assert!(output.status.success(), "{summary}\n{}", stderr(&output));
        assert_eq!(summary["traces"], 20);
        for name in ["missing", "extra", "duplicated"] {
            assert_eq!(summary[name], 0, "{name}");
        }
        assert!(summary["resent"].as_u64().unwrap() > 0);
        assert_eq!(summary["state"], "memory");
    }
}

#[tokio::test]
async fn a_replay_that_does_not_give_what_is_stated_fails() {
    let cluster = Cluster::start().await;
    let output = cluster.loadgen(&["replay", &cluster.data_set(1)]);
    assert!(!output.status.success());
    assert_eq!(last_line(&output)["missing"], 20, "a span of each trace");
    assert!(stderr(&output).contains("expected.json has"), "{}", stderr(&output));
}

#[tokio::test]
async fn the_demo_shows_a_correlation_and_how_to_see_it_again() {
    let cluster = Cluster::start().await;
    let demo = cluster.loadgen(&["demo"]);
    assert!(demo.status.success(), "{}", stderr(&demo));
    let drawing = String::from_utf8(demo.stdout).unwrap();
    assert!(drawing.contains("frontend: ") && drawing.contains("└─ "), "{drawing}");

    let id = drawing.lines().next().and_then(|line| line.strip_prefix("correlation ")).unwrap();
    let show = cluster.loadgen(&["show", id]);
    assert_eq!(String::from_utf8(show.stdout).unwrap(), drawing);

    let unknown = cluster.loadgen(&["show", "00000000000000000000000000000001"]);
    assert!(!unknown.status.success());
}

#[tokio::test]
async fn traffic_is_sent_no_faster_than_it_is_asked_for() {
    let cluster = Cluster::start().await;
    let started = tokio::time::Instant::now();
    let send = cluster.loadgen(&["send", "--traces", "30", "--rate", "20"]);
    assert!(send.status.success(), "{}", stderr(&send));
    // The first of three batches of ten goes at once.
    assert!(started.elapsed().as_secs_f64() >= 1.0);
    assert!(stderr(&send).contains("30 of 30 traces"), "{}", stderr(&send));
}
