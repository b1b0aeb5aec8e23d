//! Passing a request through as a stream: writes, uploads, files, admin pages.
//!
//! Method, path, body and end-to-end fields go to Alyx as they came; what comes back goes to the
//! client as it comes. Nobody's address is told (`X-Forwarded-For` would become Alyx's throttle
//! key, REST.md 4.2), and Alyx is asked under its own name: links and redirects are moved later.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use axum::body::{Body, HttpBody};
use bytes::BytesMut;
use futures_util::{StreamExt, TryStreamExt};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header};

use super::{Failure, Upstream, end_to_end, fetch, pace::Caller};

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
/// A larger one, and the body of an answer, must bring so many bytes a second, after a first `timeout`.
const SLOWEST: u64 = 1024;

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
    ) -> Result<Relayed, Failure> {
        if self.health.is_down() {
            return Err(Failure::Away);
        }
        // Whoever is slow to say what it wants does not keep a place while it does.
        let (request, whole) = read_small(request, timeout).await?;
        let deadline = Instant::now() + timeout;
        let turn = if whole {
            self.pace.turn(who, deadline).await?
        } else {
            self.pace.upload(who, deadline).await?
        };
        let result = self.relay_once(request, client_base, timeout).await;
        drop(turn);
        match &result {
            Ok(_) => self.health.answered(),
            Err(failure) => self.health.failed(failure),
        }
        result
    }

    /// Passes a request to the origin and whatever it says back, without a turn and without judging it.
    pub async fn exchange(
        &self,
        request: Request<Body>,
        client_base: &str,
        timeout: Duration,
    ) -> Result<Response<Body>, Failure> {
        Ok(passed(self.send_on(request, client_base, timeout).await?, timeout))
    }

    async fn relay_once(
        &self,
        request: Request<Body>,
        client_base: &str,
        timeout: Duration,
    ) -> Result<Relayed, Failure> {
        let response = self.send_on(request, client_base, timeout).await?;
        let kind = fetch::media_type(response.headers());
        self.judge_relayed(&response)?;
        Ok(Relayed { response: passed(response, timeout), json: fetch::is_json(&kind) })
    }

    async fn send_on(
        &self,
        request: Request<Body>,
        client_base: &str,
        timeout: Duration,
    ) -> Result<reqwest::Response, Failure> {
        let (parts, body) = request.into_parts();
        let path_and_query = parts.uri.path_and_query().map_or("/", |both| both.as_str());
        let url = self.url_of(path_and_query)?;
        let progress = Progress::of(&parts.headers, &body);
        let mut headers = end_to_end(&parts.headers);
        self.prepare(&mut headers, client_base);
        let mut outgoing = self.relayer.request(parts.method, url).headers(headers);
        if has_body(&parts.headers) {
            outgoing = outgoing.body(reqwest::Body::wrap_stream(progress.watch(body)));
        }
        tokio::select! {
            response = outgoing.send() => response.map_err(|error| progress.fault().unwrap_or(Failure::of(&error))),
            // Whose fault it is shows in who has yet to say something.
            () = progress.stalled(timeout) => {
                Err(if progress.is_brought() { Failure::Timeout } else { Failure::Slow })
            }
        }
    }

    /// A gateway's error page is not Alyx's answer; a pause that Alyx asks for is, and is passed on.
    fn judge_relayed(&self, response: &reqwest::Response) -> Result<(), Failure> {
        match self.judge_head(response) {
            Err(failure @ Failure::Unavailable(_)) => Err(failure),
            _ => Ok(()),
        }
    }

    fn prepare(&self, headers: &mut HeaderMap, client_base: &str) {
        headers.remove(header::HOST);
        for name in &OF_THE_WAY {
            headers.remove(name);
        }
        // Django compares these with its own host before it accepts a form.
        for name in [header::ORIGIN, header::REFERER] {
            let moved = headers
                .get(&name)
                .and_then(|value| value.to_str().ok())
                .and_then(|value| value.strip_prefix(client_base))
                .and_then(|rest| HeaderValue::from_str(&format!("{}{rest}", self.base)).ok());
            if let Some(moved) = moved {
                headers.insert(name, moved);
            }
        }
        if let Some(authorization) = headers.get_mut(header::AUTHORIZATION) {
            authorization.set_sensitive(true);
        }
        headers.insert(header::VIA, HeaderValue::from_static("1.1 alyx-proxy"));
    }
}

/// The response as the client gets it: fields of the connection left out, its body as it comes.
fn passed(response: reqwest::Response, timeout: Duration) -> Response<Body> {
    let mut passed = Response::new(Body::empty());
    *passed.status_mut() = response.status();
    *passed.headers_mut() = end_to_end(response.headers());
    *passed.body_mut() = Body::from_stream(bounded(response, timeout));
    passed
}

/// Reads a small body whole, within `timeout`; whether it is whole then. Of a larger one the beginning is read.
async fn read_small(request: Request<Body>, timeout: Duration) -> Result<(Request<Body>, bool), Failure> {
    let (parts, body) = request.into_parts();
    if !has_body(&parts.headers) {
        return Ok((Request::from_parts(parts, body), true));
    }
    let mut stream = body.into_data_stream();
    let mut read = BytesMut::new();
    let deadline = tokio::time::Instant::now() + timeout;
    while read.len() <= SMALL {
        match tokio::time::timeout_at(deadline, stream.try_next()).await {
            Ok(Ok(Some(chunk))) => read.extend_from_slice(&chunk),
            Ok(Ok(None)) => return Ok((Request::from_parts(parts, Body::from(read.freeze())), true)),
            Ok(Err(error)) => return Err(broken(&error)),
            Err(_) => return Err(Failure::Slow),
        }
    }
    let read = futures_util::stream::once(std::future::ready(Ok(read.freeze())));
    Ok((Request::from_parts(parts, Body::from_stream(read.chain(stream))), false))
}

/// What an error of a client's body means.
fn broken(error: &axum::Error) -> Failure {
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        if inner.is::<http_body_util::LengthLimitError>() {
            return Failure::BodyTooLarge;
        }
        cause = inner.source();
    }
    Failure::Unsent
}

/// Whether a request carries a body, be it empty (RFC 9112 6.3).
pub fn has_body(headers: &HeaderMap) -> bool {
    headers.contains_key(header::CONTENT_LENGTH) || headers.contains_key(header::TRANSFER_ENCODING)
}

/// When something last moved on a request's way to Alyx.
#[derive(Debug, Clone)]
struct Progress {
    start: Instant,
    /// Milliseconds from `start`.
    last: Arc<AtomicU64>,
    bytes: Arc<AtomicU64>,
    /// How long the body is, where that is known.
    length: Option<u64>,
    ended: Arc<AtomicBool>,
    fault: Arc<Mutex<Option<Failure>>>,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            start: Instant::now(),
            last: Arc::default(),
            bytes: Arc::default(),
            length: None,
            ended: Arc::default(),
            fault: Arc::default(),
        }
    }
}

impl Progress {
    fn watch(
        &self,
        body: Body,
    ) -> impl futures_util::TryStream<Ok = bytes::Bytes, Error = axum::Error> + Send + use<> {
        let progress = self.clone();
        let ended = self.ended.clone();
        let end = futures_util::stream::poll_fn(move |_| {
            ended.store(true, Ordering::Relaxed);
            std::task::Poll::Ready(None)
        });
        let stream = body.into_data_stream().inspect_ok(move |chunk| {
            let millis = u64::try_from(progress.start.elapsed().as_millis()).unwrap_or(u64::MAX);
            progress.last.store(millis, Ordering::Relaxed);
            progress.bytes.fetch_add(chunk.len() as u64, Ordering::Relaxed);
        });
        let fault = self.fault.clone();
        let stream = stream.inspect_err(move |error| {
            *fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(broken(error));
        });
        stream.chain(end)
    }

    /// Of a request with this head and body.
    fn of(headers: &HeaderMap, body: &Body) -> Self {
        let said = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        let length = if has_body(headers) { body.size_hint().exact().or(said) } else { Some(0) };
        Self { length, ..Self::default() }
    }

    /// Whether all of the body has been here.
    fn is_brought(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
            || self.length.is_some_and(|length| self.bytes.load(Ordering::Relaxed) >= length)
    }

    /// What was wrong with the client's body.
    fn fault(&self) -> Option<Failure> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Completes when nothing has moved for `timeout`, or what comes of the body comes too slowly.
    async fn stalled(&self, timeout: Duration) {
        loop {
            let late = self.start.elapsed().saturating_sub(timeout);
            let due = late.as_secs().saturating_mul(SLOWEST);
            if !self.is_brought() && self.bytes.load(Ordering::Relaxed) < due {
                return;
            }
            let deadline = self.start + Duration::from_millis(self.last.load(Ordering::Relaxed)) + timeout;
            if deadline <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(deadline.into()).await;
        }
    }
}

/// The body of an answer, ending in an error if it stands still for `timeout`, or comes as good as not at all. The time
/// that its reader takes does not count.
fn bounded(
    response: reqwest::Response,
    timeout: Duration,
) -> impl futures_util::Stream<Item = Result<bytes::Bytes, std::io::Error>> + Send {
    let begin = (response, Duration::ZERO, 0_u64);
    futures_util::stream::try_unfold(begin, move |(mut response, waited, bytes)| async move {
        let start = Instant::now();
        let allowed = (timeout + Duration::from_secs(bytes / SLOWEST)).saturating_sub(waited).min(timeout);
        match tokio::time::timeout(allowed, response.chunk()).await {
            Ok(Ok(Some(chunk))) => {
                let bytes = bytes + chunk.len() as u64;
                Ok(Some((chunk, (response, waited + start.elapsed(), bytes))))
            }
            Ok(Ok(None)) => Ok(None),
            Ok(Err(error)) => Err(std::io::Error::other(error.without_url())),
            Err(_) => Err(std::io::ErrorKind::TimedOut.into()),
        }
    })
}
