//! The lean split of OTLP requests into fragments, and OTLP/JSON to protobuf and back.
