//! The access log, and how long answers take.

use std::{
    sync::LazyLock,
    time::{Duration, Instant},
};

use axum::body::Body;
use foldhash::HashMap;
use http::{HeaderValue, Method, Response, Uri, header};

use crate::{
    alyx::{ENDPOINTS, Route, Service, query_string, route::classify},
    http::cache_status::CACHE_STATUS,
    log,
};

/// The histograms of answer times, by endpoint.
static DURATIONS: LazyLock<HashMap<&'static str, metrics::Histogram>> = LazyLock::new(|| {
    let services = Service::ALL.iter().map(|service| service.name());
    let names = ENDPOINTS.iter().map(|endpoint| endpoint.name).chain(services).chain(["own", "other"]);
    let histogram = |name| metrics::histogram!("alyx_proxy_request_duration_seconds", "endpoint" => name);
    names.map(|name| (name, histogram(name))).collect()
});

/// Makes the series of all endpoints.
pub(crate) fn register() {
    LazyLock::force(&DURATIONS);
}

/// A request, as the log tells of it.
#[derive(Debug)]
pub(crate) struct Named<'r> {
    pub(crate) method: &'r Method,
    pub(crate) uri: &'r Uri,
    pub(crate) endpoint: &'static str,
    pub(crate) id: Option<&'r HeaderValue>,
    pub(crate) start: Instant,
}

/// The endpoint of a path for logs and metrics: a name that is Alyx's, never the user's text.
pub(crate) fn endpoint(uri: &Uri) -> &'static str {
    let segments = query_string::segments(uri.path());
    match classify(&segments.iter().map(String::as_str).collect::<Vec<_>>()) {
        Route::List(endpoint) | Route::Detail(endpoint, _) => endpoint.name,
        Route::Service(service) => service.name(),
        Route::Other if uri.path().starts_with("/-/") => "own",
        Route::Other => "other",
    }
}

/// A method as the log has it: one that a client has made up may be as long as a head.
fn name_of(method: &Method) -> &str {
    match method.as_str() {
        known @ ("GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS" | "TRACE" | "CONNECT") => {
            known
        }
        _ => "other",
    }
}

/// One line a request. Query values may be anyone's business: they show at `debug` only.
pub(crate) fn log(asked: &Named<'_>, response: &Response<Body>, took: Duration) {
    let Named { method, uri, endpoint, id, .. } = *asked;
    let field =
        |name: &header::HeaderName| response.headers().get(name).and_then(|value| value.to_str().ok());
    if let Some(histogram) = DURATIONS.get(endpoint) {
        histogram.record(took.as_secs_f64());
    }
    tracing::info!(
        target: log::ACCESS,
        method = name_of(method),
        endpoint,
        status = response.status().as_u16(),
        outcome = field(&CACHE_STATUS).unwrap_or_default(),
        age = field(&header::AGE),
        bytes = field(&header::CONTENT_LENGTH),
        ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        id = id.and_then(|id| id.to_str().ok()),
        "request"
    );
    tracing::debug!(target: log::ACCESS, path = %uri.path(), query = uri.query(), "asked");
}
