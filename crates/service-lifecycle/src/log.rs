//! What the process writes to standard error.

use std::io::{self, IsTerminal};

use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use crate::{LogConfig, LogFormat};

/// Starts logging for the whole process. Only the first call has an effect, which matters to tests
/// alone.
pub(crate) fn start(config: &LogConfig) {
    // The loader has checked the level.
    let filter = EnvFilter::try_new(&config.level).unwrap_or_default();
    let (text, json) = match config.format {
        LogFormat::Text => {
            let layer = fmt::layer().with_writer(io::stderr).with_ansi(io::stderr().is_terminal());
            (Some(layer), None)
        }
        LogFormat::Json => (None, Some(fmt::layer().with_writer(io::stderr).json())),
    };
    let _already_started = tracing_subscriber::registry().with(filter).with(text).with(json).try_init();
}
