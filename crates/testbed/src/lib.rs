//! Real processes on free loopback ports: Redis Cluster, engines, gateways.
