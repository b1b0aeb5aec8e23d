//! `export`, `import`, `inspect`, `keys`: snapshots of everything that a lab knows.
//!
//! A proxy that is running on the data directory does the work itself; where none is running, these commands do.

mod export;
mod import;
mod inspect;
mod keys;

pub(super) use export::run as export;
pub(super) use import::run as import;
pub(super) use inspect::run as inspect;
pub(super) use keys::run as keys;

use std::sync::Arc;

use alyx_proxy::{
    app::App,
    clock,
    settings::LoadedSettings,
    snapshot::{Contents, Maker, Manifest, Selection},
};
use indicatif::HumanBytes;

use super::{
    CliError,
    args::StatusFlags,
    control::Control,
    whereabouts::{self, DataHolder, Unused},
};

/// The proxy that does the work.
enum Worker {
    /// This program, with the data directory.
    Here(Arc<App>),
    /// One that is running.
    There(Control),
}

impl Worker {
    async fn of(loaded: &LoadedSettings, flags: &StatusFlags, fresh: Unused) -> Result<Self, CliError> {
        if flags.url.is_some() {
            return Ok(Self::There(Control::of(&loaded.settings, flags)?));
        }
        match whereabouts::open(loaded, fresh).await? {
            DataHolder::Here(app) => Ok(Self::Here(app)),
            DataHolder::Running => Ok(Self::There(Control::of(&loaded.settings, flags)?)),
        }
    }
}

/// What a snapshot is and holds, line by line.
fn lines(manifest: &Manifest, contents: &Contents, size: u64, maker: &Maker) -> String {
    let mut lines = vec![
        format!("{:<14}{}", "Name", manifest.name),
        format!("{:<14}{}", "As of", clock::for_people(manifest.as_of)),
        format!("{:<14}{}", "Made", clock::for_people(manifest.created_at)),
        format!("{:<14}{}", "Of", manifest.upstream),
        format!("{:<14}{}", "Holds", what(&manifest.choice)),
        format!("{:<14}{}", "Size", HumanBytes(size)),
        format!("{:<14}alyx-proxy {}", "Written by", manifest.program),
        format!("{:<14}{}", "Signed by", maker.for_people()),
        String::new(),
        format!("{:<26} {:>10} {:>10}", "endpoint", "records", "answers"),
    ];
    let names: std::collections::BTreeSet<_> =
        contents.tables.keys().chain(contents.answers.keys()).collect();
    for name in names {
        let table = contents.tables.get(name);
        let records = table.map_or_else(|| "-".to_owned(), |table| table.records.to_string());
        let answers = contents.answers.get(name).copied().unwrap_or_default();
        let scope: Vec<String> = table
            .map(|table| table.scope.iter().map(|(name, value)| format!("{name}={value}")).collect())
            .unwrap_or_default();
        let scope = if scope.is_empty() { String::new() } else { format!("  only {}", scope.join("&")) };
        lines.push(format!("{name:<26} {records:>10} {answers:>10}{scope}"));
    }
    lines.extend(left_out(contents));
    lines.join("\n")
}

/// What did not go in, and why.
fn left_out(contents: &Contents) -> Vec<String> {
    let mut lines = Vec::new();
    let blanked: u64 = contents.blanked.values().sum();
    for (count, what) in [
        (blanked, "secrets of data repositories were blanked"),
        (contents.for_single_users, "answers are kept apart for single users, and were left out"),
        (contents.of_unknown_form, "answers in an unknown form of JSON were left out"),
        (contents.damaged, "answers are damaged or too large, and were left out"),
    ] {
        if count > 0 {
            lines.push(format!("{count} {what}"));
        }
    }
    lines.extend(contents.remarks.iter().map(|(name, why)| format!("{name}: {why}")));
    lines.extend(contents.left_out.iter().map(|(name, why)| format!("{name} was left out: {why}")));
    if !lines.is_empty() {
        lines.insert(0, String::new());
    }
    lines
}

fn what(choice: &Selection) -> String {
    if choice.is_everything() { "everything that the proxy knew".to_owned() } else { choice.for_people() }
}
