//! Correlation state in a Redis server or Redis Cluster, shared by all replicas.
