//! How an answer came about: one word for it, the same in header, log and metric (RFC 9211).

use std::{fmt::Write, time::Duration};

use axum::body::Body;
use http::{HeaderValue, Response, header};

use super::reuse::Staleness;

/// RFC 9211's field.
pub(crate) const CACHE_STATUS: header::HeaderName = header::HeaderName::from_static("cache-status");

/// Where a stored response was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// In memory.
    Memory,
    /// On disk.
    Disk,
}

impl Tier {
    /// Its name in `Cache-Status` and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Disk => "disk",
        }
    }
}

/// Why a request went to Alyx (RFC 9211 2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ForwardReason {
    /// Nothing is stored for it.
    UriMiss,
    /// Nothing is stored for it, and the mirror can't answer it.
    MirrorMiss(&'static str),
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
pub(crate) enum ServedStale {
    /// It is being refreshed behind the scenes.
    WhileRevalidating,
    /// Alyx is slow.
    Slow,
    /// Alyx is away, or asked for a pause.
    Offline,
}

/// How an answer came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CacheStatus {
    /// From here, fresh.
    Hit(Tier, Duration),
    /// From here, not fresh.
    Stale {
        reason: ServedStale,
        tier: Tier,
        /// Seconds that it would be fresh yet; negative where its time is over.
        ttl: i64,
    },
    /// From the mirror's tables; for a reason where they are not as recent as they should be. Fields that
    /// change with the time of day are as they were when the tables were synchronised.
    Mirror { reason: Option<ServedStale>, as_synchronised: bool },
    /// From Alyx.
    Forwarded { why: ForwardReason, status: u16, stored: bool, collapsed: bool },
    /// Refused here.
    Refused(&'static str),
    /// One of the proxy's own pages.
    Internal,
}

impl CacheStatus {
    /// The value of `Cache-Status`.
    pub(crate) fn header(self) -> HeaderValue {
        let mut value = String::from("alyx-proxy");
        // Writing to a String can't fail.
        let _ = match self {
            Self::Hit(tier, left) => write!(value, "; hit; ttl={}; detail={}", left.as_secs(), tier.name()),
            Self::Stale { reason, tier, ttl } => {
                write!(value, "; hit; ttl={ttl}; detail=\"{}, {}\"", reason.name(), tier.name())
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
            Self::Internal => write!(value, "; detail=own"),
        };
        // Made of names and numbers alone.
        HeaderValue::try_from(value).unwrap_or_else(|_| HeaderValue::from_static("alyx-proxy"))
    }

    /// Says so in a response, to its reader and to the proxy's own records.
    pub(crate) fn mark(self, response: &mut Response<Body>) {
        response.headers_mut().insert(CACHE_STATUS, self.header());
        response.extensions_mut().insert(self);
    }

    /// Its name in logs and metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Hit(tier, _) => tier.name(),
            Self::Stale { .. } => "stale",
            Self::Mirror { .. } => "mirror",
            Self::Forwarded { collapsed: true, .. } => "collapsed",
            Self::Forwarded { .. } => "upstream",
            Self::Refused(_) => "refused",
            Self::Internal => "own",
        }
    }
}

impl ServedStale {
    fn name(self) -> &'static str {
        match self {
            Self::WhileRevalidating => "stale-while-revalidate",
            Self::Slow => "slow-upstream",
            Self::Offline => "offline",
        }
    }
}

impl ForwardReason {
    fn token(self) -> &'static str {
        match self {
            Self::UriMiss | Self::MirrorMiss(_) => "uri-miss",
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
            Self::Bypass(reason) | Self::MirrorMiss(reason) => Some(reason),
            Self::UriMiss | Self::Method => None,
        }
    }
}
