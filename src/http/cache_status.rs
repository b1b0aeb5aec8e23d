//! How an answer came about: one word for it, the same in header, log and metric (RFC 9211).

use std::{fmt::Write, time::Duration};

use axum::body::Body;
use http::{HeaderValue, Response, header};

use super::reuse::Staleness;

/// Makes an enum of reasons, each with its one word.
macro_rules! reasons {
    ($(#[$doc:meta])* $name:ident { $($(#[$of:meta])* $variant:ident = $word:literal,)* $(..$(#[$from:meta])* $other:ident,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum $name {
            $($(#[$of])* $variant,)*
            $($(#[$from])* $other(&'static str),)*
        }

        impl $name {
            /// Its word in `Cache-Status`, logs and metrics.
            pub(crate) fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                    $(Self::$other(word) => word,)*
                }
            }
        }
    };
}

reasons! {
    /// Why a read is not of the kind that is stored.
    BypassReason {
        /// It is no endpoint of Alyx's REST interface.
        NotRest = "not-rest",
        /// Answers of this endpoint are never stored.
        NeverStored = "never-stored",
        /// Its credentials are none of Alyx's tokens.
        ForeignCredentials = "foreign-credentials",
        /// It has a body.
        RequestBody = "request-body",
        /// It does not ask for JSON.
        NotJson = "not-json",
        /// It asks by a secret's value.
        Secret = "secret",
        /// It says `no-store`.
        NoStore = "no-store",
        /// Its answer is larger than `cache.max_response`.
        TooLarge = "too-large",
        /// It is no file of the data server's, or one that can't be kept for certain.
        NotKept = "not-kept",
    }
}

reasons! {
    /// Why the proxy refuses a request in its own name.
    RefusalReason {
        /// The request is wrong, or asks for what isn't there.
        Refused = "refused",
        /// Its caller is none that Alyx has accepted.
        NotAccepted = "not-accepted",
        /// Its name or password is wrong, or too many were.
        LogIn = "log-in",
        /// It allows only what is stored, and nothing is (RFC 9111 5.2.1.7).
        OnlyIfCached = "only-if-cached",
        /// It goes on with a list that has changed since its pages before.
        OlderPage = "older-page",
        /// It writes what others have changed since it was read.
        Changed = "changed",
        /// A snapshot takes no writes.
        Snapshot = "snapshot",
        /// The other proxies of the cluster can't be told of a write.
        Cluster = "cluster",
        /// Django's redirect to the path with a slash, made here while Alyx is away.
        OfflineRedirect = "offline-redirect",
        /// Alyx is away.
        Offline = "offline",
        /// Too many requests are being answered.
        Overload = "overload",
        /// Too many requests of one client are being answered.
        TooManyOfOneClient = "too-many-requests-of-one-client",
        /// Too many requests are being answered of those whom Alyx has not accepted.
        TooManyStrangers = "too-many-strangers",
        /// The program failed.
        Panic = "panic",
        ..
        /// What came of asking Alyx: the name of an `UpstreamError`.
        Upstream,
        ..
        /// Why the mirror can't decide it: the name of an `Undecidable`.
        Undecidable,
    }
}

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
    /// What is stored can't be given before the origin has been asked.
    Revalidate,
    /// Its token is to be judged by Alyx.
    Token,
    /// It is not of the kind that is remembered.
    Bypass(BypassReason),
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
    Mirror {
        reason: Option<ServedStale>,
        as_synchronised: bool,
        /// Whether Alyx was asked for what makes the tables recent enough.
        caught_up: bool,
    },
    /// From Alyx.
    Forwarded { why: ForwardReason, status: u16, stored: bool, collapsed: bool },
    /// What was stored, as the origin has just said that it still holds (304).
    Revalidated,
    /// What was stored and is stale, as the origin failed (RFC 5861 4): with this status, or else for this reason.
    StaleIfError {
        /// The status it failed with.
        fwd_status: Option<u16>,
        /// Why it could not be asked.
        failure: Option<&'static str>,
    },
    /// Answered here, as `Max-Forwards` forbids that it goes further.
    MaxForwards,
    /// Refused here.
    Refused(RefusalReason),
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
            // A `hit` would say that nothing was asked of Alyx (RFC 9211 2.1).
            Self::Mirror { caught_up: true, .. } => write!(value, "; fwd=stale; detail=caught-up"),
            Self::Mirror { reason: None, as_synchronised: false, .. } => {
                write!(value, "; hit; detail=mirror")
            }
            Self::Mirror { reason, as_synchronised, .. } => {
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
            // A `hit` would say that nothing was forwarded (RFC 9211 2.1).
            Self::Revalidated => write!(value, "; fwd=stale; fwd-status=304"),
            Self::StaleIfError { fwd_status, failure } => {
                value.push_str("; fwd=stale");
                let _ = fwd_status.map_or(Ok(()), |status| write!(value, "; fwd-status={status}"));
                failure.map_or(Ok(()), |failure| write!(value, "; detail={failure}"))
            }
            Self::MaxForwards => write!(value, "; detail=max-forwards"),
            Self::Refused(reason) => write!(value, "; detail={}", reason.name()),
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

    /// Whether Alyx was not asked, though it could have been.
    pub(crate) fn saves_a_request(self) -> bool {
        matches!(
            self,
            Self::Hit(..)
                | Self::Mirror { reason: None, caught_up: false, .. }
                | Self::Forwarded { collapsed: true, .. }
        )
    }

    /// Its name in logs and metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Hit(tier, _) => tier.name(),
            Self::Stale { .. } | Self::StaleIfError { .. } => "stale",
            Self::Mirror { .. } => "mirror",
            Self::Forwarded { collapsed: true, .. } => "collapsed",
            Self::Forwarded { .. } | Self::Revalidated => "upstream",
            Self::Refused(_) => "refused",
            Self::Internal | Self::MaxForwards => "own",
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
            Self::Stale(_) | Self::Revalidate => "stale",
            Self::Token => "miss",
            Self::Bypass(_) => "bypass",
            Self::Method => "method",
        }
    }

    fn detail(self) -> Option<&'static str> {
        match self {
            Self::Stale(staleness) => Some(staleness.name()),
            Self::Token => Some("token-check"),
            Self::Bypass(reason) => Some(reason.name()),
            Self::MirrorMiss(reason) => Some(reason),
            Self::UriMiss | Self::Method | Self::Revalidate => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What each status says in `Cache-Status`, and its name in log and metric.
    #[test]
    fn every_status_has_its_words() {
        use CacheStatus as S;
        let forwarded = |why| S::Forwarded { why, status: 200, stored: false, collapsed: false };
        let stale = |reason| S::Stale { reason, tier: Tier::Disk, ttl: -5 };
        let expired = Staleness::Expired { by: Duration::from_secs(5) };
        let table = [
            (S::Hit(Tier::Memory, Duration::from_secs(9)), "; hit; ttl=9; detail=memory", "memory"),
            (S::Hit(Tier::Disk, Duration::ZERO), "; hit; ttl=0; detail=disk", "disk"),
            (
                stale(ServedStale::WhileRevalidating),
                "; hit; ttl=-5; detail=\"stale-while-revalidate, disk\"",
                "stale",
            ),
            (stale(ServedStale::Slow), "; hit; ttl=-5; detail=\"slow-upstream, disk\"", "stale"),
            (stale(ServedStale::Offline), "; hit; ttl=-5; detail=\"offline, disk\"", "stale"),
            (
                S::Mirror { reason: None, as_synchronised: false, caught_up: false },
                "; hit; detail=mirror",
                "mirror",
            ),
            (
                S::Mirror { reason: None, as_synchronised: true, caught_up: true },
                "; fwd=stale; detail=caught-up",
                "mirror",
            ),
            (
                S::Mirror { reason: Some(ServedStale::Offline), as_synchronised: true, caught_up: false },
                "; hit; detail=\"mirror, offline, as-synchronised\"",
                "mirror",
            ),
            (forwarded(ForwardReason::UriMiss), "; fwd=uri-miss; fwd-status=200", "upstream"),
            (
                forwarded(ForwardReason::MirrorMiss("undecidable")),
                "; fwd=uri-miss; fwd-status=200; detail=undecidable",
                "upstream",
            ),
            (
                forwarded(ForwardReason::Stale(expired)),
                "; fwd=stale; fwd-status=200; detail=expired",
                "upstream",
            ),
            (
                forwarded(ForwardReason::Stale(Staleness::Request)),
                "; fwd=request; fwd-status=200; detail=request",
                "upstream",
            ),
            (forwarded(ForwardReason::Revalidate), "; fwd=stale; fwd-status=200", "upstream"),
            (forwarded(ForwardReason::Token), "; fwd=miss; fwd-status=200; detail=token-check", "upstream"),
            (
                forwarded(ForwardReason::Bypass(BypassReason::NoStore)),
                "; fwd=bypass; fwd-status=200; detail=no-store",
                "upstream",
            ),
            (forwarded(ForwardReason::Method), "; fwd=method; fwd-status=200", "upstream"),
            (
                S::Forwarded { why: ForwardReason::UriMiss, status: 200, stored: true, collapsed: true },
                "; fwd=uri-miss; fwd-status=200; stored; collapsed",
                "collapsed",
            ),
            (S::Revalidated, "; fwd=stale; fwd-status=304", "upstream"),
            (
                S::StaleIfError { fwd_status: Some(503), failure: None },
                "; fwd=stale; fwd-status=503",
                "stale",
            ),
            (
                S::StaleIfError { fwd_status: None, failure: Some("timeout") },
                "; fwd=stale; detail=timeout",
                "stale",
            ),
            (S::MaxForwards, "; detail=max-forwards", "own"),
            (S::Refused(RefusalReason::Overload), "; detail=overload", "refused"),
            (S::Internal, "; detail=own", "own"),
        ];
        for (status, header, name) in table {
            assert_eq!(status.header(), format!("alyx-proxy{header}"));
            assert_eq!(status.name(), name, "{header}");
        }
    }
}
