//! Everything that the proxy of one Alyx holds.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::ArcSwap;
use http::StatusCode;

use super::{again::Again, mirrored::Recent, verify::Samples};
use crate::{
    access::{Admin, Credentials, History, Logins, SecretError, SecretKey, Tokens},
    alyx::errors,
    clock::{self, Millis},
    data_dir::{self, LockError},
    mirror::{Mirror, MirrorOpenError, Synchroniser},
    responses::{Key, Responses},
    settings::Settings,
    single_flight::Flights,
    store::{self, Store, StoreError},
    telemetry::{activity::Activity, counters::Counters},
    upstream::{Answer, Upstream, UpstreamError},
};

/// An answer that was too large to be remembered may be smaller the next time.
const LARGE: std::time::Duration = std::time::Duration::from_mins(10);

/// The proxy of one Alyx.
#[derive(Debug)]
pub struct Proxy {
    pub(super) settings: Arc<ArcSwap<Settings>>,
    /// The Alyx behind it.
    pub upstream: Arc<Upstream>,
    pub(super) store: Arc<Store>,
    pub(super) responses: Responses,
    /// Whole tables of Alyx; none where nothing is to be mirrored.
    pub(super) mirror: Option<Arc<Mirror>>,
    /// Keeps the mirror up to date; none where nothing is to be mirrored.
    pub(super) synchroniser: Option<Arc<Synchroniser>>,
    /// What the mirror said lately.
    pub(super) recent: Recent,
    /// Requests that were answered a moment ago.
    pub(super) again: Again,
    /// Some of the questions that it answered, to be put to Alyx too.
    pub(super) samples: Samples,
    pub(super) tokens: Tokens,
    pub(super) logins: Logins,
    /// What each user asked lately.
    pub(super) history: History,
    pub(super) key: SecretKey,
    pub(super) admin: Admin,
    pub(super) flights: Flights<super::read::FlightKey, super::read::Outcome>,
    /// The cache by the standard alone, in place of all that is for Alyx.
    pub(super) standard: Option<Arc<super::standard::Standard>>,
    /// Questions whose answers are too large to be remembered: they are passed on at once.
    pub(super) large: moka::sync::Cache<Key, ()>,
    /// Numbers for flights that nobody may share.
    pub(super) alone: std::sync::atomic::AtomicU64,
    /// Requests under way.
    pub(super) load: Arc<super::load::Load>,
    pub(super) files: super::files::Files,
    pub(super) counters: Counters,
    /// Browsers that are logged in to its pages.
    pub(super) sessions: super::pages::Sessions,
    /// What it has been doing, for pages.
    pub(super) activity: Activity,
    pub(super) started_at: Millis,
    /// Where it listens, once it does: the settings may leave the choice of the port to the system.
    pub(super) bound: std::sync::OnceLock<std::net::SocketAddr>,
    /// The miniature Alyx whose network can be cut, in the demo.
    pub(super) demo: std::sync::OnceLock<Arc<crate::demo::Miniature>>,
    /// The snapshot that is served alone.
    pub(super) frozen: std::sync::OnceLock<super::Frozen>,
    /// Held for as long as the proxy lives: nobody else may use this folder.
    _lock: fs::File,
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
    /// The secret key can't be had.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The database can't be opened.
    #[error(transparent)]
    Store(#[from] store::OpenError),
    /// The database can't be read.
    #[error(transparent)]
    Read(#[from] StoreError),
    /// The mirror can't be opened.
    #[error("the mirror: {0}")]
    Mirror(#[from] MirrorOpenError),
    /// The kept files can't be had.
    #[error("the folder `files`: {0}")]
    Files(#[from] super::files::FilesError),
    /// The account that the mirror is synchronised by can't be had.
    #[error("the account in [mirror]: {0}")]
    Account(#[from] crate::upstream::AccountError),
    /// The upstream can't be asked with these settings.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
}

impl OpenError {
    /// Whether another proxy uses the data directory.
    pub fn is_in_use(&self) -> bool {
        matches!(self, Self::DataDir(LockError::InUse(..)))
    }
}

impl Proxy {
    /// Opens (or makes) the data directory and prepares to answer; asks nobody yet.
    pub async fn open(settings: Settings) -> Result<Arc<Self>, OpenError> {
        let folder = settings.storage.data_dir.clone();
        data_dir::make_private(&folder).map_err(|error| OpenError::Io(folder.clone(), error))?;
        let lock = data_dir::lock(&folder)?;
        let key = SecretKey::of(&folder)?;
        let admin = Admin::of(&folder, &settings.access.admin_token)?;
        let upstream = Upstream::new(&settings)?;
        let of_upstream = data_dir::upstream_folder(&folder, upstream.base());
        let opening = tokio::task::spawn_blocking(move || Store::open(&of_upstream)).await;
        let store =
            Arc::new(opening.map_err(|error| OpenError::Io(folder.clone(), io::Error::other(error)))??);
        let mirror = open_mirror(&store, &folder).await?;
        let memory = settings.storage.memory;
        let settings = Arc::new(ArcSwap::from_pointee(settings));
        let synchroniser = match &mirror {
            Some(mirror) => Synchroniser::new(mirror.clone(), upstream.clone(), &settings)?,
            None => None,
        };
        let responses = Responses::open(store.clone(), upstream.base(), &settings.load_full()).await?;
        let files = super::files::Files::open(&store).await?;
        let proxy = Arc::new(Self {
            tokens: Tokens::load(&store).await?,
            logins: Logins::default(),
            history: History::default(),
            flights: Flights::default(),
            standard: super::standard::Standard::of(&settings.load())?,
            recent: Recent::new(memory.0 / 16),
            again: Again::new(memory.0 / 16),
            mirror,
            samples: Samples::default(),
            synchroniser,
            large: moka::sync::Cache::builder().max_capacity(10_000).time_to_live(LARGE).build(),
            alone: std::sync::atomic::AtomicU64::default(),
            load: Arc::default(),
            counters: Counters::default(),
            sessions: super::pages::Sessions::default(),
            activity: Activity::default(),
            started_at: clock::now(),
            bound: std::sync::OnceLock::new(),
            demo: std::sync::OnceLock::new(),
            frozen: std::sync::OnceLock::new(),
            settings,
            upstream,
            responses,
            files,
            store,
            key,
            admin,
            _lock: lock,
        });
        let weak = Arc::downgrade(&proxy);
        proxy.store.on_renewal(move |connection| {
            if let Some(proxy) = weak.upgrade() {
                proxy.responses.renewed(connection);
                proxy.tokens.renewed(connection);
            }
        });
        Ok(proxy)
    }

    /// Whether it knows Alyx, or nothing but HTTP (`cache.profile`).
    pub fn knows_alyx(&self) -> bool {
        self.standard.is_none()
    }

    /// The settings in effect; they can be exchanged while it runs.
    pub fn settings(&self) -> &Arc<ArcSwap<Settings>> {
        &self.settings
    }

    /// Whole tables of this Alyx.
    pub fn mirror(&self) -> Option<&Arc<Mirror>> {
        self.mirror.as_ref()
    }

    /// What keeps the mirror up to date; none where no account is set.
    pub fn synchroniser(&self) -> Option<&Arc<Synchroniser>> {
        self.synchroniser.as_ref()
    }

    /// Where a damaged database was put.
    pub fn set_aside(&self) -> Option<PathBuf> {
        self.store.set_aside()
    }

    /// Lets `/-/demo/offline` and `/-/demo/online` cut and restore this miniature Alyx's network.
    pub fn attach_demo(&self, miniature: Arc<crate::demo::Miniature>) {
        // A second demo on one proxy makes no sense: the first stays.
        let _ = self.demo.set(miniature);
    }

    /// Writes down what is waiting.
    pub async fn close(&self) {
        self.responses.tidy();
        let (store, mirror) = (self.store.clone(), self.mirror.clone());
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

    /// Learns from an answer of Alyx's what this caller's token is worth.
    pub(super) async fn learn(&self, credentials: &Credentials, answer: &Answer) {
        // Gateways say 200 and nothing.
        if answer.json && !answer.body.is_empty() {
            self.learn_success(credentials, answer.status, answer.asked_at);
        }
        if let Some(token) = credentials.token()
            && errors::is_token_refused(answer.status, &answer.body)
        {
            self.tokens.forget(token, &self.store).await;
        }
    }

    /// A success of Alyx's REST interface, in JSON, says that this caller's token is good: even views that need none
    /// refuse a bad one (ALYX.md 4.1).
    pub(super) fn learn_success(&self, credentials: &Credentials, status: StatusCode, asked_at: Millis) {
        if let Some(token) = credentials.token()
            && status.is_success()
        {
            self.tokens.vouch(token, asked_at, &self.store);
        }
    }
}

async fn open_mirror(store: &Arc<Store>, data_dir: &Path) -> Result<Option<Arc<Mirror>>, OpenError> {
    let store = store.clone();
    let open = move || match Mirror::open(store.folder()) {
        Err(error) if error.may_be_a_full_disk() && store.make_room() => Mirror::open(store.folder()),
        opened => opened,
    };
    let opening = tokio::task::spawn_blocking(open).await;
    Ok(Some(opening.map_err(|error| OpenError::Io(data_dir.to_owned(), io::Error::other(error)))??))
}
