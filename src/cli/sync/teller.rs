//! How far synchronising is, for people who wait for it.

use std::{collections::BTreeMap, io::IsTerminal, time::Duration};

use alyx_proxy::{clock, mirror::sync::TableProgress};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// Tells on the standard error output how far it is: bars on a terminal, lines elsewhere.
pub(super) struct ProgressReporter {
    bars: Option<MultiProgress>,
    known: BTreeMap<String, (TableProgress, Option<ProgressBar>)>,
}

impl ProgressReporter {
    pub(super) fn new() -> Self {
        let bars = std::io::stderr().is_terminal().then(MultiProgress::new);
        Self { bars, known: BTreeMap::new() }
    }

    /// Time between two looks.
    pub(super) fn pause(&self) -> Duration {
        if self.bars.is_some() { Duration::from_millis(100) } else { Duration::from_secs(2) }
    }

    pub(super) fn tell(&mut self, tables: BTreeMap<String, TableProgress>) {
        for (endpoint, table) in tables {
            let moving = !matches!(table.phase.as_ref(), "done" | "waiting");
            let before = self.known.remove(&endpoint);
            let changed = before.as_ref().is_none_or(|(before, _)| *before != table);
            let mut bar = before.and_then(|(_, bar)| bar);
            match &self.bars {
                Some(bars) if moving => {
                    let bar = bar.get_or_insert_with(|| bars.add(new_bar(endpoint.clone())));
                    bar.set_length(table.total);
                    // Details come after all records, one for each.
                    bar.set_position(table.here());
                    bar.set_message(table.phase.clone());
                }
                Some(_) => {
                    if let Some(bar) = bar.take() {
                        bar.finish_and_clear();
                    }
                }
                None if moving && changed => eprintln!("{}", line(&endpoint, &table)),
                None => {}
            }
            self.known.insert(endpoint, (table, bar));
        }
    }
}

fn new_bar(endpoint: String) -> ProgressBar {
    let form = "{prefix:<26} {msg:<8} {bar:30} {pos}/{len} {per_sec}, {eta} left";
    let style = ProgressStyle::with_template(form).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(0).with_style(style).with_prefix(endpoint)
}

fn line(endpoint: &str, table: &TableProgress) -> String {
    format!("{endpoint:<26} {:<8} {}", table.phase, table.for_people(clock::now()))
}
