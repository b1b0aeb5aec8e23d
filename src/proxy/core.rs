//! What all floors share: the rooms below, opened.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::ArcSwap;
use http::StatusCode;

use super::{history::History, list_walks::ListWalks, mode::Mode, together};
use crate::{
    alyx::error_body,
    auth::{Credentials, SecretError, SecretKey, TokenCache, TokenStatus},
    cache::{GivenCopies, ResponseCache, seal_stored},
    clock::{Millis, SharedClock},
    cluster::{Cluster, ClusterOpenError},
    data_dir::{self, LockError, PrivacyError},
    files::{DataFiles, HttpSource},
    mirror::{Mirror, MirrorOpenError, Synchroniser},
    settings::{Profile, Settings, value::Size},
    storage::seal::SecretSeal,
    store::{self, Degradation, Store, StoreError},
    telemetry::{activity::Activity, audit::AuditLog, counters::Counters},
    upstream::{Upstream, UpstreamConfigError, UpstreamResponse},
};

/// What all floors share: the rooms below, opened.
#[derive(Debug)]
pub(crate) struct Core {
    /// The settings in effect; they can be exchanged while it runs.
    pub(crate) settings: Arc<ArcSwap<Settings>>,
    /// The Alyx behind it.
    pub(crate) upstream: Arc<Upstream>,
    /// Where it has the time from.
    pub(crate) clock: SharedClock,
    pub(crate) store: Arc<Store>,
    pub(crate) responses: ResponseCache,
    /// What was given to whom.
    pub(crate) given: Arc<GivenCopies>,
    /// Which page of a list each reader was given last.
    pub(crate) walks: ListWalks,
    /// Whole tables of Alyx; none where nothing is to be mirrored.
    pub(crate) mirror: Option<Arc<Mirror>>,
    /// The other proxies of the same Alyx; none where this is the only one.
    pub(crate) cluster: Option<Arc<Cluster>>,
    /// Keeps the mirror up to date; none where nothing is to be mirrored.
    pub(crate) synchroniser: Option<Arc<Synchroniser>>,
    pub(crate) tokens: TokenCache,
    /// What each user asked lately.
    pub(crate) history: History,
    pub(crate) key: SecretKey,
    /// What seals secrets of Alyx's records on disk.
    pub(crate) seal: Arc<SecretSeal>,
    pub(crate) mode: Mode,
    /// The lab's data files; none where they are not given.
    pub(crate) data_files: Option<Arc<DataFiles>>,
    /// Who did what.
    pub(crate) audit: AuditLog,
    pub(crate) counters: Counters,
    /// What it has been doing, for pages.
    pub(crate) activity: Activity,
}

/// Why the proxy can't start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// I/O error.
    #[error("{0}: {1}")]
    Io(PathBuf, io::Error),
    /// The data directory can't be used.
    #[error(transparent)]
    DataDir(#[from] LockError),
    /// Others than its owner can read or change what lies in it.
    #[error(transparent)]
    Privacy(#[from] PrivacyError),
    /// The secret key can't be had.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The database can't be opened.
    #[error(transparent)]
    Store(#[from] store::StoreOpenError),
    /// The database can't be read.
    #[error(transparent)]
    Read(#[from] StoreError),
    /// The mirror can't be opened.
    #[error("the mirror: {0}")]
    Mirror(#[from] MirrorOpenError),
    /// The kept files can't be had.
    #[error("the folder `files`: {0}")]
    Files(#[from] super::files::FilesError),
    /// The lab's data files can't be had.
    #[error("the folder `data-files`: {0}")]
    DataFiles(io::Error),
    /// The account that the mirror is synchronised by can't be had.
    #[error("the account in [mirror]: {0}")]
    Account(#[from] crate::upstream::AccountError),
    /// The cluster can't be had.
    #[error("[cluster]: {0}")]
    Cluster(#[from] ClusterOpenError),
    /// The upstream can't be asked with these settings.
    #[error(transparent)]
    Upstream(#[from] UpstreamConfigError),
}

impl OpenError {
    /// Whether another proxy uses the data directory.
    pub fn is_in_use(&self) -> bool {
        matches!(self, Self::DataDir(LockError::InUse(..)))
    }
}

impl Core {
    /// What is likely wrong with the address of an Alyx that has never been heard of: nothing of it is here.
    pub(crate) fn likely_mistake(&self) -> Option<String> {
        let has_tables = self.mirror.as_ref().is_some_and(|mirror| mirror.states().iter().next().is_some());
        let is_known = has_tables || self.responses.usage().responses > 0;
        if is_known { None } else { self.upstream.likely_mistake() }
    }

    /// The look into one of the databases that has taken too long, if any; each is told once in the log.
    pub(crate) fn overdue(&self) -> Option<Degradation> {
        self.mirror.as_ref().and_then(|mirror| mirror.overdue()).or_else(|| self.store.overdue())
    }

    /// Opens what the rooms below keep in the data directory, which is locked; asks nobody yet.
    pub(crate) async fn open(
        settings: Settings,
        mode: Mode,
        key: SecretKey,
        clock: SharedClock,
    ) -> Result<Arc<Self>, OpenError> {
        let folder = settings.storage.data_dir.clone();
        let upstream = Upstream::new(&settings, clock.clone())?;
        if mode.snapshot().is_some() {
            upstream.health.freeze();
        }
        let store = open_store(&folder, upstream.base()).await?;
        let mirror = open_mirror(&store, &folder, clock.clone(), settings.storage.max_memory).await?;
        let seal = Arc::new(key.seal());
        let cluster = open_cluster(&settings, &mode, &upstream, &store, &clock).await?;
        seal_secrets(&store, mirror.as_ref(), &seal).await;
        let settings = Arc::new(ArcSwap::from_pointee(settings));
        let audit = AuditLog::start(&folder, settings.clone(), clock.clone(), Box::new(key.hash_names()))
            .map_err(|error| OpenError::Io(folder.clone(), error))?;
        let synchroniser =
            |mirror: &Arc<Mirror>| Synchroniser::new(mirror.clone(), upstream.clone(), &settings);
        let synchroniser = mirror.as_ref().map_or(Ok(None), synchroniser)?;
        let core = Arc::new(Self {
            data_files: open_data_files(&settings, &mode, &folder, &upstream, mirror.as_ref()).await?,
            responses: ResponseCache::open(
                store.clone(),
                upstream.base(),
                &settings.load_full(),
                clock.clone(),
                seal.clone(),
            )
            .await?,
            given: Arc::new(GivenCopies::new(settings.load().cache.given_copies, clock.clone())),
            walks: ListWalks::new(settings.load().cache.given_copies),
            tokens: TokenCache::load(&store, clock.clone()).await?,
            history: History::new(clock.clone()),
            cluster,
            mirror,
            synchroniser,
            audit,
            counters: Counters::default(),
            activity: Activity::default(),
            settings,
            upstream,
            clock,
            store,
            key,
            seal,
            mode,
        });
        let weak = Arc::downgrade(&core);
        core.store.on_database_replaced(move |connection| {
            if let Some(core) = weak.upgrade() {
                core.responses.on_database_replaced(connection);
                core.tokens.on_database_replaced(connection);
            }
        });
        Ok(core)
    }

    /// Learns from an answer of Alyx's what this caller's token is worth.
    pub(crate) async fn learn(&self, credentials: &Credentials, answer: &UpstreamResponse) {
        let Some(token) = credentials.token() else { return };
        // Gateways say 200 and nothing.
        if answer.json && !answer.body.is_empty() && says_accepted(answer) {
            self.tokens.vouch(token, answer.asked_at, &self.store);
        }
        if error_body::is_token_refused(answer.status, &answer.body) {
            let is_news = self.tokens.status(&token, &self.settings.load().access) != TokenStatus::Refused;
            self.tokens.forget(token, &self.store).await;
            if is_news {
                together::refused(self, credentials).await;
            }
        }
    }

    /// A success of Alyx's REST interface, in JSON, says that this caller's token is good: even views that need none
    /// refuse a bad one (ALYX.md 4.1).
    pub(crate) fn learn_success(&self, credentials: &Credentials, status: StatusCode, asked_at: Millis) {
        if let Some(token) = credentials.token()
            && status.is_success()
        {
            self.tokens.vouch(token, asked_at, &self.store);
        }
    }
}

/// Whether Alyx has accepted the token that this was asked with: it looks at that first (ALYX.md 4.1), so its own errors about
/// what was asked (4.3) say it as well as a success does. Gateways' errors have another form.
fn says_accepted(answer: &UpstreamResponse) -> bool {
    let is_own = || memchr::memmem::find(&answer.body, b"\"status_code\"").is_some();
    answer.status.is_success() || matches!(answer.status.as_u16(), 400 | 404 | 500) && is_own()
}

/// Seals secrets that earlier versions have stored in clear. Where that fails they stay as they were, and it is tried again at
/// the next start.
async fn seal_secrets(store: &Arc<Store>, mirror: Option<&Arc<Mirror>>, seal: &Arc<SecretSeal>) {
    let failed = |what: &str, error: &dyn std::fmt::Display| {
        tracing::error!(
            "keys of file stores that {what} holds in clear could not be sealed ({error}); the next start tries again"
        );
    };
    let of_cache = async {
        let (mut connection, seal) = (store.connection().await?, seal.clone());
        let work = move || store::seal_once(&mut connection, |connection| seal_stored(connection, &seal));
        tokio::task::spawn_blocking(work).await.map_err(|_| StoreError::Closed)?.map_err(StoreError::from)
    };
    if let Err(error) = of_cache.await {
        failed("proxy.db", &error);
    }
    if let Some(mirror) = mirror
        && let Err(error) = mirror.seal_with(seal.clone()).await
    {
        failed("mirror.db", &error);
    }
}

async fn open_store(folder: &Path, upstream: &str) -> Result<Arc<Store>, OpenError> {
    let of_upstream = data_dir::upstream_folder(folder, upstream);
    let opening = tokio::task::spawn_blocking(move || Store::open(&of_upstream)).await;
    Ok(Arc::new(opening.map_err(|error| OpenError::Io(folder.to_owned(), io::Error::other(error)))??))
}

/// The other proxies, where the settings name them; a snapshot that is served alone has none, nor a cache for any HTTP server.
async fn open_cluster(
    settings: &Settings,
    mode: &Mode,
    upstream: &Upstream,
    store: &Arc<Store>,
    clock: &SharedClock,
) -> Result<Option<Arc<Cluster>>, ClusterOpenError> {
    if mode.snapshot().is_some() || settings.cache.profile == Profile::Rfc9111 {
        return Ok(None);
    }
    let cluster = Cluster::open(&settings.cluster, upstream.base(), store, clock.clone()).await?;
    if let Some(cluster) = &cluster {
        upstream.pace.share_with(cluster.clone());
    }
    Ok(cluster)
}

async fn open_mirror(
    store: &Arc<Store>,
    data_dir: &Path,
    clock: SharedClock,
    memory: Size,
) -> Result<Option<Arc<Mirror>>, OpenError> {
    let store = store.clone();
    let lists = memory.0 / 16;
    let open = move || match Mirror::open_by(store.folder(), &clock, lists) {
        Err(error) if error.may_be_a_full_disk() && store.make_room() => {
            Mirror::open_by(store.folder(), &clock, lists)
        }
        opened => opened,
    };
    let opening = tokio::task::spawn_blocking(open).await;
    Ok(Some(opening.map_err(|error| OpenError::Io(data_dir.to_owned(), io::Error::other(error)))??))
}

/// Opens the lab's data files, where they are to be given; a snapshot has none.
async fn open_data_files(
    settings: &Arc<ArcSwap<Settings>>,
    mode: &Mode,
    folder: &Path,
    upstream: &Arc<Upstream>,
    mirror: Option<&Arc<Mirror>>,
) -> Result<Option<Arc<DataFiles>>, OpenError> {
    if !settings.load().files.enabled || mode.snapshot().is_some() {
        return Ok(None);
    }
    let source = Box::new(HttpSource::new(settings.clone())?);
    let (folder, settings, upstream) = (folder.to_owned(), settings.clone(), upstream.clone());
    let mirror = mirror.cloned();
    let open = move || DataFiles::open(&folder, source, settings, upstream, mirror);
    let opening = tokio::task::spawn_blocking(open).await;
    opening.map_err(io::Error::other).flatten().map(Some).map_err(OpenError::DataFiles)
}
