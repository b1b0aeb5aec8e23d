//! Where files come from.

use std::{fmt, sync::Arc};

use arc_swap::ArcSwap;
use axum::body::Body;
use futures_util::future::BoxFuture;
use http::{HeaderMap, Method, Response};

use super::path::DataPath;
use crate::{
    settings::Settings,
    upstream::{FileServer, UpstreamConfigError, UpstreamError},
};

/// A read of a file, or of what is told of it.
#[derive(Debug)]
pub(crate) struct SourceRequest<'p> {
    pub(crate) method: Method,
    pub(crate) path: &'p DataPath,
    pub(crate) query: Option<&'p str>,
    /// The caller's credentials, ranges and conditions; no others are sent.
    pub(crate) fields: HeaderMap,
}

/// A place that files come from: it speaks HTTP's own words of ranges, validators and refusals.
pub(crate) trait FileSource: fmt::Debug + Send + Sync {
    /// What it is called: a base URL.
    fn base(&self) -> &str;

    /// Asks it; the body of its answer streams.
    fn ask<'s>(&'s self, request: SourceRequest<'s>) -> BoxFuture<'s, Result<Response<Body>, UpstreamError>>;
}

/// The lab's HTTP server of data.
#[derive(Debug)]
pub(crate) struct HttpSource {
    server: FileServer,
    settings: Arc<ArcSwap<Settings>>,
}

impl HttpSource {
    /// The one that the settings name; asks nothing yet.
    pub(crate) fn new(settings: Arc<ArcSwap<Settings>>) -> Result<Self, UpstreamConfigError> {
        let server = {
            let settings = settings.load();
            FileServer::new(&settings.files.origin, &settings.upstream)?
        };
        Ok(Self { server, settings })
    }
}

impl FileSource for HttpSource {
    fn base(&self) -> &str {
        self.server.base()
    }

    fn ask<'s>(&'s self, request: SourceRequest<'s>) -> BoxFuture<'s, Result<Response<Body>, UpstreamError>> {
        let target = match request.query {
            Some(query) => format!("{}?{query}", request.path.as_str()),
            None => request.path.as_str().to_owned(),
        };
        let timeout = self.settings.load().upstream.timeout.0;
        Box::pin(async move { self.server.ask(request.method, &target, request.fields, timeout).await })
    }
}
