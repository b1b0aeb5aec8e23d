//! Answers before the answer (1xx, RFC 9110 15.2), which a proxy has to pass on and hyper's server can't send.
//!
//! They are written past hyper, at a moment when that can't mix with anything else: hyper flushes a connection only
//! after all that it had to write is written, and while a request is being answered nothing of its answer has been
//! written yet. So what waits here goes out when hyper flushes, and the answer waits for it ([`Interim::sent`]).

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use bytes::{Buf, BufMut, BytesMut};
use futures_util::task::AtomicWaker;
use http::{HeaderMap, StatusCode};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::Notify,
};

/// So many bytes wait at most. What is more is left out: nobody depends on such answers.
const MOST: usize = 64 << 10;

/// Where answers before the answer go, to one connection of HTTP/1.1.
#[derive(Debug, Clone, Default)]
pub(crate) struct Interim(Arc<InterimQueue>);

#[derive(Debug, Default)]
struct InterimQueue {
    waiting: Mutex<BytesMut>,
    connection: AtomicWaker,
    sent: Notify,
}

impl Interim {
    /// Sends one, soon.
    pub(crate) fn send(&self, status: StatusCode, headers: &HeaderMap) {
        let mut head = BytesMut::new();
        head.put_slice(b"HTTP/1.1 ");
        head.put_slice(status.as_str().as_bytes());
        head.put_u8(b' ');
        head.put_slice(status.canonical_reason().unwrap_or_default().as_bytes());
        head.put_slice(b"\r\n");
        for (name, value) in headers {
            head.put_slice(name.as_str().as_bytes());
            head.put_slice(b": ");
            head.put_slice(value.as_bytes());
            head.put_slice(b"\r\n");
        }
        head.put_slice(b"\r\n");
        let mut waiting = self.waiting();
        if waiting.len() + head.len() <= MOST {
            waiting.put(head);
            drop(waiting);
            self.0.connection.wake();
        }
    }

    /// Completes when nothing waits any more: then the answer itself may go.
    pub(crate) async fn sent(&self) {
        while !self.waiting().is_empty() {
            self.0.sent.notified().await;
        }
    }

    fn waiting(&self) -> MutexGuard<'_, BytesMut> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that sends what waits in an [`Interim`], if it has one.
#[derive(Debug)]
pub(crate) struct Sending<S> {
    stream: S,
    interim: Option<Interim>,
    /// A part of what waits has been written.
    begun: bool,
}

impl<S: AsyncWrite + Unpin> Sending<S> {
    pub(crate) fn new(stream: S, interim: Option<Interim>) -> Self {
        Self { stream, interim, begun: false }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(interim) = &self.interim else { return Poll::Ready(Ok(())) };
        let mut waiting = interim.waiting();
        while !waiting.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &waiting))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            waiting.advance(written);
            self.begun = !waiting.is_empty();
            if waiting.is_empty() {
                interim.0.sent.notify_one();
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Sending<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Sending<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        // An answer that did not wait (a panic's) does not cut one in two.
        if self.begun {
            ready!(self.poll_send(cx))?;
        }
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.begun {
            ready!(self.poll_send(cx))?;
        }
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(interim) = &self.interim {
            interim.0.connection.register(cx.waker());
        }
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
