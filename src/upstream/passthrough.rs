//! Passing a request through as a stream: writes, uploads, files, admin pages.
//!
//! Method, path, body and end-to-end fields go to Alyx as they came; what comes back goes to the
//! client as it comes. Nobody's address is told (`X-Forwarded-For` would become Alyx's throttle
//! key, ALYX.md 4.2), and Alyx is asked under its own name: links and redirects are moved later.

use std::{io, time::Duration};

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt, TryStreamExt};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};

use super::{
    Upstream, UpstreamError, fetch,
    idle_timeout::{LastMoved, broken, with_idle_timeout},
    measure::Measured,
    rate_limit::Caller,
};
use crate::http::{body::has_body, hop_by_hop::end_to_end, response_fields};

/// Fields that say where a request came from; Alyx is not told.
const OF_THE_WAY: [HeaderName; 5] = [
    HeaderName::from_static("forwarded"),
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-real-ip"),
];

/// Bodies up to so many bytes are read before their turn comes.
const SMALL: usize = 64 << 10;
/// No body of a GET is longer.
const LARGE: usize = 1 << 20;

/// An answer to be passed on: its head is here, its body still streams.
#[derive(Debug)]
pub struct Relayed {
    /// Status, end-to-end fields and streaming body.
    pub response: Response<Body>,
    /// Whether its body is said to be JSON.
    pub json: bool,
}

impl Upstream {
    /// Passes a request to Alyx. `timeout` bounds each wait without progress, either way.
    pub async fn relay(
        &self,
        request: Request<Body>,
        who: Option<&Caller>,
        client_base: &str,
        timeout: Duration,
    ) -> Result<Relayed, UpstreamError> {
        if self.health.is_down() {
            return Err(UpstreamError::Offline);
        }
        // Whoever is slow to say what it wants does not keep a place while it does.
        let (request, whole) = read_small(request, timeout).await?;
        let deadline = self.clock.instant() + timeout;
        let turn = if whole {
            self.pace.turn(who, deadline).await?
        } else {
            self.pace.upload(who, deadline).await?
        };
        let again = clone_for_retry(&request);
        let sent = self.relay_once(request, who, client_base, timeout);
        let sent = if whole || Caller::is_user(who) {
            sent.await
        } else {
            // Whom Alyx has not accepted has no place for longer than a request may take in all.
            tokio::time::timeout(timeout, sent).await.unwrap_or(Err(UpstreamError::Slow { begun: true }))
        };
        let result = match (sent, again) {
            (Err(UpstreamError::Reset), Some(again)) => {
                self.relay_once(again, who, client_base, timeout).await
            }
            (result, _) => result,
        };
        drop(turn);
        match &result {
            Ok(_) => self.health.answered(),
            Err(failure) => self.health.failed(failure),
        }
        result
    }

    async fn relay_once(
        &self,
        request: Request<Body>,
        who: Option<&Caller>,
        client_base: &str,
        timeout: Duration,
    ) -> Result<Relayed, UpstreamError> {
        let measured = Measured::begin();
        let response = self.send_on(request, client_base, timeout).await;
        measured.end(&self.judged(&response));
        let response = response?;
        let kind = fetch::media_type(response.headers());
        self.judge_relayed(who, &response)?;
        let (status, headers) = (response.status(), response_fields::of_alyx(response.headers()));
        let body = response.bytes_stream().map_err(|error| io::Error::other(error.without_url()));
        Ok(Relayed { response: passed(status, headers, body, timeout), json: fetch::is_json(&kind) })
    }

    async fn send_on(
        &self,
        request: Request<Body>,
        client_base: &str,
        timeout: Duration,
    ) -> Result<reqwest::Response, UpstreamError> {
        let (parts, body) = request.into_parts();
        let path_and_query = parts.uri.path_and_query().map_or("/", |both| both.as_str());
        let url = self.url_of(path_and_query)?;
        let progress = LastMoved::of(&parts.headers, &body);
        let mut headers = end_to_end(&parts.headers);
        prepare(&mut headers, client_base, &self.base);
        let mut outgoing = self.relayer.request(parts.method, url).headers(headers);
        if has_body(&parts.headers) {
            outgoing = outgoing.body(reqwest::Body::wrap_stream(progress.watch(body)));
        }
        let response = progress.unless_stalled(outgoing.send(), timeout).await?;
        response.map_err(|error| progress.cause().unwrap_or_else(|| UpstreamError::of(&error)))
    }

    /// Whether an answer to what may write is Alyx's own. A redirect is none: clients make a GET of what they sent, and take
    /// what comes for an answer to it. Nor is a page, but for who asked for one (Django's forms).
    pub fn judge_write(&self, relayed: &Relayed, page: bool) -> Result<(), UpstreamError> {
        let (status, headers) = (relayed.response.status(), relayed.response.headers());
        let kind = fetch::media_type(headers);
        let failure = if status.is_redirection() && status != StatusCode::NOT_MODIFIED {
            UpstreamError::Elsewhere(
                self.elsewhere(headers).unwrap_or_else(|| "another path of its own".to_owned()),
            )
        } else if status.is_success() && !relayed.json && !kind.is_empty() && !page {
            UpstreamError::NotJson(kind)
        } else {
            return Ok(());
        };
        self.health.failed(&failure);
        Err(failure)
    }

    /// A gateway's error page is not Alyx's answer; a pause that Alyx asks for is, and is kept to and passed on.
    fn judge_relayed(&self, who: Option<&Caller>, response: &reqwest::Response) -> Result<(), UpstreamError> {
        let judged = self.judge_head(response);
        self.heed(who, &judged);
        match judged {
            Err(failure @ (UpstreamError::Unavailable(_) | UpstreamError::Switched)) => Err(failure),
            _ => Ok(()),
        }
    }
}

/// Makes the fields of a client's request those of the proxy's, to the server at `base`.
pub(super) fn prepare(headers: &mut HeaderMap, client_base: &str, base: &str) {
    headers.remove(header::HOST);
    response_fields::without_own_cookies(headers);
    for name in &OF_THE_WAY {
        headers.remove(name);
    }
    // Django compares these with its own host before it accepts a form.
    for name in [header::ORIGIN, header::REFERER] {
        let moved = headers
            .get(&name)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix(client_base))
            .and_then(|rest| HeaderValue::from_str(&format!("{base}{rest}")).ok());
        if let Some(moved) = moved {
            headers.insert(name, moved);
        }
    }
    if let Some(authorization) = headers.get_mut(header::AUTHORIZATION) {
        authorization.set_sensitive(true);
    }
    headers.append(header::VIA, HeaderValue::from_static("1.1 alyx-proxy"));
}

/// The same request to be sent again where it is cut off before its answer: it may have met a kept connection just as the
/// other end closed it. None where it may change something, or has a body that is gone then (RFC 9110 9.2.2).
pub(super) fn clone_for_retry(request: &Request<Body>) -> Option<Request<Body>> {
    let may = request.method().is_safe() && !has_body(request.headers());
    may.then(|| {
        let mut again = Request::new(Body::empty());
        request.method().clone_into(again.method_mut());
        request.uri().clone_into(again.uri_mut());
        request.headers().clone_into(again.headers_mut());
        again
    })
}

/// The response as the client gets it, its body as it comes.
pub(super) fn passed<S>(status: StatusCode, headers: HeaderMap, body: S, timeout: Duration) -> Response<Body>
where
    S: Stream<Item = io::Result<Bytes>> + Send + 'static,
{
    let mut passed = Response::new(Body::from_stream(with_idle_timeout(body, timeout)));
    *passed.status_mut() = status;
    *passed.headers_mut() = headers;
    passed
}

/// Reads a small body whole, and any body of a GET, within `timeout`; whether it is whole then. Of a larger one the
/// beginning is read.
async fn read_small(
    request: Request<Body>,
    timeout: Duration,
) -> Result<(Request<Body>, bool), UpstreamError> {
    let (mut parts, body) = request.into_parts();
    if !has_body(&parts.headers) {
        return Ok((Request::from_parts(parts, body), true));
    }
    // Without a length hyper sends none of what these methods bring.
    let all = matches!(parts.method, Method::GET | Method::HEAD);
    let mut stream = body.into_data_stream();
    let mut read = BytesMut::new();
    let deadline = tokio::time::Instant::now() + timeout;
    while read.len() <= if all { LARGE } else { SMALL } {
        match tokio::time::timeout_at(deadline, stream.try_next()).await {
            Ok(Ok(Some(chunk))) => read.extend_from_slice(&chunk),
            Ok(Ok(None)) => {
                parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(read.len()));
                return Ok((Request::from_parts(parts, Body::from(read.freeze())), true));
            }
            Ok(Err(error)) => return Err(broken(&error, false)),
            Err(_) => return Err(UpstreamError::Slow { begun: false }),
        }
    }
    if all {
        return Err(UpstreamError::BodyTooLarge);
    }
    let read = futures_util::stream::once(std::future::ready(Ok(read.freeze())));
    Ok((Request::from_parts(parts, Body::from_stream(read.chain(stream))), false))
}
