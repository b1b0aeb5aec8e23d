//! The log: on standard error, for people on a terminal and as JSON elsewhere.

mod events;
mod libraries;

use std::io::{IsTerminal, stderr};

pub use events::{LoggedEvent, lately, worth_telling};

use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::{LevelFilter, filter_fn},
    fmt,
    layer::SubscriberExt,
    reload,
};

use crate::settings::{LogFormat, LogSettings};

/// The target of the lines about requests, one for each.
pub const ACCESS: &str = "alyx_proxy::access";

/// Changes how much is logged while the program runs.
#[derive(Debug, Clone)]
pub struct Handle(reload::Handle<EnvFilter, Registry>);

/// The log can't be set up, or its level can't be changed.
#[derive(Debug, thiserror::Error)]
#[error("the log: {0}")]
pub struct LogError(String);

/// Starts the log, once in a process.
pub fn init(settings: &LogSettings) -> Result<Handle, LogError> {
    let json = match settings.format {
        LogFormat::Auto => !stderr().is_terminal(),
        LogFormat::Human => false,
        LogFormat::Json => true,
    };
    let lines = fmt::layer().with_writer(stderr);
    let lines = if json {
        lines.json().flatten_event(true).boxed()
    } else {
        lines.with_ansi(stderr().is_terminal()).boxed()
    };
    let (filter, handle) = reload::Layer::new(filter(&settings.level)?);
    // What is kept for the status page does not depend on how much is written.
    // Requests are not: they have pictures of their own there, and what nobody reads must cost nothing.
    let wanted = |about: &tracing::Metadata<'_>| {
        let ours = about.target().starts_with("alyx_proxy");
        let least = if ours { tracing::Level::INFO } else { tracing::Level::WARN };
        *about.level() <= least && about.target() != ACCESS
    };
    let kept = events::EventLayer.with_filter(filter_fn(wanted).with_max_level_hint(LevelFilter::INFO));
    let log = tracing_subscriber::registry().with(lines.with_filter(filter)).with(kept);
    tracing::subscriber::set_global_default(log).map_err(|error| LogError(error.to_string()))?;
    libraries::listen().map_err(|error| LogError(error.to_string()))?;
    libraries::log_panics();
    Ok(Handle(handle))
}

impl Handle {
    /// Logs as much as `level` says from now on.
    pub fn set_level(&self, level: &str) -> Result<(), LogError> {
        self.0.reload(filter(level)?).map_err(|error| LogError(error.to_string()))?;
        libraries::heed_level();
        Ok(())
    }
}

fn filter(level: &str) -> Result<EnvFilter, LogError> {
    EnvFilter::try_new(libraries::quiet(level)).map_err(|error| LogError(format!("`{level}`: {error}")))
}
