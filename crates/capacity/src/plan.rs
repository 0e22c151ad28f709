//! What has to be there: engines, gateways, Redis servers, what they use and what that costs.

use serde::Serialize;

use crate::{
    Cost, Costs, Demand, Door, Prices,
    price::SECONDS_PER_MONTH,
    units::{digits, show_bytes},
};

/// Buckets of the state by default (`redis.buckets`): what primaries share.
const BUCKETS: u32 = 24;
/// Fewest primaries of a Redis Cluster that can lose one.
const PRIMARIES_MIN: u32 = 3;
/// Fewest engines or gateways of which one may be away.
const PROCESSES_MIN: u32 = 2;
/// A plan for more is none.
const PROCESSES_MAX: u32 = 100_000;
const MICROS: f64 = 1e6;
const GIB: f64 = (1_u64 << 30) as f64;

/// What has to be there.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// What comes.
    pub demand: Demand,
    /// Processes that take telemetry in, correlate and deliver it.
    pub engines: Processes,
    /// Processes that clients send to over HTTP.
    pub gateways: Processes,
    /// Servers that keep the state.
    pub redis: Redis,
    /// Bytes per second.
    pub network: Network,
    /// Of a month; `None` without a price.
    pub cost_month: Option<Cost>,
    /// What it was computed from.
    pub costs: Costs,
    /// What to know about it.
    pub notes: Vec<String>,
}

/// Processes of one kind.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Processes {
    /// How many.
    pub count: u32,
    /// Provided for each.
    pub cores_each: f64,
    /// Used by all of them.
    pub cores_used: f64,
    /// Provided for each, the headroom included.
    pub memory_bytes_each: f64,
    /// What decides how many there are: `cpu`, or `availability` (one may be away).
    pub limited_by: Limit,
}

/// Servers of a Redis Cluster.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Redis {
    /// Servers that a part of the state belongs to.
    pub primaries: u32,
    /// Servers with a copy of it, all together.
    pub replicas: u32,
    /// Used by all primaries; a server has one core, for it executes commands in one thread.
    pub primary_cores_used: f64,
    /// Used by all replicas.
    pub replica_cores_used: f64,
    /// What is kept, one copy.
    pub memory_bytes: f64,
    /// Provided for each server, the headroom included.
    pub memory_bytes_each: f64,
    /// Traces that are kept.
    pub correlations: f64,
    /// What decides how many primaries there are.
    pub limited_by: Limit,
}

/// What decides how many there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Limit {
    /// Their cores.
    Cpu,
    /// Their memory.
    Memory,
    /// As many as it takes so that one may be away.
    Availability,
    /// There are none.
    None,
}

/// Bytes per second.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Network {
    /// From clients, as protobuf without compression.
    pub from_clients: f64,
    /// From gateways to engines.
    pub to_engines: f64,
    /// From engines to Redis.
    pub to_redis: f64,
    /// From Redis to engines: what is closed is read once.
    pub from_redis: f64,
    /// From primaries to replicas.
    pub replication: f64,
    /// To all endpoints, without compression.
    pub delivery: f64,
}

impl Network {
    /// All of it.
    pub fn total(&self) -> f64 {
        let Self { from_clients, to_engines, to_redis, from_redis, replication, delivery } = self;
        from_clients + to_engines + to_redis + from_redis + replication + delivery
    }
}

impl Plan {
    /// What has to be there for `demand`.
    ///
    /// # Errors
    /// Says what is too much.
    pub fn new(demand: Demand, costs: Costs, prices: &Prices) -> Result<Self, String> {
        let engines = engines(&demand, &costs)?;
        let factor = costs.with_engines(engines.count);
        let gateways = gateways(&demand, &costs)?;
        let redis = Redis::new(&demand, &costs, factor)?;
        let network = Network::new(&demand, &costs);
        let servers = f64::from(redis.primaries + redis.replicas);
        let cores = engines.cores() + gateways.cores() + servers;
        let bytes = engines.memory_bytes() + gateways.memory_bytes() + servers * redis.memory_bytes_each;
        let cost_month = prices.cost(cores, bytes / GIB, network.total() * SECONDS_PER_MONTH / GIB);
        let mut notes = vec![
            "A correlation lies on one primary: one that gets much more than others makes that one hot, which is \
             not in these figures."
                .to_owned(),
            "Redis forks to write its file anew and to bring up a replica, and copies meanwhile what is written to: \
             give its machine half as much memory again."
                .to_owned(),
        ];
        if factor > 1.005 {
            notes.push(format!(
                "With {} engines a span costs {:.0} % more than with one (`engines`): smaller requests each.",
                engines.count,
                (factor - 1.0) * 100.0
            ));
        }
        if redis.primaries > BUCKETS {
            notes.push(format!(
                "More than {BUCKETS} primaries share nothing further: set redis.buckets = {} before state is written.",
                redis.primaries
            ));
        }
        Ok(Self { demand, engines, gateways, redis, network, cost_month, costs, notes })
    }
}

impl Processes {
    /// As many as it takes, of so many cores each.
    fn new(used: impl Fn(u32) -> f64, cores_each: f64, headroom: f64, bytes: f64) -> Result<Self, String> {
        let fits = |count: &u32| used(*count) <= f64::from(*count) * cores_each * (1.0 - headroom);
        let count = (1..=PROCESSES_MAX).find(fits);
        let count = count.ok_or_else(|| {
            format!("more than {PROCESSES_MAX} processes of {} cores would be needed", digits(cores_each))
        })?;
        Ok(Self {
            count: count.max(PROCESSES_MIN),
            cores_each,
            cores_used: used(count.max(PROCESSES_MIN)),
            memory_bytes_each: bytes / (1.0 - headroom),
            limited_by: if count >= PROCESSES_MIN { Limit::Cpu } else { Limit::Availability },
        })
    }

    /// All cores that are provided.
    pub fn cores(&self) -> f64 {
        f64::from(self.count) * self.cores_each
    }

    /// All memory that is provided.
    pub fn memory_bytes(&self) -> f64 {
        f64::from(self.count) * self.memory_bytes_each
    }
}

fn engines(demand: &Demand, costs: &Costs) -> Result<Processes, String> {
    let cores = demand.spans_per_second() * costs.engine_us() / MICROS;
    let used = |count| cores * costs.with_engines(count);
    Processes::new(used, demand.engine_cores, demand.headroom, costs.engine_bytes.value)
}

fn gateways(demand: &Demand, costs: &Costs) -> Result<Processes, String> {
    if demand.protocol == Door::Grpc {
        let (cores_used, memory_bytes_each) = (0.0, 0.0);
        let cores_each = demand.gateway_cores;
        return Ok(Processes {
            count: 0,
            cores_each,
            cores_used,
            memory_bytes_each,
            limited_by: Limit::None,
        });
    }
    let cores = demand.spans_per_second() * costs.gateway_us.value / MICROS;
    Processes::new(|_| cores, demand.gateway_cores, demand.headroom, costs.gateway_bytes.value)
}

impl Redis {
    fn new(demand: &Demand, costs: &Costs, factor: f64) -> Result<Self, String> {
        let used = 1.0 - demand.headroom;
        let cores = demand.spans_per_second() * costs.redis_us() * factor / MICROS;
        let primary_cores_used = cores * costs.primaries_share.value;
        let correlations = demand.traces_per_second * demand.retention.as_secs_f64();
        let memory_bytes = correlations * costs.redis_bytes_per_trace.value;
        let by_cpu = (primary_cores_used / used).ceil();
        let by_memory = (memory_bytes / (demand.redis_memory_per_node * used)).ceil();
        // A Redis Cluster has 16,384 slots, and is advised to have at most 1,000 servers.
        let most = by_cpu.max(by_memory);
        if most > 1_000.0 {
            let what = if by_memory >= by_cpu {
                show_bytes(memory_bytes)
            } else {
                format!("{} cores", digits(primary_cores_used))
            };
            return Err(format!(
                "{most:.0} Redis primaries would be needed for {what}; a Redis Cluster has at most 1,000 servers"
            ));
        }
        let limited_by = match () {
            () if most <= f64::from(PRIMARIES_MIN) => Limit::Availability,
            () if by_memory >= by_cpu => Limit::Memory,
            () => Limit::Cpu,
        };
        let primaries = evenly((most as u32).max(PRIMARIES_MIN));
        Ok(Self {
            primaries,
            replicas: primaries * demand.replicas_per_primary,
            primary_cores_used,
            replica_cores_used: cores - primary_cores_used,
            memory_bytes,
            memory_bytes_each: memory_bytes / f64::from(primaries) / used,
            correlations,
            limited_by,
        })
    }
}

/// The next number of primaries that buckets are spread evenly over.
fn evenly(primaries: u32) -> u32 {
    let divides = |count: &u32| BUCKETS.is_multiple_of(*count);
    (primaries..=BUCKETS).find(divides).unwrap_or(primaries)
}

impl Network {
    fn new(demand: &Demand, costs: &Costs) -> Self {
        let from_clients = demand.spans_per_second() * demand.bytes_per_span;
        let packed = from_clients * costs.packed.value;
        Self {
            from_clients,
            to_engines: if demand.protocol == Door::Grpc { 0.0 } else { from_clients },
            to_redis: packed,
            from_redis: packed,
            replication: packed * f64::from(demand.replicas_per_primary),
            delivery: from_clients * f64::from(demand.endpoints),
        }
    }
}
