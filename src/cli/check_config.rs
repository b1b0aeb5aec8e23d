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
    let notes: Vec<String> = certificate.chain(unreadable_key(&loaded)).chain(loaded.notes()).collect();
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

/// That the user whose settings file this is, and who runs the proxy by it, can't read the key: root can read all, and so
/// would not notice.
#[cfg(unix)]
fn unreadable_key(loaded: &LoadedSettings) -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    let key = &loaded.settings.server.tls_key;
    let (file, of_key) = (std::fs::metadata(loaded.file.as_ref()?).ok()?, std::fs::metadata(key).ok()?);
    let (user, group) = (file.uid(), file.gid());
    let reads = of_key.uid() == user && of_key.mode() & 0o400 != 0
        || of_key.gid() == group && of_key.mode() & 0o040 != 0;
    let note = || {
        format!(
            "server.tls_key = \"{0}\": the user of the settings file (uid {user}) can't read it: `chown {user} {0}`",
            key.display()
        )
    };
    (user != 0 && !reads).then(note)
}

#[cfg(not(unix))]
fn unreadable_key(_: &LoadedSettings) -> Option<String> {
    None
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
