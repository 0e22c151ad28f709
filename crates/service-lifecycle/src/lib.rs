//! Boot, ready, drain and exit, the same for every process. Knows nothing of what the process serves.
//!
//! A binary is its configuration and one future; everything around it lives here:
//!
//! ```no_run
//! use std::process::ExitCode;
//!
//! use serde::{Deserialize, Serialize};
//! use service_lifecycle::{
//!     AdminConfig, App, Config, Kind, LogConfig, Metric, Process, ShutdownConfig, bind,
//! };
//!
//! #[derive(Debug, Default, Serialize, Deserialize)]
//! #[serde(default, deny_unknown_fields)]
//! struct Settings {
//!     greeting: String,
//!     admin: AdminConfig,
//!     log: LogConfig,
//!     shutdown: ShutdownConfig,
//! }
//!
//! impl Config for Settings {
//!     const ENVIRONMENT_ALIASES: &'static [(&'static str, &'static str)] = &[("GREETING", "greeting")];
//!
//!     fn admin(&self) -> &AdminConfig { &self.admin }
//!     fn log(&self) -> &LogConfig { &self.log }
//!     fn shutdown(&self) -> &ShutdownConfig { &self.shutdown }
//! }
//!
//! const METRICS: &[Metric] = &[
//!     Metric { name: "greeter_greetings_total", kind: Kind::Counter, unit: None, help: "Greetings sent." },
//! ];
//!
//! fn main() -> ExitCode {
//!     let app = App {
//!         name: "greeter",
//!         version: env!("CARGO_PKG_VERSION"),
//!         revision: option_env!("GIT_REVISION").unwrap_or("unknown"),
//!         about: "Greets whoever connects",
//!         metrics: &[METRICS],
//!         commands: &[],
//!     };
//!     service_lifecycle::run(&app, serve)
//! }
//!
//! async fn serve(process: Process<Settings>) -> anyhow::Result<()> {
//!     let listener = bind("127.0.0.1:7777".parse()?, "greeter.listen").await?;
//!     let state = process.readiness.check("state"); // not ready until said so
//!     state.ready();
//!     process.shutdown.draining().await; // stop accepting, finish what is in flight, return
//!     drop(listener);
//!     Ok(())
//! }
//! ```
//!
//! What happens when:
//!
//! 1. [`Arguments`] are parsed, the configuration is [loaded](load) (exit code 78 when it is
//!    wrong), logging and metrics start, the admin port answers, the service future runs.
//! 2. SIGTERM or SIGINT: readiness is off at once ([`Shutdown::signalled`]); after
//!    `shutdown.drain_delay_ms` the service is told to stop accepting ([`Shutdown::draining`]);
//!    it has `shutdown.grace_ms` to finish. A second signal ends the process at once.
//! 3. Exit code 0 after a drain, 1 when the service failed or did not finish in time,
//!    130 or 143 after a second signal.
//!
//! Where the variables of OpenTelemetry name an endpoint, a [`Tracer`] begins spans of the process, and
//! logs of a request name its trace.

#![warn(missing_docs)]

mod admin;
mod arguments;
mod config;
mod files;
mod line;
mod log;
mod metric;
mod port;
mod process;
mod readiness;
mod shutdown;
mod signal;
mod trace;

pub use arguments::Arguments;
pub use config::{
    AdminConfig, Config, ConfigError, Effective, Loaded, LogConfig, LogFormat, ShutdownConfig, Sources,
    TraceConfig, Violation, config_value, deserialize_address, environment_variable, load, mask_password,
};
pub use files::{FileError, Files, Watched};
pub use line::line_at;
pub use metric::{Kind, METRICS, Metric};
pub use port::{BindError, Connection, Listener, Tls, TlsConfig, TlsKeys, bind, serve_http};
pub use process::{App, Command, Process, run};
pub use readiness::{Check, Readiness};
pub use shutdown::Shutdown;
pub use trace::{Span, SpanKind, Tracer};
