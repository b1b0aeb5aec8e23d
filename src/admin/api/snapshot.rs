//! `POST /-/api/export` and `POST /-/api/import`: snapshots of a running proxy, as files that come and go whole.

use std::{
    io,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use axum::body::Body;
use futures_util::StreamExt;
use http::{HeaderValue, Response, StatusCode, header, request::Parts};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio_util::io::ReaderStream;

use super::ActionError;
use crate::{
    data_dir,
    http::cache_status::CacheStatus,
    proxy::{
        core::Core,
        error::{self, ProxyError},
        floors::Floors,
        snapshot,
    },
    snapshot::{Selection, SnapshotError, TrustOptions},
};

/// The media type of a snapshot (RFC 8878, section 7.1).
const MEDIA_TYPE: &str = "application/zstd";
const BUFFER: usize = 256 << 10;

/// What is to be exported.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ExportRequest {
    name: String,
    choice: Selection,
}

/// Sends a snapshot.
pub(super) async fn export(
    floors: &Floors,
    request: Value,
    client: IpAddr,
) -> Result<Response<Body>, ActionError> {
    let ExportRequest { name, choice } = super::actions::read(request)?;
    let beside = TemporaryFile::new(&floors.core, "outgoing");
    let name = if name.is_empty() { "snapshot" } else { &name };
    snapshot::export(floors, name, &choice, &beside.0, Arc::new(|_| ()), Some(client))
        .await
        .map_err(|error| refused(&error))?;
    let opened = async {
        let file = tokio::fs::File::open(&beside.0).await?;
        let length = file.metadata().await?.len();
        Ok((file, length))
    };
    let (file, length) =
        opened.await.map_err(|error| refused(&SnapshotError::Io(beside.0.clone(), error)))?;
    tracing::info!(bytes = length, "an administrator exports a snapshot");
    // Whoever has it open can read it to its end, though nobody finds it any more.
    drop(beside);
    let mut response = Response::new(Body::from_stream(ReaderStream::with_capacity(file, BUFFER)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    CacheStatus::Internal.mark(&mut response);
    Ok(response)
}

/// Takes in the snapshot that is the request's body.
pub(super) async fn import(
    floors: &Arc<Floors>,
    parts: &Parts,
    body: Body,
    client: IpAddr,
) -> Response<Body> {
    let word = match word(parts.uri.query().unwrap_or_default()) {
        Ok(word) => word,
        Err(why) => return ProxyError::refused(StatusCode::BAD_REQUEST, &why).into(),
    };
    let media_type = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if media_type != Some(MEDIA_TYPE) {
        return ProxyError::refused(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "A snapshot is sent as `Content-Type: application/zstd`.",
        )
        .into();
    }
    if floors.core.mode.snapshot().is_some() {
        return ProxyError::refused(
            StatusCode::CONFLICT,
            "A proxy that serves a snapshot takes in no other.",
        )
        .into();
    }
    let beside = TemporaryFile::new(&floors.core, "incoming");
    if let Err(error) = receive(&beside.0, body, room(&floors.core)).await {
        tracing::warn!(%error, "a snapshot did not arrive");
        let full = error.kind() == io::ErrorKind::StorageFull;
        let status = if full { StatusCode::INSUFFICIENT_STORAGE } else { StatusCode::BAD_REQUEST };
        return ProxyError::refused(status, &format!("The snapshot did not arrive as a whole: {error}."))
            .into();
    }
    match snapshot::import(floors, &beside.0, &word, Arc::new(|_| ()), Some(client)).await {
        Ok(report) => {
            tracing::info!(
                tables = report.imported.tables.len(),
                answers = report.imported.answers,
                "an administrator has a snapshot imported"
            );
            error::json(StatusCode::OK, format!("{}\n", json!(report)), CacheStatus::Internal)
        }
        Err(error) => {
            let ActionError { status, why } = refused(&error);
            // Where it lay here is nobody's business.
            let why = why.replace(&beside.0.display().to_string(), "the snapshot");
            ProxyError::refused(status, &why).into()
        }
    }
}

/// What is said of whose snapshot it is.
fn word(query: &str) -> Result<TrustOptions, String> {
    let mut word = TrustOptions::default();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match (&*name, &*value) {
            ("trust", name) => word.trust = Some(name.to_owned()),
            ("once", "" | "true") => word.once = true,
            ("unsigned", "" | "true") => word.unsigned = true,
            (other, _) => {
                return Err(format!("`{other}` says nothing here: `trust=NAME`, `once` or `unsigned` do."));
            }
        }
    }
    Ok(word)
}

/// How many bytes may arrive: a tenth of what is free stays so, for all else that is written there.
fn room(core: &Core) -> u64 {
    let space = data_dir::disk_space(&core.settings.load().storage.data_dir);
    space.map_or(u64::MAX, |space| space.free / 10 * 9)
}

async fn receive(path: &Path, body: Body, mut room: u64) -> io::Result<()> {
    let mut options = tokio::fs::OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(path).await?;
    let mut file = tokio::io::BufWriter::with_capacity(BUFFER, file);
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(io::Error::other)?;
        room = room.checked_sub(chunk.len() as u64).ok_or(io::ErrorKind::StorageFull)?;
        file.write_all(&chunk).await?;
    }
    file.flush().await
}

fn refused(error: &SnapshotError) -> ActionError {
    let status = match error {
        SnapshotError::OtherAlyx { .. }
        | SnapshotError::Unsigned(_)
        | SnapshotError::UnknownKey { .. }
        | SnapshotError::RevokedKey { .. } => StatusCode::CONFLICT,
        SnapshotError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        error if error.is_refusal() => StatusCode::BAD_REQUEST,
        SnapshotError::Io(_, error) if error.kind() == io::ErrorKind::StorageFull => {
            StatusCode::INSUFFICIENT_STORAGE
        }
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    ActionError::new(status, error.to_string())
}

/// A file in the data directory that goes when it has served.
struct TemporaryFile(PathBuf);

impl TemporaryFile {
    fn new(core: &Core, what: &str) -> Self {
        let name = format!("{what}-{}.tar.zst", uuid::Uuid::new_v4());
        Self(core.settings.load().storage.data_dir.join(name))
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        match std::fs::remove_file(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, file = %self.0.display(), "a snapshot that has served was not removed");
            }
            _ => {}
        }
    }
}
