//! `sync`: synchronises the mirror now, while no proxy is running on its data directory.

use std::{collections::BTreeMap, io::IsTerminal, time::Duration};

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
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::json;

use super::{Failure, Outcome, args::SyncFlags, prepare, print, print_json};

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
        let mut teller = Teller::new();
        loop {
            let ended = tokio::time::timeout(teller.pause(), &mut cycle).await;
            teller.tell(&synchroniser);
            if let Ok(errors) = ended {
                break errors;
            }
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

/// Tells on the standard error output how far it is: bars on a terminal, lines elsewhere.
struct Teller {
    bars: Option<MultiProgress>,
    known: BTreeMap<&'static str, (TableProgress, Option<ProgressBar>)>,
}

impl Teller {
    fn new() -> Self {
        let bars = std::io::stderr().is_terminal().then(MultiProgress::new);
        Self { bars, known: BTreeMap::new() }
    }

    /// Time between two looks.
    fn pause(&self) -> Duration {
        if self.bars.is_some() { Duration::from_millis(100) } else { Duration::from_secs(2) }
    }

    fn tell(&mut self, synchroniser: &Synchroniser) {
        for (endpoint, table) in synchroniser.progress.snapshot() {
            let moving = !matches!(table.phase, "done" | "waiting");
            let before = self.known.remove(endpoint);
            let changed = before.as_ref().is_none_or(|(before, _)| *before != table);
            let mut bar = before.and_then(|(_, bar)| bar);
            match &self.bars {
                Some(bars) if moving => {
                    let bar = bar.get_or_insert_with(|| bars.add(new_bar(endpoint)));
                    bar.set_length(table.total);
                    // Details come after all records, one for each.
                    bar.set_position(if table.details > 0 { table.details } else { table.rows });
                    bar.set_message(table.phase);
                }
                Some(_) => {
                    if let Some(bar) = bar.take() {
                        bar.finish_and_clear();
                    }
                }
                None if moving && changed => eprintln!("{}", line(endpoint, &table)),
                None => {}
            }
            self.known.insert(endpoint, (table, bar));
        }
    }
}

fn new_bar(endpoint: &'static str) -> ProgressBar {
    let form = "{prefix:<26} {msg:<8} {bar:30} {pos}/{len} {per_sec}, {eta} left";
    let style = ProgressStyle::with_template(form).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(0).with_style(style).with_prefix(endpoint)
}

fn line(endpoint: &str, table: &TableProgress) -> String {
    let TableProgress { phase, rows, total, details, .. } = table;
    let rate = table.rate();
    let left = total.saturating_sub(*rows.max(details)).checked_div(rate).unwrap_or_default();
    let details = if *details > 0 { format!(", {details} details") } else { String::new() };
    format!("{endpoint:<26} {phase:<8} {rows} of {total} records{details}, {rate} a second, {left} s left")
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
