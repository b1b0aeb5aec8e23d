//! `sync`: synchronises the mirror now; a proxy that is running on the data directory does it itself.

mod running;
mod teller;

use std::collections::BTreeMap;

use alyx_proxy::{
    alyx::Endpoint,
    mirror::sync::{Cycle, SyncProgress, TableProgress},
    settings::Sources,
    upstream::health,
};
use anyhow::anyhow;
use serde_json::json;

use super::{
    CliError, CommandResult,
    args::SyncFlags,
    prepare, print, print_json,
    whereabouts::{self, DataHolder, Unused},
};
use teller::ProgressReporter;

pub(super) async fn run(sources: &Sources, flags: &SyncFlags) -> CommandResult {
    let named = flags
        .endpoints
        .iter()
        .map(|name| Endpoint::named(name).ok_or_else(|| CliError::Usage(Endpoint::unknown(name))));
    let named: Vec<&'static Endpoint> = named.collect::<Result<_, _>>()?;
    let (loaded, _log) = prepare(sources)?;
    let app = match whereabouts::open(&loaded, Unused::Begins).await? {
        DataHolder::Here(app) => app,
        DataHolder::Running => return running::run(sources, &named, flags.json).await,
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
    failed(errors.iter().map(|(_, error)| error.to_string()))
}

/// What is wrong is told once where it is the same for all.
fn failed(reasons: impl Iterator<Item = String>) -> CommandResult {
    let reasons: Vec<String> = reasons.collect();
    match reasons.as_slice() {
        [] => Ok(()),
        [first, rest @ ..] if rest.iter().all(|reason| reason == first) => {
            Err(anyhow!("not all was synchronised: {first}").into())
        }
        reasons => Err(anyhow!("{} tables were not synchronised", reasons.len()).into()),
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
