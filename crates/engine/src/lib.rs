//! Receives OTLP over gRPC, splits it into fragments, keeps them and answers queries.
