//! What a plan promises, whatever was measured.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail them by panicking too")]

use capacity::{Costs, Demand, Measured, Plan, Prices, figures, plan::Limit};
use clap::Parser;

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    demand: Demand,
    #[command(flatten)]
    prices: Prices,
}

/// 10,000 traces a second of 10 spans that are kept for an hour, unless `more` says something else.
fn arguments(more: &str) -> Arguments {
    let basis = [("--traces-per-second", "10000"), ("--spans-per-trace", "10"), ("--retention", "1h")];
    let basis =
        basis.into_iter().filter(|(name, _)| !more.contains(name)).flat_map(|(name, value)| [name, value]);
    let command_line = ["capacity"].into_iter().chain(basis).chain(more.split_whitespace());
    Arguments::try_parse_from(command_line).map_err(|error| error.to_string()).unwrap()
}

fn plan(more: &str) -> Plan {
    let Arguments { demand, prices } = arguments(more);
    let costs = Costs::built_in(&demand);
    Plan::new(demand, costs, &prices).unwrap()
}

fn near(left: f64, right: f64) -> bool {
    (left - right).abs() < 1e-6 * right.abs().max(1.0)
}

#[test]
fn traffic_of_the_measured_size_costs_what_was_measured() {
    for (replicas, cluster) in [(0, figures::PLAIN), (1, figures::REPLICATED)] {
        let costs = plan(&format!("--spans-per-request 1000 --replicas-per-primary {replicas}")).costs;
        assert!(near(costs.engine_us(), cluster.whole.engine.value), "{costs:?}");
        assert!(near(costs.redis_us(), cluster.whole.redis.value), "{costs:?}");
    }
    let bytes = |spans: u32| {
        let costs = plan(&format!("--spans-per-request 1000 --spans-per-trace {spans}")).costs;
        costs.redis_bytes_per_trace.value / f64::from(spans)
    };
    for (spans, figure) in figures::REDIS_BYTES {
        assert!(near(bytes(spans as u32), figure.value), "{spans} spans in a trace: {}", bytes(spans as u32));
    }
}

#[test]
fn smaller_requests_shorter_traces_and_more_fragments_cost_more() {
    let cost = |more: &str| {
        let costs = plan(more).costs;
        costs.engine_us() + costs.redis_us()
    };
    assert!(cost("--spans-per-request 20") > cost("--spans-per-request 200"));
    assert!(cost("--fragments-per-trace 5") > cost("--fragments-per-trace 2"));
    assert!(cost("--replicas-per-primary 2") > cost("--replicas-per-primary 1"));
    assert!(cost("--replicas-per-primary 1") > cost("--replicas-per-primary 0"));
}

#[test]
fn the_headroom_stays_free() {
    for headroom in ["0%", "20%", "50%"] {
        let Plan { demand, engines, gateways, redis, .. } = plan(&format!("--headroom {headroom}"));
        let used = 1.0 - demand.headroom;
        assert!(engines.cores_used <= engines.cores() * used, "{engines:?}");
        assert!(gateways.cores_used <= gateways.cores() * used, "{gateways:?}");
        assert!(redis.primary_cores_used <= f64::from(redis.primaries) * used, "{redis:?}");
        assert!(
            redis.memory_bytes / f64::from(redis.primaries) <= demand.redis_memory_per_node * used,
            "{redis:?}"
        );
        assert!(
            near(redis.memory_bytes_each * used * f64::from(redis.primaries), redis.memory_bytes),
            "{redis:?}"
        );
    }
}

#[test]
fn memory_follows_the_retention_and_says_when_it_is_the_limit() {
    let [hour, day] = ["--retention 1h", "--retention 1d"]
        .map(|retention| plan(&format!("{retention} --redis-memory-per-node 256GiB")).redis);
    assert!(near(day.memory_bytes, 24.0 * hour.memory_bytes));
    assert_eq!(day.limited_by, Limit::Memory);
    let small = plan("--retention 60s").redis;
    assert_eq!(small.limited_by, Limit::Availability, "{small:?}");
    let few = plan("--retention 60s --traces-per-second 90000").redis;
    assert_eq!(few.limited_by, Limit::Cpu, "{few:?}");
}

#[test]
fn buckets_are_spread_evenly_over_primaries() {
    for retention in ["1m", "1h", "2h", "3h", "4h"] {
        let primaries =
            plan(&format!("--retention {retention} --redis-memory-per-node 8GiB")).redis.primaries;
        assert!(24_u32.is_multiple_of(primaries) || primaries > 24, "{primaries}");
    }
}

#[test]
fn what_is_more_than_a_redis_cluster_takes_is_refused() {
    let Arguments { demand, prices } = arguments("--retention 365d --redis-memory-per-node 1GiB");
    let costs = Costs::built_in(&demand);
    let refusal = Plan::new(demand, costs, &prices).unwrap_err();
    assert!(refusal.contains("at most 1,000 servers"), "{refusal}");
}

#[test]
fn over_grpc_there_are_no_gateways() {
    let plan = plan("--protocol grpc");
    assert_eq!((plan.gateways.count, plan.network.to_engines), (0, 0.0));
}

#[test]
fn the_cost_is_that_of_everything_that_is_provided() {
    assert_eq!(plan("").cost_month, None);
    let plan = plan("--price-core-month 25 --price-gib-month 3 --price-gib-network 0.01 --currency EUR");
    let servers = f64::from(plan.redis.primaries + plan.redis.replicas);
    let cost = plan.cost_month.unwrap();
    assert!(near(cost.cores, 25.0 * (plan.engines.cores() + plan.gateways.cores() + servers)), "{cost:?}");
    let bytes =
        plan.engines.memory_bytes() + plan.gateways.memory_bytes() + servers * plan.redis.memory_bytes_each;
    assert!(near(cost.memory, 3.0 * bytes / f64::from(1 << 30)), "{cost:?}");
    assert!(near(cost.total, cost.cores + cost.memory + cost.network) && cost.network > 0.0, "{cost:?}");
    assert_eq!(cost.currency, "EUR");
}

#[test]
fn a_report_takes_the_place_of_the_figures() {
    let report = r#"{"spans":100000,"traces":10000,"requests":1000,"accepted_spans":100000,"processes":{
        "engine":{"cpu_us_per_span":20.0,"rss_bytes_max":1000000,"rss_bytes_before":500000},
        "redis":{"cpu_us_per_span":40.0,"rss_bytes_max":100000000,"rss_bytes_before":20000000}}}"#;
    let Arguments { demand, prices } = arguments("");
    let measured = Measured::read(report).unwrap();
    assert_eq!(measured.differences(&demand), Vec::<String>::new());
    let costs = Costs::measured(&demand, &measured, "load.json");
    let plan = Plan::new(demand, costs, &prices).unwrap();
    assert!(near(plan.engines.cores_used, 2.0), "{:?}", plan.engines);
    assert!(near(plan.redis.primary_cores_used + plan.redis.replica_cores_used, 4.0), "{:?}", plan.redis);
    // 800 bytes a span, half of them in replicas.
    assert!(near(plan.costs.redis_bytes_per_trace.value, 4_000.0), "{:?}", plan.costs);
    let text = plan.to_string();
    assert!(text.contains("load.json") && !text.contains("cluster-1000`"), "{text}");
    let other = measured.differences(&arguments("--spans-per-trace 30").demand);
    assert!(other.len() == 1 && other[0].contains("10.0 spans in a trace, not 30.0"), "{other:?}");
}

#[test]
fn the_answer_names_its_figures_and_what_measures_them() {
    let text = plan("--replicas-per-primary 0").to_string();
    for part in [
        "`cluster-1000`",
        "just bench --only pending",
        "just bench-correlate --only redis-cluster",
        "limited by",
    ] {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
    let value = serde_json::to_value(plan("")).unwrap();
    assert_eq!(value["demand"]["retention_seconds"], 3_600);
    assert!(value["costs"]["parts"][0]["source"][0]["command"].is_string(), "{value}");
}

#[test]
fn bad_input_is_refused_with_what_is_expected() {
    for (argument, value, expected) in [
        ("--retention", "60", "such as 1h"),
        ("--headroom", "0.2", "such as 20%"),
        ("--redis-memory-per-node", "16G", "such as 450, 512MiB or 16GiB"),
        ("--spans-per-trace", "0", "above 0"),
        ("--protocol", "udp", "grpc"),
    ] {
        let basis = ["--traces-per-second", "--spans-per-trace"].into_iter().filter(|name| *name != argument);
        let basis = basis.flat_map(|name| [name, "1"]);
        let command_line = ["capacity"].into_iter().chain(basis).chain([argument, value]);
        let refusal = Arguments::try_parse_from(command_line).map(|_| ()).unwrap_err().to_string();
        assert!(refusal.contains(expected) && refusal.contains(argument), "{refusal}");
    }
}
