//! Cache tables of the proxy's own making: of what is mirrored, where Alyx offers none or can't be asked.
//!
//! They are of all data: none are made of a mirror that holds a part only (`mirror.scope`), as ONE would take what is
//! not in them for what is not in Alyx. They are made when they are asked for, and again when the mirror has gone on
//! and they are older than `freshness.tables`: ONE fetches them anew whenever there are newer ones.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use axum::body::Body;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use super::{CacheTables, CachedFile};
use crate::{
    alyx::{Route, Service, cache_info as place},
    auth::credentials,
    cache::Question,
    clock::Millis,
    http::cache_status::{CacheStatus, ServedStale},
    mirror::Mirror,
    one::cache_tables::{self, Form, TablesError},
    proxy::{
        Exchange,
        authorize::authorize,
        error::{NOTICE, notice_away},
        passthrough::give_unstored,
    },
    settings::Settings,
    single_flight::Flights,
    upstream::UpstreamResponse,
};

/// Tables that were made here.
#[derive(Debug)]
pub(crate) struct Own {
    file: CachedFile,
    /// The text of their description.
    info: bytes::Bytes,
    /// As of when they are.
    as_of: Millis,
}

/// The tables that were made last, and the making of new ones.
#[derive(Debug, Default)]
pub(super) struct Making {
    made: RwLock<Option<Arc<Own>>>,
    under_way: Flights<(), Option<Arc<Own>>>,
}

impl Making {
    fn made(&self) -> Option<Arc<Own>> {
        self.made.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts new ones in the place of the old, which are given back.
    fn replace(&self, own: Arc<Own>) -> Option<Arc<Own>> {
        self.made.write().unwrap_or_else(PoisonError::into_inner).replace(own)
    }
}

/// Whether Alyx says so that it has no tables: its view fails where the file is not there (ALYX.md 5).
pub(crate) fn offers_none(status: StatusCode) -> bool {
    matches!(status, StatusCode::NOT_FOUND | StatusCode::INTERNAL_SERVER_ERROR)
}

/// Whether this asks for the description of the tables of all data.
pub(crate) fn describes_all(question: &Question) -> bool {
    matches!(question.route, Route::Service(Service::CacheInfo)) && question.path == place::info_path("")
}

impl CacheTables {
    /// The tables themselves, of what is mirrored; `None` where they can't be made.
    pub(super) async fn give_own_tables(
        self: &Arc<Self>,
        asked: &Exchange,
        reason: Option<ServedStale>,
    ) -> Option<Response<Body>> {
        self.shows_records_to(asked).then_some(())?;
        let own = self.own_tables(&asked.settings).await?;
        Some(own.file.give(asked, self.core.clock.now(), mirrored(reason), self.why(reason)).await)
    }

    /// Whoever gets tables gets all sessions: nobody else than who may read what is mirrored.
    fn shows_records_to(&self, asked: &Exchange) -> bool {
        authorize(&self.core, &credentials(&asked.headers, &self.core.key), asked).sees_stored()
    }

    /// Their description; `None` where they can't be made.
    pub(crate) async fn give_own_description(
        self: &Arc<Self>,
        asked: &Exchange,
        reason: Option<ServedStale>,
    ) -> Option<Response<Body>> {
        self.shows_records_to(asked).then_some(())?;
        let own = self.own_tables(&asked.settings).await?;
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let age = u64::try_from((self.core.clock.now() - own.as_of) / 1000).unwrap_or(0);
        headers.insert(header::AGE, HeaderValue::from(age));
        if let Some(notice) = self.why(reason) {
            headers.insert(NOTICE, notice);
        }
        let answer = UpstreamResponse {
            status: StatusCode::OK,
            headers,
            body: own.info.clone(),
            json: true,
            asked_at: own.as_of,
            received_at: own.as_of,
        };
        Some(give_unstored(&self.core, asked, &answer, mirrored(reason)))
    }

    fn why(&self, reason: Option<ServedStale>) -> Option<HeaderValue> {
        reason.and_then(|_| notice_away(&self.core))
    }

    /// Tables that are recent enough: those that were made last, or new ones. Whoever asks waits no longer than for
    /// Alyx itself, and has the old ones then; the making goes on, and the next one finds the new.
    async fn own_tables(self: &Arc<Self>, settings: &Settings) -> Option<Arc<Own>> {
        let as_of = self.as_of(settings)?;
        let made = self.own.made();
        if let Some(own) = &made {
            let age = Duration::from_millis(u64::try_from(as_of - own.as_of).unwrap_or(0));
            if age <= settings.freshness.tables.0 {
                return made;
            }
        }
        let tables = self.clone();
        let seat = self.own.under_way.join((), || async move { tables.make().await });
        let new = tokio::time::timeout(settings.upstream.timeout.0, seat.outcome()).await;
        new.ok().flatten().flatten().or(made)
    }

    /// As of when tables would be that are made now; `None` where none can be.
    fn as_of(&self, settings: &Settings) -> Option<Millis> {
        let states = self.core.mirror.as_ref()?.states();
        let usable = |name: &&str| {
            let state = states.of(name)?;
            let apart = settings.access.keeps_apart(&format!("/{name}"));
            (state.scope.is_empty() && !apart).then_some(state.synced_at)
        };
        cache_tables::NEEDED.iter().map(usable).try_fold(Millis::MAX, |oldest, at| Some(oldest.min(at?)))
    }

    async fn make(self: Arc<Self>) -> Option<Arc<Own>> {
        let mirror = self.core.mirror.as_ref()?;
        match self.make_of(mirror).await {
            Ok(own) => {
                let own = Arc::new(own);
                let before = self.own.replace(own.clone());
                // Whoever reads the old one has it open; others don't find it any more.
                if let Some(before) = before
                    && let Err(error) = tokio::fs::remove_file(&before.file.path).await
                {
                    tracing::warn!(%error, "old cache tables were not removed");
                }
                Some(own)
            }
            Err(error) => {
                tracing::error!(%error, "cache tables can't be made of what is mirrored");
                None
            }
        }
    }

    async fn make_of(&self, mirror: &Mirror) -> anyhow::Result<Own> {
        let frozen = mirror.frozen().await?;
        let name = uuid::Uuid::new_v4().simple().to_string();
        let path = self.files.folder.join(&name);
        let (origin, to) = (cache_tables::origin_of(self.core.upstream.base()).to_owned(), path.clone());
        let writing = move || {
            let as_of = cache_tables::as_of(&frozen)?;
            let info = cache_tables::write(&frozen, &origin, &to, Form::Zip, &|_| ())?;
            let length = std::fs::metadata(&to).map_err(|error| TablesError::Io(to.clone(), error))?.len();
            Ok::<_, TablesError>((as_of, info, length))
        };
        let (as_of, info, length) = tokio::task::spawn_blocking(writing).await??;
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/zip"));
        let disposition = HeaderValue::from_static("inline; filename=\"cache.zip\"");
        headers.insert(header::CONTENT_DISPOSITION, disposition);
        let file =
            CachedFile { name, path, headers, length, info: None, asked_at: as_of, received_at: as_of };
        tracing::info!(
            sessions = info.tables.sessions.nrecs,
            datasets = info.tables.datasets.nrecs,
            bytes = length,
            "made cache tables of what is mirrored"
        );
        Ok(Own { file, info: serde_json::to_vec(&info)?.into(), as_of })
    }
}

fn mirrored(reason: Option<ServedStale>) -> CacheStatus {
    CacheStatus::Mirror { reason, as_synchronised: false, caught_up: false }
}
