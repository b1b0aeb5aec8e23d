//! What a caller may have, by what its credentials are worth here.

use http::{HeaderValue, StatusCode, header};

use super::{
    Exchange,
    core::Core,
    error::{ProxyError, gateway_timeout, retry_later},
    in_flight::Standing,
};
use crate::{
    alyx::{Route, Service, error_body},
    auth::{Credentials, TokenStatus, credentials},
    clock::{self, Millis},
    http::cache_status::RefusalReason,
    upstream::{UpstreamError, rate_limit::Caller},
};

/// Said where only Alyx could judge the token.
const UNKNOWN_TOKEN: &str = "This token is not known here, and only Alyx can say whether it is good. \
    Log in by name and password: those with which somebody logged in here before are known without Alyx.";

/// What a caller may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Authorization {
    /// What is stored.
    Granted,
    /// What is stored, after Alyx has been asked about the token again; if Alyx is away, at once.
    GrantedAfterRevalidation,
    /// Only what Alyx itself gives it; if Alyx is away, this refusal of Alyx's (status 403).
    UpstreamOnly(&'static str),
    /// Only what Alyx itself gives it: Alyx has not yet said here what this token is worth.
    UnknownToken,
    /// Only what Alyx itself gives it: its token was accepted last at this time, too long ago.
    GraceExpired(Millis),
}

/// What a caller with these credentials may have of what is asked, as far as is known now; some of it Alyx gives to
/// anybody (ALYX.md 1).
pub(crate) fn authorize(core: &Core, credentials: &Credentials, asked: &Exchange) -> Authorization {
    let settings = &asked.settings;
    let open = matches!(asked.route, Route::Service(service) if service.open());
    if settings.access.anonymous && !matches!(credentials, Credentials::Foreign) {
        return Authorization::Granted;
    }
    match credentials {
        Credentials::None | Credentials::OtherScheme if open => Authorization::Granted,
        Credentials::None | Credentials::OtherScheme | Credentials::Foreign => {
            Authorization::UpstreamOnly(error_body::NO_CREDENTIALS)
        }
        Credentials::Malformed(refusal) => Authorization::UpstreamOnly(refusal),
        Credentials::Token { hash, .. } => match core.tokens.status(hash, &settings.access) {
            TokenStatus::Vouched | TokenStatus::NeedsRevalidation
                if super::denied::is_denied(core, *hash, &asked.route) =>
            {
                Authorization::UpstreamOnly(error_body::NO_PERMISSION)
            }
            TokenStatus::Vouched => Authorization::Granted,
            TokenStatus::NeedsRevalidation => Authorization::GrantedAfterRevalidation,
            TokenStatus::PastGrace { vouched_at } => Authorization::GraceExpired(vouched_at),
            TokenStatus::Refused => Authorization::UpstreamOnly(error_body::INVALID_TOKEN),
            TokenStatus::Unknown => Authorization::UnknownToken,
        },
    }
}

/// Whom Alyx counts a request with these credentials for (ALYX.md 4.2), as far as it can be known before it is sent.
pub(crate) fn caller(core: &Core, credentials: &Credentials, route: &Route) -> Option<Caller> {
    if *route == Route::Service(Service::Docs) {
        return Some(Caller::Docs);
    }
    let Credentials::Token { hash, field } = credentials else { return None };
    Some(match core.tokens.status(hash, &core.settings.load().access) {
        TokenStatus::Unknown | TokenStatus::Refused => Caller::Unverified,
        _ => Caller::of(field),
    })
}

/// Whose place a request takes.
pub(crate) fn standing(core: &Core, asked: &Exchange) -> Standing {
    if asked.route == Route::Service(Service::AuthToken) {
        return Standing::LogIn;
    }
    let access = &asked.settings.access;
    if access.anonymous || core.mode.snapshot().is_some() {
        return Standing::User;
    }
    match credentials(&asked.headers, &core.key) {
        Credentials::Token { hash, .. } if core.tokens.status(&hash, access).was_accepted() => Standing::User,
        _ => Standing::Stranger,
    }
}

/// Whether Alyx is known to be away, rather than without time for this request.
pub(crate) fn is_away(core: &Core, failure: &UpstreamError) -> bool {
    *failure == UpstreamError::Offline || core.upstream.health.is_down()
}

/// The refusal for a caller whom only Alyx could judge, while Alyx can't be asked; `None` for
/// one who may have what is stored. It is Alyx's own only while Alyx is away: ONE throws a token away that was
/// refused, and one that Alyx has merely had no time for may be good.
pub(crate) fn refuse_caller(
    core: &Core,
    may: Authorization,
    failure: &UpstreamError,
    route: &Route,
) -> Option<ProxyError> {
    let why = match may {
        Authorization::Granted | Authorization::GrantedAfterRevalidation => return None,
        Authorization::UpstreamOnly(refusal) if is_away(core, failure) => {
            let error = ProxyError::new(StatusCode::FORBIDDEN, RefusalReason::NotAccepted, refusal)
                .notice_away(core)
                .header(header::VARY, HeaderValue::from_static("Accept, Cookie"));
            return Some(match HeaderValue::try_from(route.methods()) {
                Ok(methods) => error.header(header::ALLOW, methods),
                Err(_) => error,
            });
        }
        // No 403 here: ONE would throw away a token that may be good, or is so again when Alyx is back.
        Authorization::UpstreamOnly(_) => "Only Alyx itself can say what this caller may have.".to_owned(),
        Authorization::UnknownToken => UNKNOWN_TOKEN.to_owned(),
        Authorization::GraceExpired(vouched_at) => {
            let since = clock::for_people(vouched_at);
            format!("Alyx accepted this token last on {since}, longer ago than `access.grace` allows.")
        }
    };
    Some(retry_later(failure).unwrap_or_else(|| gateway_timeout(core, failure, &why)))
}

impl Authorization {
    /// Whether stored answers may be looked at for this caller.
    pub(crate) fn sees_stored(self) -> bool {
        matches!(self, Self::Granted | Self::GrantedAfterRevalidation)
    }
}
