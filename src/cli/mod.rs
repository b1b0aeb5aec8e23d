//! The command line: arguments, one file for each command, and what the exit status says.
//!
//! | status | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | failed |
//! | 2 | wrong usage or settings |
//! | 3 | no proxy is running there |

#![allow(clippy::disallowed_methods, reason = "commands wait in real time")]

mod args;
mod check_config;
mod client;
mod cluster;
mod control;
mod demo;
mod explain;
mod fetch;
mod man;
mod one_setup;
mod pack;
mod progress_bar;
mod serve;
mod service;
mod snapshot;
mod status;
mod sync;
mod tables;
mod version;
mod whereabouts;

use std::process::ExitCode;

use alyx_proxy::settings::{LoadedSettings, SettingsError, Sources, load};
use clap::{CommandFactory, Parser};

use args::{Cli, Command, CommonFlags};

/// Why a command ended without having done its work.
#[derive(Debug, thiserror::Error)]
enum CliError {
    /// The arguments or settings can't be used.
    #[error("{0}")]
    Settings(#[from] SettingsError),
    /// Arguments that don't go together.
    #[error("{0}")]
    Usage(String),
    /// Nobody answers where the proxy should.
    #[error("{0}")]
    NotRunning(String),
    /// Anything else.
    #[error("{0:#}")]
    Failed(#[from] anyhow::Error),
}

impl CliError {
    fn status(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Settings(_) | Self::Usage(_) => 2,
            Self::NotRunning(_) => 3,
        }
    }
}

type CommandResult = Result<(), CliError>;

/// Carries out the command that the arguments name.
pub(crate) async fn run() -> ExitCode {
    // What opens a proxy is large.
    match Box::pin(dispatch(Cli::parse())).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("alyx-proxy: {failure}");
            ExitCode::from(failure.status())
        }
    }
}

async fn dispatch(cli: Cli) -> CommandResult {
    let Cli { common, serve, command } = cli;
    let for_serve = matches!(command, None | Some(Command::Serve { .. }));
    if !for_serve && serve.is_given() {
        return Err(CliError::Usage(
            "--listen, --upstream, --snapshot and what is said of it belong to `serve`".to_owned(),
        ));
    }
    match command {
        None => {
            let snapshot = serve.served()?;
            Box::pin(serve::run(&sources(common, serve.overrides())?, snapshot.as_ref())).await
        }
        Some(Command::Serve { common: more, serve: flags }) => {
            let serve = serve.and(flags);
            let snapshot = serve.served()?;
            Box::pin(serve::run(&sources(common.and(more), serve.overrides())?, snapshot.as_ref())).await
        }
        Some(Command::Demo { common: more, demo }) => {
            demo::run(&open_sources(common.and(more))?, &demo).await
        }
        Some(Command::CheckConfig { common: more, json }) => {
            check_config::run(&sources(common.and(more), Vec::new())?, json)
        }
        Some(Command::Status { common: more, status }) => {
            status::run(&open_sources(common.and(more))?, &status).await
        }
        Some(Command::Sync { common: more, sync }) => {
            sync::run(&sources(common.and(more), Vec::new())?, &sync).await
        }
        Some(Command::Explain { common: more, explain }) => {
            explain::run(&open_sources(common.and(more))?, &explain).await
        }
        Some(Command::Purge { common: more, purge }) => {
            control::purge(&sources(common.and(more), Vec::new())?, &purge).await
        }
        Some(Command::Offline { common: more, proxy }) => {
            control::offline(&sources(common.and(more), Vec::new())?, &proxy).await
        }
        Some(Command::Online { common: more, proxy }) => {
            control::online(&sources(common.and(more), Vec::new())?, &proxy).await
        }
        Some(Command::OneSetup { common: more, setup }) => {
            one_setup::run(&open_sources(common.and(more))?, &setup).await
        }
        Some(Command::Export { common: more, export }) => {
            snapshot::export(&sources(common.and(more), Vec::new())?, &export).await
        }
        Some(Command::Import { common: more, import }) => {
            snapshot::import(&sources(common.and(more), Vec::new())?, &import).await
        }
        Some(Command::Pack { common: more, pack }) => {
            pack::run(&open_sources(common.and(more))?, &pack).await
        }
        Some(Command::Fetch { common: more, fetch }) => {
            fetch::run(&open_sources(common.and(more))?, &fetch).await
        }
        Some(Command::Inspect { common: more, inspect }) => {
            snapshot::inspect(&open_sources(common.and(more))?, &inspect).await
        }
        Some(Command::Keys { common: more, keys }) => {
            snapshot::keys(&sources(common.and(more), Vec::new())?, &keys)
        }
        Some(Command::Cluster { common: more, cluster }) => {
            cluster::run(&sources(common.and(more), Vec::new())?, &cluster).await
        }
        Some(Command::Tables { common: more, tables }) => {
            tables::run(&sources(common.and(more), Vec::new())?, &tables).await
        }
        Some(Command::Man { folder }) => man::run(folder.as_deref()),
        Some(Command::Completions { shell }) => {
            clap_complete::generate(shell, &mut Cli::command(), "alyx-proxy", &mut std::io::stdout());
            Ok(())
        }
        Some(Command::Version { json }) => version::run(json),
    }
}

/// Where settings are looked for: the special flags are laid over `--set`.
fn sources(
    common: CommonFlags,
    special: Vec<alyx_proxy::settings::Override>,
) -> Result<Sources, SettingsError> {
    let (config, mut overrides) = common.overrides()?;
    overrides.extend(special);
    Ok(Sources::of_process(config, overrides))
}

/// The same for what needs no secret: a settings file of the machine's that is not for this user is gone on without.
fn open_sources(common: CommonFlags) -> Result<Sources, SettingsError> {
    let sources = sources(common, Vec::new())?;
    match load(&sources) {
        Err(error @ SettingsError::Denied { .. }) if sources.config.is_none() => {
            eprintln!("alyx-proxy: {error}; going on without it");
            Ok(Sources { config: Some("/dev/null".into()), ..sources })
        }
        _ => Ok(sources),
    }
}

/// The settings, and the log set up as they say.
fn prepare(sources: &Sources) -> Result<(LoadedSettings, alyx_proxy::log::Handle), CliError> {
    let loaded = load(sources)?;
    let log = alyx_proxy::log::init(&loaded.settings.log).map_err(anyhow::Error::from)?;
    Ok((loaded, log))
}

/// Writes a command's result, and takes a closed pipe (`… | head`) for a reader who has enough.
fn print(text: &str) -> CommandResult {
    use std::io::{ErrorKind, Write};
    match writeln!(std::io::stdout(), "{text}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(anyhow::Error::new(error).context("can't write to standard output").into())
        }
        _ => Ok(()),
    }
}

/// A result as JSON for other programs.
fn print_json(value: &serde_json::Value) -> CommandResult {
    print(&format!("{value:#}"))
}
