//! Seeded OTLP traffic: what is sent, and what must come out of it.
