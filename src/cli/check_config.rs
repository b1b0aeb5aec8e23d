//! `check-config`: the settings in effect and where each of them comes from, without secrets.

use alyx_proxy::{
    server,
    settings::{Effective, LoadedSettings, Sources, load},
};
use serde_json::json;

use super::{CommandResult, print, print_json};

pub(super) fn run(sources: &Sources, as_json: bool) -> CommandResult {
    let loaded = load(sources)?;
    let directory = loaded.settings.storage.directory()?;
    let certificate = server::check_certificate(&loaded.settings.server).map_err(anyhow::Error::from)?;
    let certificate = certificate.into_iter().map(|remark| format!("the certificate: {remark}"));
    let notes: Vec<String> = certificate.chain(loaded.notes()).collect();
    if as_json {
        return print_json(&json!({
            "file": loaded.file,
            "data_directory": directory,
            "settings": loaded.origins,
            "notes": notes,
        }));
    }
    let file = match &loaded.file {
        Some(path) => path.display().to_string(),
        None => "none".to_owned(),
    };
    let notes = notes.into_iter().fold(String::new(), |told, note| told + "\nnote:           " + &note);
    let (table, directory) = (table(&loaded), directory.display());
    print(&format!("{table}\n\nsettings file:  {file}\ndata directory: {directory}{notes}"))
}

fn table(loaded: &LoadedSettings) -> String {
    let rows: Vec<[String; 3]> = loaded.origins.iter().map(row).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let (key, value) = (width(0), width(1));
    let line = |row: &[String; 3]| format!("{:key$}  {:value$}  {}", row[0], row[1], row[2]);
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn row(effective: &Effective) -> [String; 3] {
    [effective.key.clone(), effective.value.to_string(), effective.origin.clone()]
}
