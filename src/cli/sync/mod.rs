//! `sync`: synchronises the mirror now; a proxy that is running on the data directory does it itself.

mod running;
mod teller;

use std::collections::BTreeMap;

use alyx_proxy::{
    alyx::Endpoint,
    app::App,
    mirror::sync::{Cycle, SyncProgress, TableProgress},
    proxy::Mode,
    settings::Sources,
    upstream::health,
};
use anyhow::anyhow;
use serde_json::json;

use super::{CliError, CommandResult, args::SyncFlags, prepare, print, print_json};
use teller::ProgressReporter;

pub(super) async fn run(sources: &Sources, flags: &SyncFlags) -> CommandResult {
    let named = flags.endpoints.iter().map(|name| {
        Endpoint::named(name).ok_or_else(|| CliError::Usage(format!("there is no endpoint `{name}`")))
    });
    let named: Vec<&'static Endpoint> = named.collect::<Result<_, _>>()?;
    let (loaded, _log) = prepare(sources)?;
    let mut settings = loaded.settings;
    settings.storage.data_dir = settings.storage.directory()?;
    let app = match App::open(settings, Mode::Live).await {
        Ok(app) => app,
        Err(error) if error.is_in_use() => return running::run(sources, &named, flags.json).await,
        Err(error) => return Err(anyhow::Error::from(error).into()),
    };
    let (Some(mirror), Some(synchroniser)) = (app.mirror().cloned(), app.synchroniser().cloned()) else {
        return Err(CliError::Usage(
            "no account to synchronise by: set mirror.username and mirror.password, or mirror.token"
                .to_owned(),
        ));
    };
    let watching = tokio::spawn(health::watch(app.upstream().clone(), app.settings().clone()));
    // What Alyx is comes first: it says how its tables are understood.
    if !app.fetch_descriptions().await {
        tracing::warn!("the descriptions of the interface could not be fetched; clients ask for them first");
    }
    let errors = {
        let mut cycle = Box::pin(synchroniser.cycle(Cycle::Now(&named)));
        let mut teller = ProgressReporter::new();
        loop {
            let ended = tokio::time::timeout(teller.pause(), &mut cycle).await;
            teller.tell(snapshot(&synchroniser.progress));
            if let Ok(errors) = ended {
                break errors;
            }
        }
    };
    watching.abort();
    let states = mirror.states();
    let lines: Vec<SummaryLine> = synchroniser
        .progress
        .snapshot()
        .into_iter()
        .map(|(endpoint, table)| {
            let state = states.of(endpoint);
            SummaryLine {
                endpoint: endpoint.to_owned(),
                rows: state.map_or(0, |state| state.rows),
                details: state.is_some_and(|state| state.details),
                error: table.error,
            }
        })
        .collect();
    app.close().await;
    report(&lines, flags.json)?;
    failed(errors.len())
}

fn failed(tables: usize) -> CommandResult {
    match tables {
        0 => Ok(()),
        failed => Err(anyhow!("{failed} tables were not synchronised").into()),
    }
}

fn snapshot(progress: &SyncProgress) -> BTreeMap<String, TableProgress> {
    progress.snapshot().into_iter().map(|(endpoint, table)| (endpoint.to_owned(), table)).collect()
}

/// How a table stands in the end.
struct SummaryLine {
    endpoint: String,
    rows: u64,
    details: bool,
    error: Option<String>,
}

fn report(lines: &[SummaryLine], as_json: bool) -> CommandResult {
    if as_json {
        let tables: serde_json::Map<_, _> = lines
            .iter()
            .map(|SummaryLine { endpoint, rows, details, error }| {
                (endpoint.clone(), json!({ "rows": rows, "details": details, "error": error }))
            })
            .collect();
        return print_json(&json!({ "tables": tables }));
    }
    let lines: Vec<String> = lines
        .iter()
        .map(|SummaryLine { endpoint, rows, details, error }| {
            let rest = match error {
                Some(error) => format!("  {error}"),
                None if *details => String::new(),
                None => "  (not all details)".to_owned(),
            };
            format!("{endpoint:<26} {rows:>8} records{rest}")
        })
        .collect();
    print(&lines.join("\n"))
}
