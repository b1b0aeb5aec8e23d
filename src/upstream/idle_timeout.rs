//! How a request and its answer move, so that what stands still ends.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt};
use http::{HeaderMap, header};
use tokio::time::Instant;

use super::UpstreamError;
use crate::http::body::has_body;

/// A body must bring so many bytes a second, after a first `timeout`;
const SLOWEST: u64 = 1024;
/// and as many more with each minute that it takes, up to so many times as many: nobody has a place for days.
const MOST_TIMES: u64 = 64;

/// What an error of a client's body means, where some of it has been sent on or not.
pub(crate) fn broken(error: &axum::Error, begun: bool) -> UpstreamError {
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        if inner.is::<http_body_util::LengthLimitError>() {
            return UpstreamError::BodyTooLarge;
        }
        // A chunk that is none; what merely ends too soon is of another kind.
        let kind = inner.downcast_ref::<io::Error>().map(io::Error::kind);
        if matches!(kind, Some(io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData)) {
            return UpstreamError::Malformed;
        }
        cause = inner.source();
    }
    UpstreamError::Unsent { begun }
}

/// When something last moved on a request's way to Alyx.
#[derive(Debug, Clone)]
pub(super) struct LastMoved {
    start: Instant,
    /// Milliseconds from `start`.
    last: Arc<AtomicU64>,
    bytes: Arc<AtomicU64>,
    /// How long the body is, where that is known.
    length: Option<u64>,
    ended: Arc<AtomicBool>,
    fault: Arc<Mutex<Option<UpstreamError>>>,
}

impl Default for LastMoved {
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

impl LastMoved {
    pub(super) fn watch(
        &self,
        body: Body,
    ) -> impl futures_util::TryStream<Ok = Bytes, Error = axum::Error> + Send + use<> {
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
            *fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(broken(error, true));
        });
        stream.chain(end)
    }

    /// Of a request with this head and body.
    pub(super) fn of(headers: &HeaderMap, body: &Body) -> Self {
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
    pub(super) fn cause(&self) -> Option<UpstreamError> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What a server answers, unless nothing moves for `timeout`.
    pub(super) async fn unless_stalled<T>(
        &self,
        answer: impl Future<Output = T>,
        timeout: Duration,
    ) -> Result<T, UpstreamError> {
        tokio::select! {
            answer = answer => Ok(answer),
            // Whose fault it is shows in who has yet to say something.
            () = self.stalled(timeout) => {
                Err(if self.is_brought() { UpstreamError::Timeout } else { UpstreamError::Slow { begun: true } })
            }
        }
    }

    /// Completes when nothing has moved for `timeout`, or what comes of the body comes too slowly.
    async fn stalled(&self, timeout: Duration) {
        loop {
            let late = self.start.elapsed().saturating_sub(timeout);
            let times = (1 + late.as_secs() / 60).min(MOST_TIMES);
            let due = late.as_secs().saturating_mul(SLOWEST * times);
            if !self.is_brought() && self.bytes.load(Ordering::Relaxed) < due {
                return;
            }
            let deadline = self.start + Duration::from_millis(self.last.load(Ordering::Relaxed)) + timeout;
            if deadline <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(deadline).await;
        }
    }
}

/// The body of an answer, ending in an error if it stands still for `timeout`, or comes as good as not at all. The time
/// that its reader takes does not count.
pub(super) fn with_idle_timeout<S>(body: S, timeout: Duration) -> impl Stream<Item = io::Result<Bytes>> + Send
where
    S: Stream<Item = io::Result<Bytes>> + Send,
{
    let begin = (Box::pin(body), Duration::ZERO, 0_u64);
    futures_util::stream::try_unfold(begin, move |(mut body, waited, bytes)| async move {
        let start = Instant::now();
        let allowed = (timeout + Duration::from_secs(bytes / SLOWEST)).saturating_sub(waited).min(timeout);
        match tokio::time::timeout(allowed, body.try_next()).await {
            Ok(Ok(Some(chunk))) => {
                let bytes = bytes + chunk.len() as u64;
                Ok(Some((chunk, (body, waited + start.elapsed(), bytes))))
            }
            Ok(Ok(None)) => Ok(None),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    })
}
