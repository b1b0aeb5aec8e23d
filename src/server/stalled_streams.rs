//! Whether a client takes what it has asked for, where it speaks HTTP/2.
//!
//! In HTTP/1.1 a connection stands still while its client takes nothing, and its time-out ends it. In HTTP/2 each stream
//! has a window of its own (RFC 9113 5.2): the connection lives on while an answer waits in a window that its client
//! never opens, and would keep its memory and its place for as long as that client likes.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use axum::body::{Bytes, HttpBody};
use http::Version;
use hyper::body::{Frame, SizeHint};

use super::connection_limit::Answering;

/// So much is handed on at once: an answer is not taken while most of it still waits for a window.
const PIECE: usize = 64 << 10;

/// The requests of one connection, as far as its time-outs need them.
#[derive(Debug, Default)]
pub(crate) struct StreamStallGuard {
    begun: AtomicBool,
    /// Answers of which something could be taken, and since when.
    waiting: Mutex<HashMap<u64, Instant>>,
    next: AtomicU64,
}

impl StreamStallGuard {
    /// A request is here.
    pub(crate) fn begins(&self) {
        self.begun.store(true, Ordering::Relaxed);
    }

    /// The body of an answer, watched where it goes out by HTTP/2.
    pub(crate) fn watch<B>(
        self: &Arc<Self>,
        body: B,
        version: Version,
        answering: Answering,
    ) -> GuardedBody<B> {
        let watch = (version == Version::HTTP_2).then(|| {
            let stream = self.next.fetch_add(1, Ordering::Relaxed) + 1;
            let watch = Watch { of: self.clone(), stream };
            watch.blocked();
            watch
        });
        GuardedBody { body, rest: Bytes::new(), watch, _answering: answering }
    }

    /// Completes where the client says or takes nothing for longer than `timeout`. That it says nothing after its first
    /// request, or takes nothing by HTTP/1.1, is watched elsewhere.
    pub(crate) async fn too_slow(self: Arc<Self>, timeout: Duration) {
        tokio::time::sleep(timeout).await;
        if !self.begun.load(Ordering::Relaxed) {
            return;
        }
        while self.next.load(Ordering::Relaxed) > 0 {
            if self.longest() > timeout {
                return;
            }
            tokio::time::sleep(timeout / 2).await;
        }
        // HTTP/1.1, or nothing but its preface: a connection does not change its version.
        std::future::pending::<()>().await;
    }

    /// How long the slowest answer has waited.
    fn longest(&self) -> Duration {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.values().min().map(Instant::elapsed).unwrap_or_default()
    }
}

#[derive(Debug)]
struct Watch {
    of: Arc<StreamStallGuard>,
    stream: u64,
}

impl Watch {
    /// The client could take something.
    fn blocked(&self) {
        let mut waiting = self.of.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.insert(self.stream, Instant::now());
    }

    /// It has taken what there was.
    fn progressed(&self) {
        self.of.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.stream);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.progressed();
    }
}

/// A body that notes when it is taken.
#[derive(Debug)]
pub(crate) struct GuardedBody<B> {
    body: B,
    rest: Bytes,
    watch: Option<Watch>,
    /// Until it has been taken its request is being answered.
    _answering: Answering,
}

impl<B: HttpBody<Data = Bytes> + Unpin> HttpBody for GuardedBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = &mut *self;
        let Some(watch) = &this.watch else { return Pin::new(&mut this.body).poll_frame(context) };
        // It is asked for more only where there is room for more.
        watch.progressed();
        if this.rest.is_empty() {
            match ready!(Pin::new(&mut this.body).poll_frame(context)).transpose()?.map(Frame::into_data) {
                Some(Ok(data)) => this.rest = data,
                Some(Err(trailers)) => return Poll::Ready(Some(Ok(trailers))),
                None => return Poll::Ready(None),
            }
        }
        watch.blocked();
        let piece = this.rest.split_to(this.rest.len().min(PIECE));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (hint, rest) = (self.body.size_hint(), self.rest.len() as u64);
        let mut all = SizeHint::new();
        all.set_lower(hint.lower() + rest);
        if let Some(upper) = hint.upper() {
            all.set_upper(upper + rest);
        }
        all
    }
}
