//! Writing and taking in snapshots of what a proxy knows, while it goes on serving.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::runtime::Handle;

use serde::Serialize;

use super::{
    core::Core,
    files::CacheTables,
    floors::Floors,
    snapshot_audit::{self, OrderedFrom},
};
use crate::{
    alyx::Endpoint,
    clock, data_dir,
    progress::Progress,
    settings::Settings,
    snapshot::{
        self, Archive, Contents, Exporting, FileHead, FileSink, ImportBudget, Imported, Importing, KnownKeys,
        Maker, Manifest, Selection, SigningKey, SnapshotError, TrustOptions,
    },
    store::budget::{self, Budget, Leaving, Ticket},
};

/// Is told how far the work has come, from another thread.
pub type ProgressFn = Arc<dyn Fn(Progress<'_>) + Send + Sync>;

/// What an import has done, and whose snapshot it was.
#[derive(Debug, Clone, Serialize)]
pub struct ImportReport {
    /// What came in.
    #[serde(flatten)]
    pub imported: Imported,
    /// Where it came in.
    pub folder: PathBuf,
    /// Who made it.
    pub maker: Maker,
}

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

/// What an export may cost: a whole mirror of millions of records takes some minutes. One that a slow client hangs on to would
/// keep the databases from being tidied.
const EXPORT: Budget = Budget { time: Duration::from_hours(2), steps: u64::MAX };

/// Writes a snapshot called `name` of what was chosen to `path`.
pub(crate) async fn export(
    floors: &Floors,
    name: &str,
    choice: &Selection,
    path: &Path,
    tell: ProgressFn,
    ordered: OrderedFrom,
) -> Result<(Manifest, Contents), SnapshotError> {
    choice.check()?;
    let mirror = match &floors.core.mirror {
        Some(mirror) => Some(mirror.frozen().await?),
        None => None,
    };
    let data_dir = floors.core.settings.load().storage.data_dir.clone();
    let signing = tokio::task::spawn_blocking(move || SigningKey::of(&data_dir)).await;
    let from = Exporting {
        key: signing.map_err(|_| SnapshotError::GivenUp)??,
        answers: floors.core.store.connection().await?,
        seal: floors.core.seal.clone(),
        mirror,
        files: floors.tables.files.carried(),
        upstream: floors.core.upstream.base().to_owned(),
        time_zone: floors.core.settings.load().mirror.time_zone.clone(),
        folder: floors.core.store.folder().to_owned(),
        wanted: wanted(&floors.core),
    };
    // Whoever goes, as a client of `/-/api/export` may, wants it no more.
    let leaving = Leaving(Ticket::new(EXPORT));
    budget::end_with(&from.answers, leaving.0.clone())?;
    if let Some(mirror) = &from.mirror {
        mirror.end_with(leaving.0.clone())?;
    }
    let (name, choice, path) = (name.to_owned(), choice.clone(), path.to_owned());
    let (core, ticket) = (floors.core.clone(), leaving.0.clone());
    let work = move || {
        let exported = snapshot::export(&from, &name, &choice, &path, &*tell)
            .map_err(|error| if ticket.is_over() { SnapshotError::TooLong } else { error });
        let (key, done) = (from.key.public().to_string(), exported.as_ref().map(drop));
        snapshot_audit::exported(&core, &name, &path, &key, done, ordered);
        exported
    };
    tokio::task::spawn_blocking(work).await.map_err(|_| SnapshotError::GivenUp)?
}

/// The tables that are synchronised.
fn wanted(core: &Core) -> Vec<&'static Endpoint> {
    let settings = core.settings.load();
    if core.synchroniser.is_some() { settings.mirror.kept().collect() } else { Vec::new() }
}

/// Checks a snapshot, and takes it in if it is sound and, with this word, of somebody whose snapshots are taken. What is
/// newer here stays.
pub(crate) async fn import(
    floors: &Arc<Floors>,
    path: &Path,
    word: &TrustOptions,
    tell: ProgressFn,
    ordered: OrderedFrom,
) -> Result<ImportReport, SnapshotError> {
    let imported = import_it(floors, path, word, tell, ordered).await;
    let done = imported.as_ref().map(|report| (report.imported.tables.len(), report.imported.answers));
    snapshot_audit::imported(&floors.core, done, ordered);
    imported
}

async fn import_it(
    floors: &Arc<Floors>,
    path: &Path,
    word: &TrustOptions,
    tell: ProgressFn,
    ordered: OrderedFrom,
) -> Result<ImportReport, SnapshotError> {
    let (path, word, teller, core) = (path.to_owned(), word.clone(), tell.clone(), floors.core.clone());
    let opening = move || admitted(&core, &path, &word, &*teller, ordered);
    let opened = tokio::task::spawn_blocking(opening).await;
    let (archive, contents, maker) = opened.map_err(|_| SnapshotError::GivenUp)??;
    tracing::info!(
        checksum = %blake3::Hash::from_bytes(archive.checksum).to_hex(),
        maker = maker.name,
        key = maker.key.map(|key| key.to_string()),
        standing = ?maker.standing,
        "a snapshot is taken in"
    );
    let imported = take_in(floors, archive, contents, tell).await?;
    Ok(ImportReport { imported, maker, folder: floors.core.store.folder().to_owned() })
}

/// A snapshot that may come in, what it holds, and who made it.
fn admitted(
    core: &Core,
    path: &Path,
    word: &TrustOptions,
    tell: snapshot::Tell<'_>,
    ordered: OrderedFrom,
) -> Result<(Archive, Contents, Maker), SnapshotError> {
    let settings = core.settings.load_full();
    let archive = Archive::open(path, tell)?;
    let mut keys = KnownKeys::of(&settings.storage.data_dir, &settings.snapshot.trusted_keys)?;
    let maker = keys.admit(&archive, word)?;
    let contents = snapshot::check(&archive, tell)?;
    import_budget(&settings, core.store.folder()).check(&archive, &contents)?;
    let maker = keys.remember(maker, word, clock::now())?;
    snapshot_audit::admitted(core, &archive, &maker, word, ordered);
    Ok((archive, contents, maker))
}

/// What there is for what a snapshot brings.
fn import_budget(settings: &Settings, folder: &Path) -> ImportBudget {
    ImportBudget {
        max_file: settings.cache.max_file.0,
        max_disk: settings.storage.max_disk.0,
        free: data_dir::disk_space(folder).ok().map(|space| space.free),
    }
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
        Some(synchroniser) => {
            let (pause, interrupted) = synchroniser.pause().await;
            if interrupted {
                tracing::info!(
                    "a snapshot comes in first; then synchronising goes on with what it does not bring"
                );
            }
            Some(pause)
        }
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
