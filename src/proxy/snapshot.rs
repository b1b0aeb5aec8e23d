//! Writing and taking in snapshots of what a proxy knows, while it goes on serving.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::runtime::Handle;

use super::{files::CacheTables, floors::Floors};
use crate::progress::Progress;
use crate::snapshot::{
    self, Archive, Contents, Exporting, FileHead, FileSink, Imported, Importing, Manifest, Selection,
    SnapshotError,
};

/// Is told how far the work has come, from another thread.
pub type ProgressFn = Arc<dyn Fn(Progress<'_>) + Send + Sync>;

/// Keeps the files of a snapshot for this proxy.
struct SnapshotFiles<'a> {
    tables: &'a CacheTables,
    runtime: Handle,
}

impl FileSink for SnapshotFiles<'_> {
    fn place(&self) -> PathBuf {
        self.tables.files.place()
    }

    fn keep(&self, head: FileHead, path: PathBuf) -> Result<bool, SnapshotError> {
        Ok(self.runtime.block_on(self.tables.files.arrive(head, path, &self.tables.core.store))?)
    }
}

/// Writes a snapshot called `name` of what was chosen to `path`.
pub(crate) async fn export(
    floors: &Floors,
    name: &str,
    choice: &Selection,
    path: &Path,
    tell: ProgressFn,
) -> Result<(Manifest, Contents), SnapshotError> {
    choice.check()?;
    let mirror = match &floors.core.mirror {
        Some(mirror) => Some(mirror.frozen().await?),
        None => None,
    };
    let from = Exporting {
        answers: floors.core.store.connection().await?,
        seal: floors.core.seal.clone(),
        mirror,
        files: floors.tables.files.carried(),
        upstream: floors.core.upstream.base().to_owned(),
        time_zone: floors.core.settings.load().mirror.time_zone.clone(),
    };
    let (name, choice, path) = (name.to_owned(), choice.clone(), path.to_owned());
    let work = move || snapshot::export(&from, &name, &choice, &path, &*tell);
    tokio::task::spawn_blocking(work).await.map_err(|_| SnapshotError::GivenUp)?
}

/// Checks a snapshot, and takes it in if it is sound. What is newer here stays.
pub(crate) async fn import(
    floors: &Arc<Floors>,
    path: &Path,
    tell: ProgressFn,
) -> Result<Imported, SnapshotError> {
    let (path, teller) = (path.to_owned(), tell.clone());
    let opening = move || {
        let archive = Archive::open(&path, &*teller)?;
        let contents = snapshot::check(&archive, &*teller)?;
        Ok::<_, SnapshotError>((archive, contents))
    };
    let opened = tokio::task::spawn_blocking(opening).await;
    let (archive, contents) = opened.map_err(|_| SnapshotError::GivenUp)??;
    take_in(floors, archive, contents, tell).await
}

/// Takes in a snapshot that was found to be sound.
pub(crate) async fn take_in(
    floors: &Arc<Floors>,
    archive: Archive,
    contents: Contents,
    tell: ProgressFn,
) -> Result<Imported, SnapshotError> {
    // No cycle may fill a table that a snapshot brings.
    let pause = match &floors.core.synchroniser {
        Some(synchroniser) => Some(synchroniser.pause().await),
        None => None,
    };
    let (floors, runtime) = (floors.clone(), Handle::current());
    let work = move || {
        let core = &floors.core;
        let files = SnapshotFiles { tables: &floors.tables, runtime: runtime.clone() };
        let into = Importing {
            answers: &core.responses,
            mirror: core.mirror.clone(),
            files: &files,
            upstream: core.upstream.base(),
            runtime,
        };
        snapshot::import(&archive, &contents, &into, &*tell)
    };
    let imported = tokio::task::spawn_blocking(work).await.map_err(|_| SnapshotError::GivenUp)?;
    drop(pause);
    imported
}
