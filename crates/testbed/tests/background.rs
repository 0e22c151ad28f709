//! `testbed up`, `status`, `logs` and `down` as a user runs them, with the real engine and gateway.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Output},
};

use nix::sys::signal::Signal;
use testbed::Running;

fn testbed(home: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_testbed"));
    command.arg("--dir").arg(home).args(arguments).output().unwrap()
}

fn text(output: &Output) -> String {
    let streams = [&output.stdout, &output.stderr].map(|stream| String::from_utf8_lossy(stream));
    streams.concat()
}

/// Processes that run in `home`, which is what everything of a cluster does.
fn running_in(home: &Path) -> Vec<String> {
    let home = home.canonicalize().unwrap();
    let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    processes
        .filter(|process| fs::read_link(process.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(&home)))
        .map(|process| process.file_name().to_string_lossy().into_owned())
        .collect()
}

#[test]
fn a_cluster_goes_up_once_is_looked_at_and_goes_down() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("cluster");
    let up = testbed(&home, &["up", "--state", "redis", "--engines", "2"]);
    assert!(up.status.success(), "{}", text(&up));
    assert_eq!(running_in(&home).len(), 4, "Redis, two engines, a gateway");

    let again = testbed(&home, &["up", "--state", "redis", "--engines", "2"]);
    assert!(again.status.success() && text(&again).contains("up already"), "{}", text(&again));
    let other = testbed(&home, &["up", "--state", "memory"]);
    assert!(!other.status.success() && text(&other).contains("just down"), "{}", text(&other));

    let status = testbed(&home, &["status"]);
    assert!(status.status.success(), "{}", text(&status));
    for name in ["redis-1", "engine-1", "engine-2", "gateway-1"] {
        assert!(text(&status).contains(name), "{}", text(&status));
    }
    let logs = testbed(&home, &["logs", "engine"]);
    assert!(text(&logs).lines().all(|line| line.starts_with("engine-")), "{}", text(&logs));
    assert!(text(&logs).contains("engine-2"));

    let down = testbed(&home, &["down"]);
    assert!(down.status.success(), "{}", text(&down));
    assert!(!home.exists());
    assert!(testbed(&home, &["down"]).status.success(), "there is nothing left to end");
    assert!(!testbed(&home, &["status"]).status.success());
}

#[test]
fn a_process_that_ended_is_named_and_the_rest_can_be_ended() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("cluster");
    let up = testbed(&home, &["up", "--state", "memory"]);
    assert!(up.status.success(), "{}", text(&up));
    let engine = Running::load(&home).unwrap().unwrap().engines.remove(0).entry;
    engine.signal(Signal::SIGKILL).unwrap();
    while engine.is_running() {
        std::thread::yield_now();
    }

    for command in ["status", "up"] {
        let output = testbed(&home, &[command]);
        assert!(!output.status.success(), "{command}: {}", text(&output));
        assert!(text(&output).contains("engine-1"), "{command}: {}", text(&output));
    }
    assert!(testbed(&home, &["down"]).status.success());
    assert!(!home.exists());
}

#[test]
fn a_start_that_fails_leaves_nothing_running_and_shows_the_log() {
    let directory = tempfile::tempdir().unwrap();
    let (home, binaries) = (directory.path().join("cluster"), directory.path().join("bin"));
    fs::create_dir(&binaries).unwrap();
    fs::write(binaries.join("engine"), "#!/bin/sh\necho no such setting >&2\nexit 78\n").unwrap();
    fs::set_permissions(binaries.join("engine"), fs::Permissions::from_mode(0o755)).unwrap();

    let mut command = Command::new(env!("CARGO_BIN_EXE_testbed"));
    command.env("TESTBED_BIN_DIR", &binaries).arg("--dir").arg(&home);
    let up = command.args(["up", "--state", "redis"]).output().unwrap();
    assert!(!up.status.success());
    assert!(text(&up).contains("no such setting"), "{}", text(&up));
    assert_eq!(running_in(&home), [""; 0]);
    assert!(text(&testbed(&home, &["down"])).contains("No cluster"));
}

#[test]
fn a_missing_binary_is_named_with_the_command_that_builds_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_testbed"));
    command.env("TESTBED_BIN_DIR", "/nowhere").arg("--dir").arg(directory.path());
    let up = command.args(["up", "--state", "memory"]).output().unwrap();
    assert!(!up.status.success());
    let text = text(&up);
    assert!(text.contains("engine in /nowhere") && text.contains("cargo build"), "{text}");
}

#[test]
fn a_directory_with_other_files_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("precious");
    fs::write(&file, "").unwrap();
    let up = testbed(directory.path(), &["up", "--state", "memory"]);
    assert!(!up.status.success());
    assert!(file.exists());
}

#[test]
fn several_engines_in_memory_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let up = testbed(directory.path(), &["up", "--state", "memory", "--engines", "3"]);
    assert!(!up.status.success());
    assert!(text(&up).contains("split traces"), "{}", text(&up));
}
