# Commands of this project; `just` alone lists them.

set positional-arguments

# Where cargo puts what it builds.
target := env_var_or_default("CARGO_TARGET_DIR", "target")
testbed := target / "release/testbed"
loadgen := target / "release/loadgen"

# List all commands
[private]
default:
    @just --list --unsorted

# Start a local cluster: Redis Cluster, three engines, a gateway (`just up --help`)
up *arguments: build
    @{{testbed}} up "$@"

# End the local cluster and remove its data
down: _testbed
    @{{testbed}} down

# Show every process of the local cluster
status: _testbed
    @{{testbed}} status

# Print the logs of the local cluster: all, or `just logs engine-1 --follow`
logs *arguments: _testbed
    @{{testbed}} logs "$@"

# Start the cluster if needed, send seeded traffic, show one correlation as a tree
demo *arguments: build
    @{{testbed}} status >/dev/null 2>&1 || {{testbed}} up
    @{{loadgen}} demo "$@"

# Send seeded traffic to the local cluster (`just send --help`)
send *arguments: build
    @{{loadgen}} send "$@"

# Send load at a steady rate or as much as goes, and report rate, latency, CPU and memory (`just load --help`)
load *arguments: build
    @{{loadgen}} load "$@"

# Send recorded telemetry to the local cluster and compare what comes out (`just replay --help`)
replay *arguments: build
    @{{loadgen}} replay "$@"

# Show one correlation as a tree: `just show TRACE_ID`
show *arguments: build
    @{{loadgen}} show "$@"

# Measure what every operation of the state costs (`just bench-state --help`)
bench-state *arguments:
    @cargo build --release --package state-bench --locked
    @{{target}}/release/state-bench "$@"

# Measure what it costs to get telemetry in, also under overload and when an engine fails (`just bench-doors --help`)
bench-doors *arguments:
    @cargo build --release --package door-bench --package engine --package ingest-gateway --locked
    @{{target}}/release/door-bench "$@"

# Measure what whole traces cost until they are delivered, how late they are, and what idling costs (`just bench-correlate --help`)
bench-correlate *arguments:
    @cargo build --release --package correlate-bench --package engine --locked
    @{{target}}/release/correlate-bench "$@"

# Measure everything together, more engines, and Rotel and what is replaced beside it (`just bench --help`; 25 minutes)
bench *arguments: build
    @{{target}}/release/bench "$@"

# Try every fault on real Redis servers, under load (`just test-faults --help`; `--quick` takes 3 minutes)
test-faults *arguments:
    @cargo build --release --package state-faults --locked
    @{{target}}/release/state-faults "$@"

# Prove on recorded traffic that traces come out whole, once, whatever fails: `just prove-correlate DIR` (`--help`)
prove-correlate *arguments: build
    @{{target}}/release/prove-correlate "$@"

# Let everything fail under load, by a seeded plan, and compare what is left with what was acknowledged (`just chaos --help`)
chaos *arguments: build
    @{{target}}/release/chaos "$@"

# Switch known weaknesses on, one at a time, and demand that chaos finds each; 6 minutes
chaos-mutations *arguments: build
    @{{target}}/release/chaos --mutations --seed 2 --seconds 30 "$@"

# Send what every rule of OTLP is about, and what real clients send, to both doors
conformance: build
    @{{target}}/release/otlp-conformance

# Break the state in ways that lose data, and demand that a test notices each
test-mutations *arguments:
    @cargo run --quiet --package state-faults --bin test-mutations --locked -- "$@"

# Throw mutated inputs at everything that parses what comes from outside (`just fuzz --help`)
fuzz *arguments:
    @cargo run --quiet --package door-fuzz --locked -- "$@"

# Check what is deployed: alerts and their tests, dashboards, manifests, units, configuration of servers
check-deploy:
    @cmp -s deploy/check/requirements.txt {{target}}/check-deploy/requirements.txt || just _check-deploy-environment
    @PYTHONDONTWRITEBYTECODE=1 {{target}}/check-deploy/bin/python deploy/check/check.py

# Write the tables of docs/configuration.md from the configuration types
configuration:
    @WRITE_CONFIGURATION=1 cargo test --workspace --locked --test configuration

# Try what operators do on real processes: deploy, alerts, rollout, capacity (`just test-operate --help`)
test-operate *arguments: build
    @{{target}}/release/test-operate "$@"

# Everything that must hold before a change is merged
test: fmt clippy doc unit

# Fail on a dependency with a licence, a source or a twin that is not wanted (deny.toml); installs cargo-deny, 3 minutes
deny:
    @cargo deny --version >/dev/null 2>&1 || cargo install cargo-deny --locked
    cargo deny check bans licenses sources

# Fail on a dependency with a known weakness; fetches the list of them from github.com
advisories:
    @cargo deny --version >/dev/null 2>&1 || cargo install cargo-deny --locked
    cargo deny check advisories

# Fail if a file is not formatted
fmt:
    cargo fmt --all --check

# Fail on any warning of the compiler or clippy
clippy:
    cargo clippy --workspace --all-targets --locked -- -D warnings

# Build the documentation, and fail on any warning in it
doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

# Run all tests; some start the binaries, so those are built first
unit:
    cargo build --workspace --bins --locked
    cargo test --workspace --locked

# Compile everything without running it
check:
    cargo check --workspace --all-targets --locked

# Build the release binaries
build:
    @cargo build --release --workspace --bins --locked

# Start the same cluster in containers, where a Docker engine runs
compose-up:
    GIT_REVISION=$(git rev-parse --short HEAD) docker compose up --build --detach --wait

# End the containers and remove their data
compose-down:
    docker compose down --volumes

# The schemas that `check-deploy` needs, from PyPI.
_check-deploy-environment:
    @echo "installing deploy/check/requirements.txt into {{target}}/check-deploy" >&2
    @python3 -m venv --clear {{target}}/check-deploy
    @{{target}}/check-deploy/bin/pip install --quiet --disable-pip-version-check --requirement deploy/check/requirements.txt
    @cp deploy/check/requirements.txt {{target}}/check-deploy/

# Looking at a cluster or ending it must not wait for a build that is not needed.
_testbed:
    @test -x {{testbed}} || just build
