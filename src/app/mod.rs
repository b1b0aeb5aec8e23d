//! The proxy of one Alyx, put together: the core, the floors over it, and its own site.

mod alyx_pages;
mod called;
mod descriptions;
mod gauges;
mod serve;
mod tasks;

pub use tasks::{HttpServer, listen, listen_on};

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::ArcSwap;

use crate::{
    admin::router::AdminSite,
    auth::{self, SecretKey},
    clock::SystemClock,
    data_dir,
    http::hosts::MachineNames,
    mirror::{Mirror, Synchroniser},
    proxy::{
        core::{Core, OpenError},
        floors::Floors,
        in_flight::InFlightLimit,
        mode::{Mode, ServedSnapshot},
        snapshot::{self, ImportReport, ProgressFn},
    },
    rfc9111::Standard,
    settings::Settings,
    snapshot::{Archive, Contents, Imported, Manifest, Selection, SnapshotError, TrustOptions},
    upstream::Upstream,
};

/// Bytes that are free where a folder lies; none where that can't be told.
pub fn free_space(folder: &Path) -> Option<u64> {
    data_dir::disk_space(folder).ok().map(|space| space.free)
}

/// The proxy of one Alyx.
#[derive(Debug)]
pub struct App {
    pub(crate) core: Arc<Core>,
    pub(crate) floors: Arc<Floors>,
    /// The cache by the standard alone, in place of all that is for Alyx.
    pub(crate) standard: Option<Arc<Standard>>,
    /// Requests in flight.
    pub(crate) load: Arc<InFlightLimit>,
    pub(crate) admin: Arc<AdminSite>,
    /// The names of the machine that it runs on.
    machine: MachineNames,
    /// Held for as long as the proxy lives: nobody else may use this folder.
    _lock: fs::File,
}

impl App {
    /// Opens (or makes) the data directory and prepares to answer; asks nobody yet.
    pub async fn open(settings: Settings, mode: Mode) -> Result<Arc<Self>, OpenError> {
        let folder = settings.storage.data_dir.clone();
        data_dir::close_to_others();
        data_dir::make_private(&folder)?;
        let lock = data_dir::lock(&folder)?;
        let key = SecretKey::of(&folder)?;
        let clock = Arc::new(SystemClock);
        let token = auth::AdminToken::of(&folder, &settings.access.admin_token, clock.clone())?;
        let core = Core::open(settings, mode, key, clock).await?;
        let standard = Standard::of(&core)?;
        let floors = Floors::open(core.clone()).await?;
        let load = Arc::<InFlightLimit>::default();
        let admin = Arc::new(AdminSite::new(core.clone(), floors.clone(), load.clone(), token));
        let machine = tokio::task::spawn_blocking(MachineNames::read).await.unwrap_or_default();
        Ok(Arc::new(Self { core, floors, standard, load, admin, machine, _lock: lock }))
    }

    /// Whether it knows Alyx, or nothing but HTTP (`cache.profile`).
    pub fn knows_alyx(&self) -> bool {
        self.standard.is_none()
    }

    /// The settings in effect; they can be exchanged while it runs.
    pub fn settings(&self) -> &Arc<ArcSwap<Settings>> {
        &self.core.settings
    }

    /// The Alyx behind it.
    pub fn upstream(&self) -> &Arc<Upstream> {
        &self.core.upstream
    }

    /// Whole tables of this Alyx.
    pub fn mirror(&self) -> Option<&Arc<Mirror>> {
        self.core.mirror.as_ref()
    }

    /// What keeps the mirror up to date; none where no account is set.
    pub fn synchroniser(&self) -> Option<&Arc<Synchroniser>> {
        self.core.synchroniser.as_ref()
    }

    /// Fetches what clients ask for besides records, if it is not here; whether all of it is here then.
    pub async fn fetch_descriptions(&self) -> bool {
        descriptions::fetch(&self.core).await
    }

    /// The snapshot that is served alone.
    pub fn snapshot(&self) -> Option<&ServedSnapshot> {
        self.core.mode.snapshot()
    }

    /// Where a damaged database was put.
    pub fn set_aside(&self) -> Option<PathBuf> {
        self.core.store.set_aside()
    }

    /// Writes a snapshot called `name` of what was chosen to `path`.
    pub async fn export(
        &self,
        name: &str,
        choice: &Selection,
        path: &Path,
        tell: ProgressFn,
    ) -> Result<(Manifest, Contents), SnapshotError> {
        snapshot::export(&self.floors, name, choice, path, tell).await
    }

    /// Checks a snapshot, and takes it in if it is sound and, with this word, of somebody whose snapshots are taken. What is
    /// newer here stays.
    pub async fn import(
        &self,
        path: &Path,
        word: &TrustOptions,
        tell: ProgressFn,
    ) -> Result<ImportReport, SnapshotError> {
        snapshot::import(&self.floors, path, word, tell).await
    }

    /// Takes in a snapshot that was found to be sound.
    pub async fn take_in(
        &self,
        archive: Archive,
        contents: Contents,
        tell: ProgressFn,
    ) -> Result<Imported, SnapshotError> {
        snapshot::take_in(&self.floors, archive, contents, tell).await
    }

    /// Writes down what is waiting.
    pub async fn close(&self) {
        self.core.responses.tidy();
        let (store, mirror) = (self.core.store.clone(), self.core.mirror.clone());
        let closing = tokio::task::spawn_blocking(move || {
            store.close();
            if let Some(mirror) = mirror {
                mirror.close();
            }
        });
        if closing.await.is_err() {
            tracing::error!("the database was not closed properly");
        }
    }
}
