//! What the process writes to standard error.

mod ids;

use std::io::{self, IsTerminal};

use tracing_subscriber::{
    EnvFilter,
    fmt::{self, format::JsonFields},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use crate::{LogConfig, LogFormat};
use ids::WithIds;

/// Starts logging for the whole process. Only the first call has an effect, which matters to tests
/// alone.
pub(crate) fn start(config: &LogConfig) {
    // The loader has checked the level.
    let filter = EnvFilter::try_new(&config.level).unwrap_or_default();
    let (text, json) = match config.format {
        LogFormat::Text => {
            let is_terminal = io::stderr().is_terminal();
            let format = WithIds::text(fmt::format().with_ansi(is_terminal));
            let layer = fmt::layer().event_format(format).with_writer(io::stderr).with_ansi(is_terminal);
            (Some(layer), None)
        }
        LogFormat::Json => {
            let format = WithIds::json(fmt::format().json());
            let layer =
                fmt::layer().event_format(format).fmt_fields(JsonFields::new()).with_writer(io::stderr);
            (None, Some(layer))
        }
    };
    let _already_started = tracing_subscriber::registry().with(filter).with(text).with(json).try_init();
}
