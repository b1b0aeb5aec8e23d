//! Passing a request through to Alyx: whatever is not remembered.
//!
//! Answers in JSON have their links moved, as remembered ones do; everything else streams.

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Limited;

use super::{
    Exchange,
    authorize::caller,
    core::Core,
    error::{self, ProxyError, gateway_timeout, retry_later},
    write_outcome::TokenRefused,
};
use crate::{
    alyx::{
        Route, Service, error_body, invalidates, json,
        links::{self, Base},
    },
    auth::{Credentials, credentials},
    clock::Millis,
    http::{
        body::{self, Buffered, read_limited},
        cache_status::{CacheStatus, ForwardReason},
        forwarded,
    },
    upstream::{Relayed, UpstreamError, UpstreamResponse, rate_limit::Caller},
};

/// What an answer that is passed on is read by.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// JSON of up to so many bytes is read whole.
    whole: usize,
    /// More of it is not passed on.
    longest: usize,
    /// Whether REST was asked.
    rest: bool,
    /// When.
    asked_at: Millis,
}

/// Passes a request to Alyx and its answer back.
pub(crate) async fn answer(core: &Core, asked: Exchange, body: Body, why: ForwardReason) -> Response<Body> {
    match forward(core, asked, body, why).await {
        Ok(response) => response,
        Err(failure) => failed_pass(core, &failure).into(),
    }
}

/// Passes a request to Alyx; a failure is the caller's to tell.
pub(crate) async fn forward(
    core: &Core,
    asked: Exchange,
    body: Body,
    why: ForwardReason,
) -> Result<Response<Body>, UpstreamError> {
    let settings = asked.settings.clone();
    let Some(body) = body::limited(&asked.headers, body, settings.server.max_body) else {
        return Ok(too_large().into());
    };
    let credentials = credentials(&asked.headers, &core.key);
    let (rest, head) = (asked.route != Route::Other, asked.method == Method::HEAD);
    let write = rest && invalidates::is_write(&asked.method, &asked.route);
    let page = asks_for_a_page(&asked.headers);
    let mut request = Request::new(body);
    (*request.method_mut(), *request.uri_mut(), *request.headers_mut()) =
        (asked.method, asked.uri, asked.headers);
    if rest {
        // A coded body could not have its links moved.
        request.headers_mut().insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    }
    let timeout = settings.upstream.timeout.0;
    let asked_at = core.clock.stamp();
    let who = match asked.route {
        Route::Service(Service::AuthToken) => Some(Caller::LogIn(forwarded::network(asked.client))),
        ref route => caller(core, &credentials, route),
    };
    let relayed = core.upstream.relay(request, who.as_ref(), &asked.base, timeout).await?;
    if write {
        core.upstream.judge_write(&relayed, page)?;
    }
    let status = relayed.response.status().as_u16();
    let how = CacheStatus::Forwarded { why, status, stored: false, collapsed: false };
    let limits = Limits {
        whole: settings.cache.max_response.bytes(),
        longest: settings.cache.max_file.bytes(),
        rest,
        asked_at,
    };
    let mut response = if head || relayed.response.status() == StatusCode::NOT_MODIFIED {
        without_body(relayed)
    } else {
        with_links_moved(core, relayed, &credentials, &asked.base, &limits).await?
    };
    move_location(response.headers_mut(), core.upstream.base(), &asked.base);
    how.mark(&mut response);
    Ok(response)
}

/// What Alyx answered in JSON, with its own links.
#[derive(Debug, Clone)]
pub(super) struct AlyxAnswer(pub(super) Bytes);

/// Whether a request says that it takes HTML, as browsers do.
fn asks_for_a_page(headers: &HeaderMap) -> bool {
    let accepts = |accept: &HeaderValue| accept.to_str().is_ok_and(|accept| accept.contains("text/html"));
    headers.get_all(header::ACCEPT).iter().any(accepts)
}

/// An answer that has only a head; how long its body would be is not known where links would be moved in it.
fn without_body(relayed: Relayed) -> Response<Body> {
    let mut response = relayed.response;
    if relayed.json {
        response.headers_mut().remove(header::CONTENT_LENGTH);
    }
    response
}

/// The refusal of a body that is larger than may be.
pub(crate) fn too_large() -> ProxyError {
    ProxyError::refused(
        StatusCode::PAYLOAD_TOO_LARGE,
        "The body of this request is larger than `server.max_body` allows, or than 1 MiB where it is a GET.",
    )
}

/// The refusal of a body that no server could read.
pub(crate) fn malformed() -> ProxyError {
    ProxyError::refused(StatusCode::BAD_REQUEST, "The body of this request is not framed as HTTP asks.")
}

/// The refusal of a path that makes no URL of Alyx's.
pub(crate) fn bad_address() -> ProxyError {
    ProxyError::refused(StatusCode::BAD_REQUEST, "The path of this request can't be passed on.")
}

/// The refusal for a read that Alyx did not get, or did not answer.
pub(crate) fn failed_pass(core: &Core, failure: &UpstreamError) -> ProxyError {
    if let Some(refusal) = retry_later(failure) {
        return refusal;
    }
    match failure {
        UpstreamError::BodyTooLarge => too_large(),
        UpstreamError::Slow { .. } | UpstreamError::Unsent { .. } if failure.never_sent() => {
            error::not_sent(core, failure)
        }
        UpstreamError::Malformed => malformed(),
        UpstreamError::BadAddress => bad_address(),
        failure => gateway_timeout(
            core,
            failure,
            "Only Alyx itself can answer this request; nothing was kept of it.",
        ),
    }
}

/// Reads an answer in JSON whole and moves its links; others, and very large ones, stream on. REST is asked for
/// bodies without a coding, and nothing else shows what a token is worth: Django answers its own pages
/// without a look at it, and a page in HTML may be that of a network that wants a log-in of its own.
async fn with_links_moved(
    core: &Core,
    relayed: Relayed,
    credentials: &Credentials,
    base: &str,
    limits: &Limits,
) -> Result<Response<Body>, UpstreamError> {
    let (mut parts, body) = relayed.response.into_parts();
    let Limits { whole, longest, rest, asked_at } = *limits;
    let coded = parts.headers.contains_key(header::CONTENT_ENCODING);
    if relayed.json && coded && rest {
        return Err(UpstreamError::NotJson("in a coding that was not asked for".to_owned()));
    }
    if !relayed.json || coded {
        return Ok(Response::from_parts(parts, body));
    }
    let body = match read_limited(body, whole).await.map_err(|_| UpstreamError::Truncated)? {
        Buffered::Complete(body) => body,
        // Alyx's lists end somewhere; a body that does not is cut off, which the client sees.
        Buffered::Overflow(body) => {
            if rest {
                core.learn_success(credentials, parts.status, asked_at);
            }
            return Ok(Response::from_parts(parts, Body::new(Limited::new(body, longest))));
        }
    };
    let sound = || std::str::from_utf8(&body).is_ok_and(|text| json::check(text).is_ok());
    if parts.status.is_success() && !body.is_empty() && !sound() {
        return Err(UpstreamError::NotJson("broken JSON".to_owned()));
    }
    let answer = UpstreamResponse {
        status: parts.status,
        headers: HeaderMap::new(),
        body,
        json: true,
        asked_at,
        received_at: core.clock.now(),
    };
    if rest {
        core.learn(credentials, &answer).await;
        if error_body::is_token_refused(answer.status, &answer.body) {
            parts.extensions.insert(TokenRefused);
        }
    }
    parts.extensions.insert(AlyxAnswer(answer.body.clone()));
    let body = moved(&answer.body, core.upstream.base(), base);
    parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    Ok(Response::from_parts(parts, Body::from(body)))
}

/// An answer of Alyx's that is not remembered: refusals, errors, HTML.
pub(crate) fn give_unstored(
    core: &Core,
    asked: &Exchange,
    answer: &UpstreamResponse,
    how: CacheStatus,
) -> Response<Body> {
    let body = moved(&answer.body, core.upstream.base(), &asked.base);
    let mut headers = answer.headers.clone();
    headers.remove(header::CONTENT_ENCODING);
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    move_location(&mut headers, core.upstream.base(), &asked.base);
    let mut response =
        Response::new(if asked.method == Method::HEAD { Body::empty() } else { Body::from(body) });
    *response.status_mut() = answer.status;
    *response.headers_mut() = headers;
    how.mark(&mut response);
    response
}

/// A JSON body with its links moved; what is no JSON stays as it is.
fn moved(body: &Bytes, from: &str, to: &str) -> Bytes {
    let links = std::str::from_utf8(body).ok().and_then(|text| links::find(text, &Base::new(from)).ok());
    links.map_or_else(|| body.clone(), |links| links::move_to(body, &links, to))
}

/// A redirect within Alyx leads to the same place on this proxy.
fn move_location(headers: &mut HeaderMap, from: &str, to: &str) {
    for name in [header::LOCATION, header::CONTENT_LOCATION] {
        let moved = headers.get(&name).and_then(|location| {
            let location = location.to_str().ok()?;
            let length = Base::new(from).length_in(location)?;
            HeaderValue::try_from(format!("{to}{}", &location[length..])).ok()
        });
        if let Some(moved) = moved {
            headers.insert(name, moved);
        }
    }
}

/// Whether an answer says that a write was carried out, or may have been.
pub(crate) fn may_have_written(status: StatusCode) -> bool {
    !status.is_client_error()
}
