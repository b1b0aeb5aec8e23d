//! The lab's data files: read through from the data server, kept in blocks, and given to everybody whom that server gives them
//! to.
//!
//! A request walks so ([`answer`]): its path is one path for everybody ([`path`]); who asks is none of Alyx's business
//! ([`credentials`]); the data server has said lately, or says now, that whoever asks may have the file and which version it is
//! ([`look`]); its blocks are read from the disk, checked piece by piece ([`block`]), and those that are not here are fetched,
//! once for all who wait for them ([`fetch`]), while they are given ([`stream`]). What can't be kept for certain is passed on:
//! folders, what names no version of itself ([`version`]), and all of it where there is no room ([`room`]).
//!
//! A file that is whole is compared with Alyx's record of its dataset ([`record`], [`judge`]): one that is not what Alyx says is
//! passed on as well, and named.
//!
//! What holds: bytes that are given are of one version, whatever happens meanwhile; a block counts only once it is on the disk
//! and in the index ([`index`]), so that a killed proxy believes in nothing that is half written; memory does not grow with
//! files or readers beyond two pieces for each.

mod answer;
mod block;
mod counts;
mod credentials;
mod fetch;
mod folder;
mod forget;
mod index;
mod judge;
mod judged;
mod listing;
mod look;
mod path;
mod record;
mod room;
mod source;
mod standings;
mod stream;
mod version;

use std::{
    collections::HashMap,
    io,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use arc_swap::ArcSwap;
use axum::body::Body;
use http::Response;
use tokio::sync::Semaphore;

pub(crate) use answer::{DataError, DataRequest, GivenAsOf};
pub(crate) use counts::FilesUsage;
pub(crate) use credentials::DataCredentials;
pub(crate) use index::IndexError;
pub(crate) use judged::DifferingFile;
pub(crate) use listing::KeptSession;
pub(crate) use path::DataPath;
pub(crate) use source::{FileSource, HttpSource};

use block::{Block, BlockError};
use counts::FileCounts;
use fetch::BlockKey;
use folder::BlockFolder;
use index::FileIndex;
use look::{LookKey, LookOutcome};
use room::{DiskRoom, InUse};
use source::SourceRequest;
use standings::DataStandings;
use version::FileVersion;

use crate::{
    clock::SharedClock,
    data_dir,
    mirror::Mirror,
    settings::Settings,
    single_flight::Flights,
    upstream::{Upstream, UpstreamError},
};

/// Blocks that are fetched at once, of all files together.
const DOWNLOADS: usize = 16;

/// The data files of one data server.
#[derive(Debug)]
pub(crate) struct DataFiles {
    source: Box<dyn FileSource>,
    settings: Arc<ArcSwap<Settings>>,
    /// The Alyx of the same proxy: whoever keeps it from that keeps it from the data server, too.
    upstream: Arc<Upstream>,
    /// Where Alyx's records of datasets are; none where nothing is mirrored.
    mirror: Option<Arc<Mirror>>,
    clock: SharedClock,
    index: FileIndex,
    folder: Arc<BlockFolder>,
    room: Arc<DiskRoom>,
    standings: DataStandings,
    counts: FileCounts,
    looks: Flights<LookKey, Result<LookOutcome, UpstreamError>>,
    flights: Flights<BlockKey, Result<Arc<Block>, BlockError>>,
    /// Blocks that are being written.
    under_way: Mutex<HashMap<BlockKey, Arc<Block>>>,
    turns: Arc<Semaphore>,
    /// Until when the data server is not asked, having been out of reach.
    away_until: Mutex<Option<Instant>>,
}

/// A version of a file that is given to somebody.
#[derive(Debug)]
struct ServedFile {
    id: i64,
    path: DataPath,
    version: FileVersion,
    credentials: DataCredentials,
    _in_use: InUse,
}

impl DataFiles {
    /// Opens what is kept of this source's files in the data directory; asks nobody.
    pub(crate) fn open(
        data_dir: &Path,
        source: Box<dyn FileSource>,
        settings: Arc<ArcSwap<Settings>>,
        upstream: Arc<Upstream>,
        mirror: Option<Arc<Mirror>>,
    ) -> io::Result<Arc<Self>> {
        let place = data_dir::data_files_folder(data_dir, source.base());
        data_dir::make_private_below(&place)?;
        let folder = BlockFolder::open(&place)?;
        let index = FileIndex::open(&place)?;
        let known = index.all_blocks().map_err(io::Error::other)?;
        folder.sweep(&known.into_iter().collect())?;
        let usage = index.usage().map_err(io::Error::other)?;
        let counts = FileCounts::default();
        counts.set_differing(index.differing_now().map_err(io::Error::other)?);
        Ok(Arc::new(Self {
            source,
            settings,
            clock: upstream.clock().clone(),
            upstream,
            mirror,
            index,
            folder: Arc::new(folder),
            room: DiskRoom::of(usage),
            standings: DataStandings::default(),
            counts,
            looks: Flights::default(),
            flights: Flights::default(),
            under_way: Mutex::default(),
            turns: Arc::new(Semaphore::new(DOWNLOADS)),
            away_until: Mutex::default(),
        }))
    }

    /// The data server's base URL.
    pub(crate) fn base(&self) -> &str {
        self.source.base()
    }

    /// Whether the data server has given something to these credentials within `access.token_ttl`.
    pub(crate) fn knows(&self, credentials: &DataCredentials) -> bool {
        let ttl = self.settings.load().access.token_ttl.millis();
        self.standings.are_known(credentials, self.clock.now() - ttl)
    }

    /// Asks the data server; where it was out of reach a moment ago, it is not asked.
    async fn ask(&self, request: SourceRequest<'_>) -> Result<Response<Body>, UpstreamError> {
        if self.upstream.health.state().is_on_purpose() {
            return Err(UpstreamError::HeldOffline);
        }
        if self.is_away() {
            return Err(UpstreamError::Offline);
        }
        let asked = self.source.ask(request).await;
        if let Err(failure) = &asked
            && failure.is_unreachable()
        {
            let until = self.clock.instant() + self.settings.load().health.interval.0;
            *self.away_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
            tracing::warn!(reason = failure.name(), "the data server is out of reach: {failure}");
        }
        asked
    }

    fn is_away(&self) -> bool {
        let until = *self.away_until.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| self.clock.instant() < until)
    }
}
