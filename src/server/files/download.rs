//! Fetching a file, and giving it while it comes.
//!
//! The client reads along while the file is written beside. Its last piece is held back until the
//! file is whole and in its place: who has all of it finds it kept, and a download that breaks off
//! shows as one and replaces nothing.

use std::{
    io,
    path::PathBuf,
    sync::{Arc, PoisonError},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use tokio::{fs::File, io::AsyncWriteExt, sync::mpsc};

use super::{Kept, hash_of, offers_none};
use crate::{
    access::Credentials,
    clock,
    responses::Entry,
    server::{
        Asked, Proxy,
        status::{Forward, How},
    },
    upstream::Failure,
};

/// The fields of the answer that are kept with a file.
const KEPT_FIELDS: [HeaderName; 4] =
    [header::CONTENT_TYPE, header::CONTENT_DISPOSITION, header::ALLOW, header::VARY];

/// Pieces that may wait for a slow client.
const AHEAD: usize = 16;

type Piece = Result<Bytes, io::Error>;

/// Fetches the tables of a tag for this caller and keeps them.
pub(super) async fn answer(
    proxy: &Arc<Proxy>,
    asked: &Asked,
    credentials: &Credentials,
    tag: &str,
    info: Option<&Entry>,
    why: Forward,
) -> Result<Response<Body>, Failure> {
    let place = Proxy::place_of_tables(tag, info)?;
    let field = match credentials {
        Credentials::Token { field, .. } => Some(field),
        _ => None,
    };
    let asked_at = clock::stamp();
    let timeout = asked.settings.upstream.timeout.0;
    let who = proxy.caller(credentials, &asked.route);
    let upstream = proxy.upstream.download(&place, field, who.as_ref(), timeout).await?;
    let status = upstream.status();
    if offers_none(status)
        && let Some(own) = super::own(proxy, asked, tag, None).await
    {
        return Ok(own);
    }
    let length = upstream.content_length();
    let storable =
        status == StatusCode::OK && length.is_none_or(|length| length <= asked.settings.cache.max_file.0);
    let reserved = if storable { Reserved::take(proxy, tag) } else { None };
    let name = uuid::Uuid::new_v4().simple().to_string();
    let headers: HeaderMap = KEPT_FIELDS
        .iter()
        .filter_map(|name| Some((name.clone(), upstream.headers().get(name)?.clone())))
        .collect();
    let how = How::Forwarded { why, status: status.as_u16(), stored: reserved.is_some(), collapsed: false };
    proxy.counters.count(how);
    let (pieces, body) = mpsc::channel::<Piece>(AHEAD);
    let mut response = Response::new(Body::from_stream(tokio_stream(body)));
    *response.status_mut() = status;
    response.headers_mut().extend(headers.clone());
    if let Some(length) = length {
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    if reserved.is_some() {
        response.headers_mut().insert(header::ETAG, Kept::entity_tag(&name));
        response.headers_mut().insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    }
    how.mark(&mut response);
    let path = proxy.files.folder.join(&name);
    let kept =
        Kept { name, path, headers, length: 0, info: info.map(hash_of), asked_at, received_at: asked_at };
    let arriving =
        Arriving { upstream, pieces, timeout, limit: asked.settings.cache.max_file.0, expected: length };
    tokio::spawn(arriving.run(proxy.clone(), tag.to_owned(), kept, reserved));
    Ok(response)
}

fn tokio_stream(body: mpsc::Receiver<Piece>) -> impl futures_util::Stream<Item = Piece> {
    futures_util::stream::unfold(body, |mut body| async move { body.recv().await.map(|piece| (piece, body)) })
}

/// The right to keep the tables of a tag: one download of them at a time is written down.
struct Reserved {
    proxy: Arc<Proxy>,
    tag: String,
}

impl Reserved {
    fn take(proxy: &Arc<Proxy>, tag: &str) -> Option<Self> {
        let mut under_way = proxy.files.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        under_way.insert(tag.to_owned()).then(|| Self { proxy: proxy.clone(), tag: tag.to_owned() })
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.proxy.files.under_way.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.tag);
    }
}

/// A file on its way.
struct Arriving {
    upstream: reqwest::Response,
    pieces: mpsc::Sender<Piece>,
    /// The longest wait for a piece, from Alyx or by a client that does not read.
    timeout: Duration,
    limit: u64,
    expected: Option<u64>,
}

/// A file that is being written; one that was not finished goes.
struct Writing {
    file: File,
    path: PathBuf,
    finished: bool,
}

impl Drop for Writing {
    fn drop(&mut self) {
        if !self.finished
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::warn!(%error, "a part of a file was not removed");
        }
    }
}

impl Arriving {
    async fn run(mut self, proxy: Arc<Proxy>, tag: String, mut kept: Kept, reserved: Option<Reserved>) {
        let mut writing = match &reserved {
            Some(_) => begin(&kept.path).await,
            None => None,
        };
        let mut held: Option<Bytes> = None;
        let ended = loop {
            match tokio::time::timeout(self.timeout, self.upstream.chunk()).await {
                Ok(Ok(Some(piece))) => {
                    kept.length += piece.len() as u64;
                    if kept.length > self.limit || !write(writing.as_mut(), &piece).await {
                        writing = None;
                    }
                    if let Some(piece) = held.replace(piece) {
                        self.send(Ok(piece)).await;
                    }
                }
                Ok(Ok(None)) => break self.expected.is_none_or(|expected| expected == kept.length),
                Ok(Err(_)) | Err(_) => break false,
            }
        };
        if !ended {
            tracing::warn!("a download of the cache tables broke off; what was kept stays");
            self.send(Err(io::ErrorKind::UnexpectedEof.into())).await;
            return;
        }
        if let Some(writing) = writing {
            kept.received_at = clock::now();
            finish(writing, &proxy, &tag, kept).await;
        }
        drop(reserved);
        if let Some(last) = held {
            self.send(Ok(last)).await;
        }
    }

    /// Gives a piece to the client; one that has gone, or does not read, gets no more, and the file
    /// is kept all the same.
    async fn send(&mut self, piece: Piece) {
        if tokio::time::timeout(self.timeout, self.pieces.send(piece)).await.is_err() {
            self.pieces = mpsc::channel(1).0;
        }
    }
}

async fn begin(path: &std::path::Path) -> Option<Writing> {
    match File::create_new(path).await {
        Ok(file) => Some(Writing { file, path: path.to_owned(), finished: false }),
        Err(error) => {
            tracing::error!(%error, "the cache tables can't be kept");
            None
        }
    }
}

async fn write(writing: Option<&mut Writing>, piece: &Bytes) -> bool {
    let Some(writing) = writing else { return true };
    let written = writing.file.write_all(piece).await;
    if let Err(error) = &written {
        tracing::error!(%error, "the cache tables can't be kept");
    }
    written.is_ok()
}

async fn finish(mut writing: Writing, proxy: &Proxy, tag: &str, kept: Kept) {
    let synced = async {
        writing.file.flush().await?;
        writing.file.sync_all().await
    };
    if let Err(error) = synced.await {
        tracing::error!(%error, "the cache tables can't be kept");
        return;
    }
    match proxy.files.keep(tag, kept, &proxy.store).await {
        Ok(()) => writing.finished = true,
        Err(error) => tracing::error!(%error, "the cache tables can't be kept"),
    }
}
