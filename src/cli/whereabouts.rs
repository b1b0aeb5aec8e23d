//! Where the data are that a command is about: in a directory that nobody uses, or with the proxy that runs.
//!
//! Commands and service have one idea of that, the settings'. Where theirs differ (the service's environment names another
//! directory, another user runs it) a command that went on would work on something empty, and say that all is well.

use std::path::{Path, PathBuf};

use alyx_proxy::{
    app::App,
    data_dir::{self, ListeningNote, upstream_folder},
    proxy::Mode,
    settings::{LoadedSettings, Settings},
};
use anyhow::anyhow;
use http::{HeaderMap, StatusCode};
use std::sync::Arc;

use super::{
    CliError,
    args::reachable,
    client::{self, Target},
};

/// Who has the data.
pub(super) enum DataHolder {
    /// This program: nobody else uses the directory.
    Here(Arc<App>),
    /// The proxy that runs on it.
    Running,
}

/// What a command does where no proxy has ever kept anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unused {
    /// It begins a directory.
    Begins,
    /// It has nothing to work on.
    Fails,
}

/// Opens the directory that the settings name, or finds the proxy that runs on it.
pub(super) async fn open(loaded: &LoadedSettings, fresh: Unused) -> Result<DataHolder, CliError> {
    let mut own = loaded.settings.clone();
    own.storage.data_dir = own.storage.directory()?;
    let folder = own.storage.data_dir.clone();
    if let Some(owner) = data_dir::owner_of_anothers(&folder) {
        if ListeningNote::read(&folder).is_some() {
            return Ok(DataHolder::Running);
        }
        // What root would put into the directory of a service's user, that one would never see.
        if is_root() || folder.join("upstreams").exists() || fresh == Unused::Fails {
            return Err(anothers(&folder, owner, ", and no proxy runs on it"));
        }
    }
    none_elsewhere(loaded, &folder).await?;
    let of_upstream = upstream_folder(&folder, &own.upstream.url);
    if fresh == Unused::Fails && !of_upstream.exists() {
        // `serve --upstream` was told by a flag what the settings don't say: the proxy that runs knows its Alyx.
        if is_locked(&folder) {
            return Ok(DataHolder::Running);
        }
        return Err(anyhow!("{}", nothing(&folder, &own.upstream.url)).into());
    }
    match App::open(own, Mode::Live).await {
        Ok(app) => Ok(DataHolder::Here(app)),
        Err(error) if error.is_in_use() => Ok(DataHolder::Running),
        Err(error) => Err(anyhow::Error::from(error).into()),
    }
}

#[cfg(unix)]
fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Other systems have other means.
#[cfg(not(unix))]
fn is_root() -> bool {
    false
}

/// Refuses to write into a directory of another user, who could not read it then.
pub(super) fn must_be_ours(folder: &Path) -> Result<(), CliError> {
    data_dir::owner_of_anothers(folder).map_or(Ok(()), |owner| Err(anothers(folder, owner, "")))
}

fn anothers(folder: &Path, owner: u32, how: &str) -> CliError {
    let error = anyhow!(
        "{} is the data directory of another user (uid {owner}){how}: run this as that user, for example by \
         `sudo -u '#{owner}' alyx-proxy …`",
        folder.display()
    );
    error.into()
}

/// That there is nothing of an Alyx in a directory, and what there is.
pub(super) fn nothing(folder: &Path, upstream: &str) -> String {
    let others = std::fs::read_dir(folder.join("upstreams")).into_iter().flatten().flatten();
    let mut others: Vec<String> =
        others.map(|other| other.file_name().to_string_lossy().into_owned()).collect();
    others.sort();
    let there = match others.as_slice() {
        [] => "no proxy has kept anything there".to_owned(),
        others => format!("there is {} (`upstream.url` says which Alyx is meant)", others.join(", ")),
    };
    format!(
        "nothing of {upstream} is in {}: {there}. `storage.data_dir` or --data-dir names another directory, --url a proxy that \
         runs",
        folder.display()
    )
}

/// Refuses to work on a directory while the proxy that the settings describe runs on another one. A directory that the
/// command itself names is taken at its word.
pub(super) async fn none_elsewhere(loaded: &LoadedSettings, folder: &Path) -> Result<(), CliError> {
    let origin = loaded.origins.iter().find(|known| known.key == "storage.data_dir");
    let is_meant = origin.is_some_and(|known| known.origin.starts_with("--"));
    if is_meant || ListeningNote::read(folder).is_some() || folder.join("lock").exists() && is_locked(folder)
    {
        return Ok(());
    }
    match running(&loaded.settings).await {
        None => Ok(()),
        Some(url) => Err(anyhow!(
            "a proxy runs at {url}, and keeps its data elsewhere than in {}, where this command would look: name its directory \
             by --data-dir (its log says where it \"Remembers\"), or the proxy by --url, or run this as its user",
            folder.display()
        )
        .into()),
    }
}

fn is_locked(folder: &Path) -> bool {
    let lock: PathBuf = folder.join("lock");
    let file = std::fs::File::open(lock);
    file.is_ok_and(|file| matches!(file.try_lock_shared(), Err(std::fs::TryLockError::WouldBlock)))
}

/// The URL of the proxy that answers where the settings say that it listens.
async fn running(settings: &Settings) -> Option<String> {
    let scheme = if settings.server.has_tls() { "https" } else { "http" };
    let url = format!("{scheme}://{}", reachable(settings.server.listen));
    let certificate = settings.server.has_tls().then(|| settings.server.tls_certificate.clone());
    let place = Target { url: url.clone(), certificate };
    let (status, body) = client::json(&place, "/-/one-setup.json", &HeaderMap::new()).await.ok()?;
    (status == StatusCode::OK && body?["upstream"]["url"] == settings.upstream.url.as_str()).then_some(url)
}
