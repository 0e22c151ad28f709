//! A plan as people read it: what to provide, then why.

use std::{collections::BTreeMap, fmt};

use crate::{
    Door, Plan,
    figures::{Figure, Source},
    plan::{Limit, Network, Processes},
    units::{digits, show_bytes, show_time, thousands},
};

impl fmt::Display for Plan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_demand(formatter)?;
        self.write_servers(formatter)?;
        self.write_network(formatter)?;
        self.write_cost(formatter)?;
        self.write_reasons(formatter)?;
        self.write_sources(formatter)
    }
}

impl Plan {
    fn write_demand(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let demand = &self.demand;
        writeln!(
            formatter,
            "{} traces/s of {} spans: {} spans/s of {}, {} in a request, kept for {}; {:.0} % stay free\n",
            thousands(demand.traces_per_second),
            digits(demand.spans_per_trace),
            thousands(demand.spans_per_second()),
            show_bytes(demand.bytes_per_span),
            digits(demand.spans_per_request),
            show_time(demand.retention),
            demand.headroom * 100.0
        )
    }

    fn write_servers(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |what: &str, count: u32, cores: f64, memory: f64, used: f64, limit: &str| {
            let cores = if cores == 1.0 { "1 core".to_owned() } else { format!("{cores} cores") };
            let provided = format!("{count} with {cores} and {} each", show_bytes(memory));
            writeln!(formatter, "{what:<16} {provided:<34} {used:>6.2} cores used   {limit}")
        };
        for (what, processes) in [("engines", &self.engines), ("gateways", &self.gateways)] {
            let Processes { count, cores_each, cores_used, memory_bytes_each, limited_by } = processes;
            line(what, *count, *cores_each, *memory_bytes_each, *cores_used, limited_by.describe())?;
        }
        let redis = &self.redis;
        let limit = redis.limited_by.describe();
        line(
            "Redis primaries",
            redis.primaries,
            1.0,
            redis.memory_bytes_each,
            redis.primary_cores_used,
            limit,
        )?;
        line(
            "Redis replicas",
            redis.replicas,
            1.0,
            redis.memory_bytes_each,
            redis.replica_cores_used,
            "as primaries",
        )
    }

    fn write_network(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Network { from_clients, to_engines, to_redis, from_redis, replication, delivery } = self.network;
        writeln!(
            formatter,
            "network          {}/s from clients, {}/s gateways to engines, {}/s to Redis and {}/s from it,\n\
             {:17}{}/s to replicas, {}/s delivered",
            show_bytes(from_clients),
            show_bytes(to_engines),
            show_bytes(to_redis),
            show_bytes(from_redis),
            "",
            show_bytes(replication),
            show_bytes(delivery),
        )
    }

    fn write_cost(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cost_month {
            Some(cost) => writeln!(
                formatter,
                "cost of a month  {} {}: cores {}, memory {}, network {}",
                thousands(cost.total),
                cost.currency,
                thousands(cost.cores),
                thousands(cost.memory),
                thousands(cost.network)
            ),
            None => {
                writeln!(formatter, "cost of a month  unknown: give --price-core-month and --price-gib-month")
            }
        }
    }

    fn write_reasons(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { demand, costs, engines, redis, .. } = self;
        writeln!(formatter, "\nCPU of a span, µs        engine    Redis")?;
        for part in &costs.parts {
            writeln!(
                formatter,
                "{:>31.2} {:>8.2}   {}; {}",
                part.engine_us,
                part.redis_us,
                part.what,
                part.source.name()
            )?;
        }
        writeln!(formatter, "{:>31.2} {:>8.2}   together", costs.engine_us(), costs.redis_us())?;
        let factor = costs.with_engines(engines.count);
        let (spans, used) = (demand.spans_per_second(), 1.0 - demand.headroom);
        let engine_us = costs.engine_us();
        writeln!(formatter, "\nHow it comes about")?;
        writeln!(
            formatter,
            "engines: {} spans/s × {engine_us:.2} µs × {factor:.2} for {} engines = {:.2} cores of {} × {used:.2}; \
             memory {} at the most, {}",
            thousands(spans),
            engines.count,
            engines.cores_used,
            engines.cores(),
            show_bytes(costs.engine_bytes.value),
            costs.engine_bytes.source.name()
        )?;
        if demand.protocol != Door::Grpc {
            writeln!(
                formatter,
                "gateways: {} spans/s × {:.2} µs = {:.2} cores, {}; memory {} at the most, {}",
                thousands(spans),
                costs.gateway_us.value,
                self.gateways.cores_used,
                costs.gateway_us.source.name(),
                show_bytes(costs.gateway_bytes.value),
                costs.gateway_bytes.source.name()
            )?;
        }
        writeln!(
            formatter,
            "Redis CPU: {} spans/s × {:.2} µs × {factor:.2}; {:.0} % of it in primaries, {}",
            thousands(spans),
            costs.redis_us(),
            costs.primaries_share.value * 100.0,
            costs.primaries_share.source.name()
        )?;
        writeln!(
            formatter,
            "Redis memory: {} traces/s × {} s = {} traces × {} = {} each copy, {}; / {} primaries / {used:.2}",
            thousands(demand.traces_per_second),
            demand.retention.as_secs(),
            thousands(redis.correlations),
            show_bytes(costs.redis_bytes_per_trace.value),
            show_bytes(redis.memory_bytes),
            costs.redis_bytes_per_trace.source.name(),
            redis.primaries
        )?;
        writeln!(
            formatter,
            "network to Redis: {:.0} % of the bytes of clients, {}",
            costs.packed.value * 100.0,
            costs.packed.source.name()
        )?;
        self.notes.iter().try_for_each(|note| writeln!(formatter, "note: {note}"))
    }

    /// The rows that are named above, and what measures them again.
    fn write_sources(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let costs = &self.costs;
        let figures = [
            &costs.gateway_us,
            &costs.primaries_share,
            &costs.redis_bytes_per_trace,
            &costs.packed,
            &costs.engine_bytes,
            &costs.gateway_bytes,
        ];
        let sources = costs.parts.iter().map(|part| &part.source).chain(figures.map(|figure| &figure.source));
        let mut rows = BTreeMap::<_, Vec<String>>::new();
        for figure in sources.flat_map(Source::figures) {
            let (text, told) = (figure.to_string(), rows.entry((figure.row, figure.command)).or_default());
            if !told.contains(&text) {
                told.push(text);
            }
        }
        if rows.is_empty() {
            return Ok(());
        }
        writeln!(
            formatter,
            "\nRows of docs/benchmarks.md, and what measures them again (--measured FILE takes yours)"
        )?;
        let mut rows = rows.into_iter();
        rows.try_for_each(|((row, command), told)| {
            writeln!(formatter, "`{row}`: {} ({command})", told.join(", "))
        })
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.value {
            large if large > 1e6 => write!(formatter, "{} {}", self.of, show_bytes(large)),
            value => write!(formatter, "{} {value}", self.of),
        }
    }
}

impl Limit {
    fn describe(self) -> &'static str {
        match self {
            Self::Cpu => "limited by CPU",
            Self::Memory => "limited by memory",
            Self::Availability => "so that one may be away",
            Self::None => "",
        }
    }
}
