//! Fetching a file, and giving it while it comes.
//!
//! The client reads along while the file is written beside. Its last piece is held back until the
//! file is whole and in its place: who has all of it finds it kept, and a download that breaks off,
//! or is no zip to its end, shows as broken off and replaces nothing.

use std::{
    io,
    path::PathBuf,
    sync::{Arc, PoisonError},
    time::Duration,
};

use axum::body::{Body, BodyDataStream};
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use http::{HeaderValue, Response, StatusCode, header};
use tokio::{fs::File, io::AsyncWriteExt, sync::mpsc};

use super::{CacheTables, CachedFile, hash_of, offers_none};
use crate::{
    alyx::cache_zip as zip,
    auth::Credentials,
    cache::Entry,
    http::{
        cache_status::{CacheStatus, ForwardReason},
        stored_fields,
    },
    proxy::{Exchange, authorize::caller},
    upstream::UpstreamError,
};

/// Pieces that may wait for a slow client.
const AHEAD: usize = 16;

/// A piece for the client.
enum Piece {
    More(Bytes),
    Last(Bytes),
}

/// What is asked for, and what is known of it.
#[derive(Debug)]
pub(super) struct TablesRequest<'a> {
    pub(super) tag: &'a str,
    /// Their description.
    pub(super) info: Option<&'a Entry>,
    /// Whether older ones are kept that this caller may have.
    pub(super) kept: bool,
}

/// Fetches the tables of a tag for this caller and keeps them.
pub(super) async fn answer(
    tables: &Arc<CacheTables>,
    asked: &Exchange,
    credentials: &Credentials,
    wanted: TablesRequest<'_>,
    why: ForwardReason,
) -> Result<Response<Body>, UpstreamError> {
    let TablesRequest { tag, info, kept: others } = wanted;
    let place = CacheTables::place_of(tag, info)?;
    let field = match credentials {
        Credentials::Token { field, .. } => Some(field),
        _ => None,
    };
    let asked_at = tables.core.clock.stamp();
    let timeout = asked.settings.upstream.timeout.0;
    let who = caller(&tables.core, credentials, &asked.route);
    let (upstream, body) =
        tables.core.upstream.download(&place, field, who.as_ref(), timeout).await?.into_parts();
    let status = upstream.status;
    if offers_none(status)
        && let Some(own) = super::own(tables, asked, tag, None).await
    {
        return Ok(own);
    }
    if others && status.is_server_error() {
        return Err(UpstreamError::Unavailable(status.as_u16()));
    }
    let mut body = body.into_data_stream();
    let zip = status == StatusCode::OK;
    let beginning = if zip { beginning(&mut body).await? } else { Bytes::new() };
    let length = upstream.headers.get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    let limit = asked.settings.cache.max_file.0;
    let storable = zip && length.is_none_or(|length| length <= limit);
    let reserved = if storable { Reserved::take(tables, tag) } else { None };
    let name = uuid::Uuid::new_v4().simple().to_string();
    let fields = if zip { stored_fields::of_zip } else { stored_fields::of_answer };
    let headers = fields(&upstream.headers);
    let how =
        CacheStatus::Forwarded { why, status: status.as_u16(), stored: reserved.is_some(), collapsed: false };
    let (pieces, coming) = mpsc::channel(AHEAD);
    let mut response = Response::new(Body::from_stream(pieces_of(coming)));
    *response.status_mut() = status;
    response.headers_mut().extend(headers.clone());
    if let Some(length) = length {
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    if reserved.is_some() {
        response.headers_mut().insert(header::ETAG, CachedFile::entity_tag(&name));
        response.headers_mut().insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    }
    how.mark(&mut response);
    let path = tables.files.folder.join(&name);
    let kept = CachedFile {
        name,
        path,
        headers,
        length: 0,
        info: info.map(hash_of),
        asked_at,
        received_at: asked_at,
    };
    let arriving = Download { beginning, body, zip, client: Some(pieces), timeout, limit, expected: length };
    tokio::spawn(arriving.run(tables.clone(), tag.to_owned(), kept, reserved));
    Ok(response)
}

/// Reads so much as shows whether a zip comes: what is none is better known before the client gets anything of it.
async fn beginning(body: &mut BodyDataStream) -> Result<Bytes, UpstreamError> {
    let mut read = BytesMut::new();
    while read.len() < zip::BEGINNING
        && let Some(piece) = body.try_next().await.map_err(|_| UpstreamError::Truncated)?
    {
        read.extend_from_slice(&piece);
    }
    if zip::begins(&read) { Ok(read.freeze()) } else { Err(UpstreamError::NotZip) }
}

/// A body of these pieces; where they end without the last one, it breaks off.
fn pieces_of(coming: mpsc::Receiver<Piece>) -> impl Stream<Item = io::Result<Bytes>> {
    stream::unfold(Some(coming), |coming| async move {
        let mut coming = coming?;
        Some(match coming.recv().await {
            Some(Piece::More(piece)) => (Ok(piece), Some(coming)),
            Some(Piece::Last(piece)) => (Ok(piece), None),
            None => (Err(io::ErrorKind::UnexpectedEof.into()), None),
        })
    })
}

/// The right to keep the tables of a tag: one download of them at a time is written down.
struct Reserved {
    tables: Arc<CacheTables>,
    tag: String,
}

impl Reserved {
    fn take(tables: &Arc<CacheTables>, tag: &str) -> Option<Self> {
        let mut under_way = tables.files.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        under_way.insert(tag.to_owned()).then(|| Self { tables: tables.clone(), tag: tag.to_owned() })
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.tables.files.under_way.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.tag);
    }
}

/// A file on its way.
struct Download {
    beginning: Bytes,
    body: BodyDataStream,
    /// Whether it must be a zip to its end.
    zip: bool,
    /// Its reader, until it has gone.
    client: Option<mpsc::Sender<Piece>>,
    /// The longest wait for a client that does not read.
    timeout: Duration,
    limit: u64,
    expected: Option<u64>,
}

/// A file that is being written; one that was not finished goes.
struct Writing {
    file: File,
    path: PathBuf,
    finished: bool,
    _reserved: Reserved,
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

impl Download {
    async fn run(
        mut self,
        tables: Arc<CacheTables>,
        tag: String,
        mut kept: CachedFile,
        reserved: Option<Reserved>,
    ) {
        let mut writing = match reserved {
            Some(reserved) => begin(&kept.path, reserved).await,
            None => None,
        };
        let (mut held, mut end) = (None, zip::End::default());
        let beginning = std::mem::take(&mut self.beginning);
        let mut pieces = stream::iter((!beginning.is_empty()).then_some(Ok(beginning))).chain(self.body);
        let whole = loop {
            if writing.is_none() && self.client.is_none() {
                tracing::debug!("cache tables that are not kept lost their reader");
                return;
            }
            match pieces.try_next().await {
                Ok(Some(piece)) => {
                    kept.length += piece.len() as u64;
                    end.add(&piece);
                    if kept.length > self.limit || !write(writing.as_mut(), &piece).await {
                        writing = None;
                    }
                    if let Some(piece) = held.replace(piece) {
                        self.client = send(self.client, Piece::More(piece), self.timeout).await;
                    }
                }
                Ok(None) => {
                    let all = self.expected.is_none_or(|expected| expected == kept.length);
                    break all && (!self.zip || end.is_of_a_zip());
                }
                Err(_) => break false,
            }
        };
        if !whole {
            tracing::warn!("a download of the cache tables broke off; what was kept stays");
            return;
        }
        if let Some(writing) = writing {
            kept.received_at = tables.core.clock.now();
            finish(writing, &tables, &tag, kept).await;
        }
        send(self.client, Piece::Last(held.unwrap_or_default()), self.timeout).await;
    }
}

/// Gives a piece to a client, and it back; one that has gone, or does not read, gets no more.
async fn send(
    client: Option<mpsc::Sender<Piece>>,
    piece: Piece,
    timeout: Duration,
) -> Option<mpsc::Sender<Piece>> {
    let client = client?;
    let sent = tokio::time::timeout(timeout, client.send(piece)).await;
    matches!(sent, Ok(Ok(()))).then_some(client)
}

async fn begin(path: &std::path::Path, reserved: Reserved) -> Option<Writing> {
    match File::create_new(path).await {
        Ok(file) => Some(Writing { file, path: path.to_owned(), finished: false, _reserved: reserved }),
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

async fn finish(mut writing: Writing, tables: &CacheTables, tag: &str, kept: CachedFile) {
    let synced = async {
        writing.file.flush().await?;
        writing.file.sync_all().await
    };
    if let Err(error) = synced.await {
        tracing::error!(%error, "the cache tables can't be kept");
        return;
    }
    match tables.files.keep(tag, kept, &tables.core.store).await {
        Ok(()) => writing.finished = true,
        Err(error) => tracing::error!(%error, "the cache tables can't be kept"),
    }
}
