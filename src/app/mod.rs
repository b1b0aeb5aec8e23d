//! The proxy of one Alyx, put together: the core, the floors over it, and its own site.

mod alyx_pages;
mod by_hand;
mod called;
mod data_view;
mod descriptions;
mod gauges;
mod serve;
mod tasks;

pub use by_hand::AppByHand;
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
    clock::{SharedClock, SystemClock},
    data_dir,
    http::hosts::MachineNames,
    mirror::{Mirror, MirrorError, Synchroniser},
    proxy::{
        core::{Core, OpenError},
        floors::Floors,
        in_flight::InFlightLimit,
        mode::{Mode, ServedSnapshot},
        snapshot::{self, ImportReport, ProgressFn},
        snapshot_audit,
    },
    rfc9111::Standard,
    settings::{Settings, difference},
    snapshot::{Archive, Contents, Imported, Maker, Manifest, Selection, SnapshotError, TrustOptions},
    telemetry::audit::{AuditEntry, AuditStream},
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
        Self::open_by(settings, mode, Arc::new(SystemClock)).await
    }

    /// The same by another clock than the computer's.
    pub async fn open_by(
        mut settings: Settings,
        mode: Mode,
        clock: SharedClock,
    ) -> Result<Arc<Self>, OpenError> {
        data_dir::close_to_others();
        let folder = data_dir::take_own(&settings.storage.data_dir)?;
        settings.storage.data_dir.clone_from(&folder);
        let lock = data_dir::lock(&folder)?;
        let key = SecretKey::of(&folder)?;
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

    /// What is likely wrong with its address, where nothing was ever heard of it.
    pub fn likely_mistake(&self) -> Option<String> {
        self.core.likely_mistake()
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
        snapshot::export(&self.floors, name, choice, path, tell, None).await
    }

    /// Checks a snapshot, and takes it in if it is sound and, with this word, of somebody whose snapshots are taken. What is
    /// newer here stays.
    pub async fn import(
        &self,
        path: &Path,
        word: &TrustOptions,
        tell: ProgressFn,
    ) -> Result<ImportReport, SnapshotError> {
        snapshot::import(&self.floors, path, word, tell, None).await
    }

    /// Takes in a snapshot that was found to be sound.
    pub async fn take_in(
        &self,
        archive: Archive,
        contents: Contents,
        maker: &Maker,
        tell: ProgressFn,
    ) -> Result<Imported, SnapshotError> {
        snapshot_audit::admitted(&self.core, &archive, maker, &TrustOptions::default(), None);
        snapshot::take_in(&self.floors, archive, contents, tell).await
    }

    /// What is here is all that there is: that of a snapshot that is served alone, whatever it was narrowed to.
    pub async fn be_the_whole_world(&self) -> Result<(), MirrorError> {
        match self.mirror() {
            Some(mirror) => mirror.be_the_whole_world().await,
            None => Ok(()),
        }
    }

    /// Puts other settings into effect.
    pub fn set_settings(&self, new: Settings) {
        let changed = difference(&self.core.settings.load(), &new).join(",");
        self.core.settings.store(Arc::new(new));
        let entry = AuditEntry::new(AuditStream::Acts, "settings", "done").plain("by", "signal");
        self.core.audit.note(entry.plain("changed", changed));
    }

    /// Writes down what is waiting.
    pub async fn close(&self) {
        self.core.responses.tidy();
        let (store, mirror, core) = (self.core.store.clone(), self.core.mirror.clone(), self.core.clone());
        let closing = tokio::task::spawn_blocking(move || {
            store.close();
            core.audit.close();
            if let Some(mirror) = mirror {
                mirror.close();
            }
        });
        if closing.await.is_err() {
            tracing::error!("the database was not closed properly");
        }
    }
}
