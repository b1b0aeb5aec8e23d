//! How an answer came about: one word for it, the same in header, log and metric (RFC 9211).

use std::{
    collections::HashMap,
    fmt::Write,
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::body::Body;
use http::{HeaderValue, Response, Uri, header};

use super::Named;

use crate::{
    alyx::{ENDPOINTS, Route, Service, query, route::classify},
    log,
    responses::{Place, Staleness},
};

/// RFC 9211's field.
pub(super) const CACHE_STATUS: header::HeaderName = header::HeaderName::from_static("cache-status");

/// Why a request went to Alyx (RFC 9211 2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Forward {
    /// Nothing is stored for it.
    UriMiss,
    /// Nothing is stored for it, and the mirror can't answer it.
    Silent(&'static str),
    /// What is stored is not fresh.
    Stale(Staleness),
    /// Its token is to be judged by Alyx.
    Token,
    /// It is not of the kind that is remembered.
    Bypass(&'static str),
    /// Its method is none that can be answered here.
    Method,
}

/// Why a stored answer that is not fresh was given all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StandIn {
    /// It is being refreshed behind the scenes.
    WhileRevalidating,
    /// Alyx is slow.
    Slow,
    /// Alyx is away, or asked for a pause.
    Offline,
}

/// How an answer came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// From here, fresh.
    Hit(Place, Duration),
    /// From here, not fresh.
    StandIn {
        reason: StandIn,
        place: Place,
        /// Seconds that it would be fresh yet; negative where its time is over.
        ttl: i64,
    },
    /// From the mirror's tables; for a reason where they are not as recent as they should be. Fields that
    /// change with the time of day are as they were when the tables were synchronised.
    Mirror { reason: Option<StandIn>, as_synchronised: bool },
    /// From Alyx.
    Forwarded { why: Forward, status: u16, stored: bool, collapsed: bool },
    /// Refused here.
    Refused(&'static str),
    /// One of the proxy's own pages.
    Own,
}

impl How {
    /// The value of `Cache-Status`.
    pub(super) fn header(self) -> HeaderValue {
        let mut value = String::from("alyx-proxy");
        // Writing to a String can't fail.
        let _ = match self {
            Self::Hit(place, left) => write!(value, "; hit; ttl={}; detail={}", left.as_secs(), place.name()),
            Self::StandIn { reason, place, ttl } => {
                write!(value, "; hit; ttl={ttl}; detail=\"{}, {}\"", reason.name(), place.name())
            }
            Self::Mirror { reason: None, as_synchronised: false } => write!(value, "; hit; detail=mirror"),
            Self::Mirror { reason, as_synchronised } => {
                let reason = reason.map(|reason| format!(", {}", reason.name())).unwrap_or_default();
                let fields = if as_synchronised { ", as-synchronised" } else { "" };
                write!(value, "; hit; detail=\"mirror{reason}{fields}\"")
            }
            Self::Forwarded { why, status, stored, collapsed } => {
                let _ = write!(value, "; fwd={}; fwd-status={status}", why.token());
                if stored {
                    value.push_str("; stored");
                }
                if collapsed {
                    value.push_str("; collapsed");
                }
                why.detail().map_or(Ok(()), |detail| write!(value, "; detail={detail}"))
            }
            Self::Refused(reason) => write!(value, "; detail={reason}"),
            Self::Own => write!(value, "; detail=own"),
        };
        // Made of names and numbers alone.
        HeaderValue::try_from(value).unwrap_or_else(|_| HeaderValue::from_static("alyx-proxy"))
    }

    /// Says so in a response, to its reader and to the proxy's own records.
    pub(super) fn mark(self, response: &mut Response<Body>) {
        response.headers_mut().insert(CACHE_STATUS, self.header());
        response.extensions_mut().insert(self);
    }

    /// Its name in logs and metrics.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Hit(place, _) => place.name(),
            Self::StandIn { .. } => "stale",
            Self::Mirror { .. } => "mirror",
            Self::Forwarded { collapsed: true, .. } => "collapsed",
            Self::Forwarded { .. } => "upstream",
            Self::Refused(_) => "refused",
            Self::Own => "own",
        }
    }
}

impl StandIn {
    fn name(self) -> &'static str {
        match self {
            Self::WhileRevalidating => "stale-while-revalidate",
            Self::Slow => "slow-upstream",
            Self::Offline => "offline",
        }
    }
}

impl Forward {
    fn token(self) -> &'static str {
        match self {
            Self::UriMiss | Self::Silent(_) => "uri-miss",
            Self::Stale(Staleness::Request) => "request",
            Self::Stale(_) => "stale",
            Self::Token => "miss",
            Self::Bypass(_) => "bypass",
            Self::Method => "method",
        }
    }

    fn detail(self) -> Option<&'static str> {
        match self {
            Self::Stale(staleness) => Some(staleness.name()),
            Self::Token => Some("token-check"),
            Self::Bypass(reason) | Self::Silent(reason) => Some(reason),
            Self::UriMiss | Self::Method => None,
        }
    }
}

/// The counters of outcomes; found once, as finding one costs more than counting.
static OUTCOMES: LazyLock<HashMap<&'static str, metrics::Counter>> = LazyLock::new(|| {
    let names = ["memory", "disk", "stale", "mirror", "upstream", "collapsed", "refused", "own"];
    let counter = |name| metrics::counter!("alyx_proxy_answers_total", "outcome" => name);
    names.into_iter().map(|name| (name, counter(name))).collect()
});

/// The histograms of answer times, by endpoint.
static DURATIONS: LazyLock<HashMap<&'static str, metrics::Histogram>> = LazyLock::new(|| {
    let services = Service::ALL.iter().map(|service| service.name());
    let names = ENDPOINTS.iter().map(|endpoint| endpoint.name).chain(services).chain(["own", "other"]);
    let histogram = |name| metrics::histogram!("alyx_proxy_request_duration_seconds", "endpoint" => name);
    names.map(|name| (name, histogram(name))).collect()
});

/// What was answered since the start, and how.
#[derive(Debug, Default)]
pub struct Counters {
    memory: AtomicU64,
    disk: AtomicU64,
    stale: AtomicU64,
    mirror: AtomicU64,
    upstream: AtomicU64,
    collapsed: AtomicU64,
    refused: AtomicU64,
}

impl Counters {
    /// Counts an answer.
    pub(super) fn count(&self, how: How) {
        let name = how.name();
        let counter = match name {
            "memory" => &self.memory,
            "disk" => &self.disk,
            "stale" => &self.stale,
            "mirror" => &self.mirror,
            "upstream" => &self.upstream,
            "collapsed" => &self.collapsed,
            _ => &self.refused,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        if let Some(counter) = OUTCOMES.get(name) {
            counter.increment(1);
        }
    }

    /// The counts by name.
    pub(super) fn by_name(&self) -> [(&'static str, u64); 7] {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        [
            ("memory", read(&self.memory)),
            ("disk", read(&self.disk)),
            ("stale", read(&self.stale)),
            ("mirror", read(&self.mirror)),
            ("upstream", read(&self.upstream)),
            ("collapsed", read(&self.collapsed)),
            ("refused", read(&self.refused)),
        ]
    }
}

/// The endpoint of a path for logs and metrics: a name that is Alyx's, never the user's text.
pub(super) fn endpoint(uri: &Uri) -> &'static str {
    let segments = query::segments(uri.path());
    match classify(&segments.iter().map(String::as_str).collect::<Vec<_>>()) {
        Route::List(endpoint) | Route::Detail(endpoint, _) => endpoint.name,
        Route::Service(service) => service.name(),
        Route::Other if uri.path().starts_with("/-/") => "own",
        Route::Other => "other",
    }
}

/// One line a request. Query values may be anyone's business: they show at `debug` only.
pub(super) fn log(asked: &Named<'_>, response: &Response<Body>, took: Duration) {
    let Named { method, uri, endpoint, id, .. } = *asked;
    let field =
        |name: &header::HeaderName| response.headers().get(name).and_then(|value| value.to_str().ok());
    if let Some(histogram) = DURATIONS.get(endpoint) {
        histogram.record(took.as_secs_f64());
    }
    tracing::info!(
        target: log::ACCESS,
        %method,
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
