//! The floors, each with its own state, over the core that they share.

use std::sync::Arc;

use axum::body::Body;
use http::{Method, Response};

use super::{
    Exchange,
    core::{Core, OpenError},
    files::{self, CacheTables},
    from_mirror::FromMirror,
    hot_cache::HotCache,
    login, passthrough,
    read::{self, FromUpstream},
    write,
};
use crate::{
    alyx::{Route, Service, invalidates},
    auth::OfflineLogins,
    http::cache_status::ForwardReason,
};

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
        Ok(Arc::new(Self {
            hot_cache: HotCache::new(core.clone(), memory.0 / 16),
            mirror: Arc::new(FromMirror::new(core.clone(), memory.0 / 16)),
            upstream: FromUpstream::new(),
            tables: Arc::new(CacheTables::open(core.clone()).await?),
            logins: OfflineLogins::default(),
            core,
        }))
    }
}

/// Has the floor answer whose business this request is.
pub(crate) async fn of_alyx(floors: &Arc<Floors>, asked: Exchange, body: Body) -> Response<Body> {
    match (&asked.method, &asked.route) {
        (&Method::POST, Route::Service(Service::AuthToken)) => login::answer(floors, asked, body).await,
        (method, route) if invalidates::is_write(method, route) => {
            write::answer(&floors.core, asked, body).await
        }
        (&Method::GET | &Method::HEAD, Route::Service(Service::CacheZip)) => {
            files::answer(&floors.tables, asked).await
        }
        (&Method::GET | &Method::HEAD, _) => read::answer(floors, asked, body).await,
        _ => passthrough::answer(&floors.core, asked, body, ForwardReason::Method).await,
    }
}
