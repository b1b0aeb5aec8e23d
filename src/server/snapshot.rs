//! Writing and taking in snapshots of what a proxy knows, while it goes on serving.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::runtime::Handle;

use super::Proxy;
use crate::snapshot::{
    self, Archive, Choice, Contents, Exporting, FileHead, Imported, Importing, Keeper, Manifest,
    SnapshotError, Step,
};

/// Is told how far the work has come, from another thread.
pub type Teller = Arc<dyn Fn(Step<'_>) + Send + Sync>;

/// Keeps the files of a snapshot for this proxy.
struct Files<'a> {
    proxy: &'a Proxy,
    runtime: Handle,
}

impl Keeper for Files<'_> {
    fn place(&self) -> PathBuf {
        self.proxy.files.place()
    }

    fn keep(&self, head: FileHead, path: PathBuf) -> Result<bool, SnapshotError> {
        Ok(self.runtime.block_on(self.proxy.files.arrive(head, path, &self.proxy.store))?)
    }
}

impl Proxy {
    /// Writes a snapshot called `name` of what was chosen to `path`.
    pub async fn export(
        &self,
        name: &str,
        choice: &Choice,
        path: &Path,
        tell: Teller,
    ) -> Result<(Manifest, Contents), SnapshotError> {
        choice.check()?;
        let mirror = match &self.mirror {
            Some(mirror) => Some(mirror.frozen().await?),
            None => None,
        };
        let from = Exporting {
            answers: self.store.connection().await?,
            mirror,
            files: self.files.carried(),
            upstream: self.upstream.base().to_owned(),
            time_zone: self.settings.load().mirror.time_zone.clone(),
        };
        let (name, choice, path) = (name.to_owned(), choice.clone(), path.to_owned());
        let work = move || snapshot::export(&from, &name, &choice, &path, &*tell);
        tokio::task::spawn_blocking(work).await.map_err(|_| SnapshotError::GivenUp)?
    }

    /// Checks a snapshot, and takes it in if it is sound. What is newer here stays.
    pub async fn import(self: &Arc<Self>, path: &Path, tell: Teller) -> Result<Imported, SnapshotError> {
        let (path, teller) = (path.to_owned(), tell.clone());
        let opening = move || {
            let archive = Archive::open(&path, &*teller)?;
            let contents = snapshot::check(&archive, &*teller)?;
            Ok::<_, SnapshotError>((archive, contents))
        };
        let opened = tokio::task::spawn_blocking(opening).await;
        let (archive, contents) = opened.map_err(|_| SnapshotError::GivenUp)??;
        self.take_in(archive, contents, tell).await
    }

    /// Takes in a snapshot that was found to be sound.
    pub async fn take_in(
        self: &Arc<Self>,
        archive: Archive,
        contents: Contents,
        tell: Teller,
    ) -> Result<Imported, SnapshotError> {
        // No cycle may fill a table that a snapshot brings.
        let pause = match &self.synchroniser {
            Some(synchroniser) => Some(synchroniser.pause().await),
            None => None,
        };
        let (proxy, runtime) = (self.clone(), Handle::current());
        let work = move || {
            let files = Files { proxy: &proxy, runtime: runtime.clone() };
            let into = Importing {
                answers: &proxy.responses,
                mirror: proxy.mirror.clone(),
                files: &files,
                upstream: proxy.upstream.base(),
                runtime,
            };
            snapshot::import(&archive, &contents, &into, &*tell)
        };
        let imported = tokio::task::spawn_blocking(work).await.map_err(|_| SnapshotError::GivenUp)?;
        drop(pause);
        imported
    }
}
