//! `POST /auth-token`: log-ins go to Alyx; while Alyx is away, those that it accepted work here.
//!
//! That a password is wrong (400) is said only where Alyx said so, or where it is not the one that Alyx accepted last. Of whom
//! nobody here can tell, 504 says why Alyx can't be asked.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use zeroize::Zeroizing;

use super::{
    Exchange,
    authorize::{Authorization, authorize, is_away},
    core::Core,
    error::{self, ProxyError, add_notice, gateway_timeout},
    floors::Floors,
    in_flight,
    log_in_audit::{self, GivenToken, KnownName},
    passthrough::{self, failed_pass},
};
use crate::{
    alyx::error_body,
    auth::{Attempt, LogIn, LoginForm, Presented, credentials},
    clock::{self, Millis},
    http::cache_status::{CacheStatus, ForwardReason, RefusalReason, ServedStale, Tier},
    upstream::{UpstreamError, seconds},
};

/// Nobody's name and password are longer.
const MAX_BODY: usize = 64 << 10;

/// Answers a log-in, and notes what came of it.
pub(crate) async fn answer(floors: &Floors, asked: Exchange, body: Body) -> Response<Body> {
    let core = &floors.core;
    let from = asked.client;
    let timeout = asked.settings.server.client_timeout.0;
    let body = match in_flight::whole(body, "A log-in", MAX_BODY, timeout).await {
        Ok(body) => body,
        Err(refusal) => return refusal.into(),
    };
    let given = LoginForm::read(&asked.headers, &body).await;
    let user = given.user.clone();
    let response = decide(floors, asked, body, given).await;
    log_in_audit::note(core, user.as_deref(), from, &response);
    response
}

async fn decide(floors: &Floors, asked: Exchange, body: Bytes, given: LoginForm) -> Response<Body> {
    let core = &floors.core;
    let attempt = match attempt(floors, &asked, &given).await {
        Attempt::Wait(wait) => return too_many(wait),
        attempt => attempt,
    };
    if core.upstream.health.is_down() {
        return without_alyx(floors, &asked, given, attempt, &UpstreamError::Offline).await;
    }
    let asked_at = core.clock.stamp();
    let (sent, body) = as_read(asked.clone(), &given, body);
    match passthrough::forward(core, sent, Body::from(body), ForwardReason::Method).await {
        Ok(response) => learn(floors, &asked, given, attempt, (response, asked_at)).await,
        Err(failure) => without_alyx(floors, &asked, given, attempt, &failure).await,
    }
}

/// Whether this log-in may be tried.
async fn attempt(floors: &Floors, asked: &Exchange, given: &LoginForm) -> Attempt {
    let access = &asked.settings.access;
    let (Some(user), Some(password), false) = (&given.user, &given.password, access.anonymous) else {
        return Attempt::Free;
    };
    let presented = Presented { user, password, from: asked.client };
    floors.logins.attempt(&floors.core.store, &floors.core.key, presented, access).await
}

/// The log-in as it was read here: what Alyx accepts must be the name and password that are kept. Of multipart forms and
/// odd encodings others read other things.
fn as_read(mut asked: Exchange, given: &LoginForm, body: Bytes) -> (Exchange, Bytes) {
    let Some(form) = LoginForm::is_ambiguous(&asked.headers).then(|| given.as_form()).flatten() else {
        return (asked, body);
    };
    let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
    asked.headers.insert(header::CONTENT_TYPE, kind);
    asked.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(form.len()));
    asked.headers.remove(header::TRANSFER_ENCODING);
    asked.headers.remove(header::CONTENT_ENCODING);
    (asked, form.into())
}

/// Keeps what Alyx's answer to a log-in says, and passes the answer on.
async fn learn(
    floors: &Floors,
    asked: &Exchange,
    given: LoginForm,
    attempt: Attempt,
    (response, asked_at): (Response<Body>, Millis),
) -> Response<Body> {
    let core = &floors.core;
    let (mut parts, body) = response.into_parts();
    let Ok(body) = to_bytes(body, MAX_BODY).await else {
        return failed_pass(core, &UpstreamError::Truncated).into();
    };
    let whole = given.user.is_some() && given.password.is_some();
    match word(parts.status, &body, whole) {
        Word::Said => {}
        Word::Nothing => {
            let failure = UpstreamError::Unavailable(parts.status.as_u16());
            return without_alyx(floors, asked, given, attempt, &failure).await;
        }
        Word::NotJson => {
            let kind = parts.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
            let failure = UpstreamError::NotJson(kind.unwrap_or("nothing").to_owned());
            core.upstream.health.failed(&failure);
            return without_alyx(floors, asked, given, attempt, &failure).await;
        }
    }
    let LoginForm { user: Some(user), password: Some(password) } = given else {
        return Response::from_parts(parts, Body::from(body));
    };
    let (store, key) = (&core.store, &core.key);
    let presented = Presented { user: &user, password: &password, from: asked.client };
    if parts.status == StatusCode::OK
        && let Some(token) = token_in(&body)
    {
        core.tokens.vouch(key.token(&token), asked_at, store);
        parts.extensions.insert(GivenToken(key.token(&token)));
        floors.logins.accepted(store, key, presented, &token).await;
    } else if parts.status == StatusCode::BAD_REQUEST
        && floors.logins.refused(store, key, presented, &asked.settings.access).await
    {
        parts.extensions.insert(KnownName);
    }
    Response::from_parts(parts, Body::from(body))
}

/// What an answer to a log-in is worth.
enum Word {
    /// Alyx's own word about this log-in.
    Said,
    /// Nothing of the password: an error of Alyx, or of what stands before it.
    Nothing,
    /// Nothing that Alyx sends: a portal's page, or that of another web server.
    NotJson,
}

/// Whether Alyx itself speaks of this log-in: by a token, by what is wrong with name or password, or that it may not be, or
/// not now. Where no `whole` log-in was sent, any error of Alyx speaks of that.
fn word(status: StatusCode, body: &[u8], whole: bool) -> Word {
    let Ok(serde_json::Value::Object(json)) = serde_json::from_slice(body) else { return Word::NotJson };
    let names = |fields: &[&str]| fields.iter().any(|field| json.contains_key(*field));
    let said = match status {
        StatusCode::OK => json.get("token").is_some_and(serde_json::Value::is_string),
        status if status.is_success() => false,
        StatusCode::BAD_REQUEST if whole => names(&["non_field_errors", "username", "password"]),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS => true,
        status => !whole && status.is_client_error(),
    };
    if said {
        Word::Said
    } else if status.is_success() {
        Word::NotJson
    } else {
        Word::Nothing
    }
}

fn token_in(body: &[u8]) -> Option<Zeroizing<String>> {
    let body: serde_json::Value = serde_json::from_slice(body).ok()?;
    Some(Zeroizing::new(body.get("token")?.as_str()?.to_owned()))
}

/// A token that stands in for what Alyx would give.
fn give(core: &Core, token: &str) -> Response<Body> {
    let how = CacheStatus::Stale { reason: ServedStale::Offline, tier: Tier::Disk, ttl: 0 };
    let mut response = error::json(StatusCode::OK, serde_json::json!({ "token": token }).to_string(), how);
    add_notice(core, &mut response);
    response.extensions_mut().insert(GivenToken(core.key.token(token)));
    response
}

/// The refusal of a log-in with a name that Alyx has accepted here before: it is sealed here.
fn of_known_name(mut refusal: Response<Body>) -> Response<Body> {
    refusal.extensions_mut().insert(KnownName);
    refusal
}

/// Alyx's words for what is missing.
fn fields_required(fields: &[(bool, &'static str)]) -> String {
    let missing: Vec<&str> = fields.iter().filter(|(missing, _)| *missing).map(|(_, name)| *name).collect();
    error_body::fields_required(&missing)
}

async fn without_alyx(
    floors: &Floors,
    asked: &Exchange,
    given: LoginForm,
    attempt: Attempt,
    failure: &UpstreamError,
) -> Response<Body> {
    let core = &floors.core;
    // Alyx judges a token in the header before it looks at the log-in (ALYX.md 4.1).
    if let Authorization::UpstreamOnly(refusal) =
        authorize(core, &credentials(&asked.headers, &core.key), asked)
    {
        if !is_away(core, failure) {
            return failed_pass(core, failure).into();
        }
        return ProxyError::new(StatusCode::FORBIDDEN, RefusalReason::NotAccepted, refusal).into();
    }
    let (user, password) = match (given.user, given.password) {
        (Some(user), Some(password)) => (user, password),
        (user, password) => {
            let missing = [(user.is_none(), "username"), (password.is_none(), "password")];
            return ProxyError::with_body(
                StatusCode::BAD_REQUEST,
                RefusalReason::LogIn,
                fields_required(&missing),
            )
            .into();
        }
    };
    let access = &asked.settings.access;
    if access.anonymous {
        // Nobody asks for it here; and Alyx, when it is back, will have a real one asked for.
        return give(core, &core.key.placeholder_token(&user));
    }
    let presented = Presented { user: &user, password: &password, from: asked.client };
    let tried = floors.logins.offline(&core.store, &core.key, presented, access, attempt).await;
    match tried {
        Ok(LogIn::Token(token)) => give(core, &token),
        // Alyx may know them.
        Ok(LogIn::Refused | LogIn::Unknown) if !is_away(core, failure) => failed_pass(core, failure).into(),
        Ok(LogIn::Unknown) => gateway_timeout(core, failure, NOT_KNOWN).into(),
        Ok(LogIn::Refused) => {
            let body = error_body::login_refused();
            let refusal = ProxyError::with_body(StatusCode::BAD_REQUEST, RefusalReason::LogIn, body)
                .header(error::NOTICE, HeaderValue::from_static(ONLY_KNOWN));
            of_known_name(refusal.into())
        }
        Ok(LogIn::PastGrace { vouched_at }) => {
            let since = clock::for_people(vouched_at);
            let text =
                format!("Alyx accepted this log-in last on {since}, longer ago than `access.grace` allows.");
            gateway_timeout(core, failure, &text).into()
        }
        Ok(LogIn::Wait(wait)) => too_many(wait),
        Err(error) => {
            tracing::error!(%error, "a log-in can't be looked up");
            gateway_timeout(core, failure, "The log-ins that are kept here can't be read.").into()
        }
    }
}

const NOT_KNOWN: &str = "Nobody has logged in with this user name through this proxy so far, so it can't tell whether the \
                         password is right: only Alyx can.";

const ONLY_KNOWN: &str =
    "!!!Alyx is out of reach; only those who have logged in through this proxy before can log in now";

fn too_many(wait: Duration) -> Response<Body> {
    let seconds = seconds(wait).max(1);
    let text =
        format!("Too many failed log-ins with this name from this address. Try again in {seconds} seconds.");
    ProxyError::new(StatusCode::TOO_MANY_REQUESTS, RefusalReason::LogIn, &text)
        .header(header::RETRY_AFTER, HeaderValue::from(seconds))
        .into()
}
