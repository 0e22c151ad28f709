//! HTTP front of the engines: OTLP/HTTP, balancing and the query API.
