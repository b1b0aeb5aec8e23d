//! `sync`: synchronises the mirror now, while no proxy is running on its data directory.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use alyx_proxy::{
    alyx::Endpoint,
    mirror::{
        Mirror, Synchroniser,
        sync::{Cycle, TableProgress},
    },
    server::{OpenError, Proxy},
    settings::Sources,
    upstream::health,
};
use anyhow::anyhow;
use serde_json::json;

use super::{Failure, Outcome, args::SyncFlags, prepare, print, print_json};

/// Time between two looks at how far it is.
const LOOK: Duration = Duration::from_secs(2);

pub(super) async fn run(sources: &Sources, flags: &SyncFlags) -> Outcome {
    let named = flags.endpoints.iter().map(|name| {
        Endpoint::named(name).ok_or_else(|| Failure::Usage(format!("there is no endpoint `{name}`")))
    });
    let named: Vec<&'static Endpoint> = named.collect::<Result<_, _>>()?;
    let (loaded, _log) = prepare(sources)?;
    let mut settings = loaded.settings;
    settings.storage.data_dir = settings.storage.directory()?;
    let proxy = match Proxy::open(settings).await {
        Ok(proxy) => proxy,
        Err(error @ OpenError::InUse(..)) => {
            return print(&format!("The proxy that is running synchronises by itself ({error})."));
        }
        Err(error) => return Err(anyhow::Error::from(error).into()),
    };
    let (Some(mirror), Some(synchroniser)) = (proxy.mirror().cloned(), proxy.synchroniser().cloned()) else {
        return Err(Failure::Usage(
            "no account to synchronise by: set mirror.username and mirror.password, or mirror.token"
                .to_owned(),
        ));
    };
    let watching = tokio::spawn(health::watch(proxy.upstream.clone(), proxy.settings().clone()));
    let errors = {
        let cycle = synchroniser.cycle(Cycle::Now(&named));
        tokio::pin!(cycle);
        let mut told = BTreeMap::new();
        loop {
            if let Ok(errors) = tokio::time::timeout(LOOK, &mut cycle).await {
                break errors;
            }
            tell(&synchroniser, &mut told);
        }
    };
    watching.abort();
    let result = summary(&mirror, &synchroniser, flags.json);
    proxy.close().await;
    result?;
    match errors.len() {
        0 => Ok(()),
        failed => Err(anyhow!("{failed} tables were not synchronised").into()),
    }
}

/// A line on the standard error output for each table that has moved on.
fn tell(synchroniser: &Arc<Synchroniser>, told: &mut BTreeMap<&'static str, TableProgress>) {
    for (endpoint, table) in synchroniser.progress.snapshot() {
        let moving = !matches!(table.phase, "done" | "waiting");
        if moving && told.get(endpoint) != Some(&table) {
            let TableProgress { phase, rows, total, details, .. } = &table;
            let rate = table.rate();
            let left = total.saturating_sub(*rows.max(details)).checked_div(rate).unwrap_or_default();
            let details = if *details > 0 { format!(", {details} details") } else { String::new() };
            eprintln!(
                "{endpoint:<26} {phase:<8} {rows} of {total} records{details}, {rate} a second, {left} s left"
            );
        }
        told.insert(endpoint, table);
    }
}

fn summary(mirror: &Mirror, synchroniser: &Synchroniser, as_json: bool) -> Outcome {
    let states = mirror.states();
    let lines = synchroniser.progress.snapshot().into_iter().map(|(endpoint, table)| {
        let state = states.of(endpoint);
        (endpoint, state.map_or(0, |state| state.rows), state.is_some_and(|state| state.details), table.error)
    });
    if as_json {
        let tables: serde_json::Map<_, _> = lines
            .map(|(endpoint, rows, details, error)| {
                (endpoint.to_owned(), json!({ "rows": rows, "details": details, "error": error }))
            })
            .collect();
        return print_json(&json!({ "tables": tables }));
    }
    let lines: Vec<String> = lines
        .map(|(endpoint, rows, details, error)| {
            let rest = match error {
                Some(error) => format!("  {error}"),
                None if details => String::new(),
                None => "  (not all details)".to_owned(),
            };
            format!("{endpoint:<26} {rows:>8} records{rest}")
        })
        .collect();
    print(&lines.join("\n"))
}
