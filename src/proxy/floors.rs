//! The floors of a read, in order. Each answers, or hands it on; why it does not answer ends up in `Cache-Status`, log
//! and metric.
//!
//! They decide and change nothing: `explain` is a run of the same list that is not carried out.

use std::{sync::Arc, time::Duration};

use axum::body::Body;
use http::{Method, Response};

use super::{
    Exchange,
    core::{Core, OpenError},
    error::ProxyError,
    files::{self, CacheTables},
    from_cache::CachedEntry,
    from_mirror::FromMirror,
    from_upstream::FromUpstream,
    hot_cache::HotCache,
    login, passthrough,
    read::{self, Read},
    write,
};
use crate::{
    alyx::{Route, Service, invalidates},
    auth::OfflineLogins,
    cache::Entry,
    http::cache_status::{BypassReason, ForwardReason, ServedStale},
    upstream::UpstreamError,
};

/// What a floor makes of a read.
#[derive(Debug)]
pub(super) enum Step<A> {
    /// It is answered so.
    Answer(A),
    /// The next floor is asked.
    Next,
}

/// How a read is answered.
#[derive(Debug)]
pub(super) enum Decision {
    /// Here.
    Local(LocalAnswer),
    /// By Alyx, once for all who ask the same; what it says is stored.
    Upstream,
    /// By Alyx, as a stream; nothing of it is stored, for this reason.
    PassThrough(BypassReason),
}

/// An answer that needs no Alyx.
#[derive(Debug)]
pub(super) enum LocalAnswer {
    /// The mirror's; where its tables are not as recent as they should be, for this reason.
    Mirror {
        entry: Arc<Entry>,
        stands_in: Option<ServedStale>,
        /// Whether a table was brought up to date for it.
        caught_up: bool,
    },
    /// A stored one that is fresh for so long yet.
    Fresh { cached: CachedEntry, left: Duration },
    /// A stored one that is not fresh.
    Stale { cached: CachedEntry, reason: ServedStale },
    /// One that the proxy makes.
    Own(Box<Response<Body>>),
    /// A refusal.
    Refuse(ProxyError),
}

impl From<LocalAnswer> for Decision {
    fn from(answer: LocalAnswer) -> Self {
        Self::Local(answer)
    }
}

macro_rules! answer_or_next {
    ($step:expr) => {
        if let Step::Answer(answer) = $step {
            return answer.into();
        }
    };
}

/// Who answers a read. The hot cache has been asked before ([`HotCache`]), and who asks is known
/// (`super::authorize`): the floors of mirror and cache answer only whom Alyx has accepted lately.
pub(super) async fn decide(read: &mut Read<'_>) -> Decision {
    if read.core.upstream.health.is_down() {
        read.look_up().await;
        return decide_without_alyx(read, &UpstreamError::Offline).await.into();
    }
    answer_or_next!(read.no_store()); // wants Alyx's own answer, and none of it kept
    answer_or_next!(read.mirror().await); // tables recent enough, or soon made so, every parameter decidable
    read.look_up().await;
    answer_or_next!(read.other_generation().await); // a later page of a list that has changed since the one before
    answer_or_next!(read.too_large()); // was too large to be stored a moment ago
    answer_or_next!(read.cache()); // stored and fresh, or stale-while-revalidate
    answer_or_next!(read.only_if_cached()); // may not go further
    Decision::Upstream
}

/// Who answers a read that Alyx does not: it is away, or this came of asking it.
pub(super) async fn decide_without_alyx(read: &Read<'_>, failure: &UpstreamError) -> LocalAnswer {
    answer_or_next!(read.redirect()); // Django redirects before it asks who is there
    answer_or_next!(read.unauthorized(failure)); // only Alyx could say what this caller may have
    let miss = match read.stale(failure).await {
        Ok(answer) => return answer, // stored or mirrored, however old where Alyx is away
        Err(miss) => miss,
    };
    answer_or_next!(read.own_description().await); // ONE's cache tables, made here
    LocalAnswer::Refuse(read.not_stored(failure, &miss).await) // what is missing, and how to have it
}

/// The floors, each with its own state.
#[derive(Debug)]
pub(crate) struct Floors {
    pub(crate) core: Arc<Core>,
    pub(crate) hot_cache: HotCache,
    pub(crate) mirror: Arc<FromMirror>,
    pub(crate) upstream: FromUpstream,
    pub(crate) tables: Arc<CacheTables>,
    pub(crate) logins: OfflineLogins,
}

impl Floors {
    /// Builds the floors over a core.
    pub(crate) async fn open(core: Arc<Core>) -> Result<Arc<Self>, OpenError> {
        let memory = core.settings.load().storage.max_memory;
        let mirror = Arc::new(FromMirror::new(core.clone(), memory.0 / 16));
        Ok(Arc::new(Self {
            hot_cache: HotCache::new(core.clone(), mirror.clone(), memory.0 / 16),
            mirror,
            upstream: FromUpstream::new(),
            tables: Arc::new(CacheTables::open(core.clone()).await?),
            logins: OfflineLogins::new(core.clock.clone()),
            core,
        }))
    }
}

/// Has the floor answer whose business this request is.
pub(crate) async fn of_alyx(floors: &Arc<Floors>, exchange: Exchange, body: Body) -> Response<Body> {
    match (&exchange.method, &exchange.route) {
        (&Method::POST, Route::Service(Service::AuthToken)) => login::answer(floors, exchange, body).await,
        (method, route) if invalidates::is_write(method, route) => {
            write::answer(&floors.core, exchange, body).await
        }
        (&Method::GET | &Method::HEAD, Route::Service(Service::CacheZip)) => {
            files::answer(&floors.tables, exchange).await
        }
        (&Method::GET | &Method::HEAD, _) => read::answer(floors, exchange, body).await,
        _ => passthrough::answer(&floors.core, exchange, body, ForwardReason::Method).await,
    }
}
