//! Logs: to standard error, as text or JSON lines.

use std::io::IsTerminal as _;

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

/// Form of the logs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Says what is wrong with a filter.
///
/// # Errors
/// It is not valid.
pub fn check(filter: &str) -> Result<(), String> {
    EnvFilter::try_new(filter).map(|_| ()).map_err(|e| format!("`{filter}` is no log filter: {e}"))
}

/// Starts logging. `filter` is that of `tracing`, for example `info` or `weighbridge=debug`.
///
/// # Errors
/// The filter is not valid, or logging was started already.
pub fn init(format: LogFormat, filter: &str) -> Result<(), String> {
    let filter = EnvFilter::try_new(filter).map_err(|e| format!("`{filter}` is no log filter: {e}"))?;
    // Colours are for a terminal: in a file or a journal they are noise.
    let is_seen = std::io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(is_seen);
    let started = match format {
        LogFormat::Text => builder.with_target(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    started.map_err(|e| format!("logging could not be started: {e}"))
}
