//! The files that are kept, and giving them.

use std::{
    collections::HashMap,
    fs, io,
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
};

use axum::body::Body;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use crate::{
    clock::Millis,
    http::{RequestedRange, Validators, cache_status::CacheStatus, stored_fields, wanted},
    proxy::{
        Exchange,
        error::{NOTICE, ProxyError},
    },
    snapshot::{FileHead, KeptFile},
    store::{Store, StoreError},
};

/// A file that is kept. It is never changed: newer tables are another file.
#[derive(Debug, Clone)]
pub(super) struct CachedFile {
    /// Its name in the folder, and its entity tag.
    pub(super) name: String,
    pub(super) path: PathBuf,
    pub(super) headers: HeaderMap,
    pub(super) length: u64,
    /// BLAKE3 of the description that was known when it was fetched.
    pub(super) info: Option<[u8; 32]>,
    pub(super) asked_at: Millis,
    pub(super) received_at: Millis,
}

/// All files that are kept, by the database tag that they are of.
#[derive(Debug)]
pub(crate) struct FileCache {
    pub(super) folder: PathBuf,
    kept: RwLock<HashMap<String, Arc<CachedFile>>>,
    /// Tags whose tables are being fetched.
    pub(super) under_way: std::sync::Mutex<std::collections::HashSet<String>>,
}

impl FileCache {
    /// Finds what is kept; what is damaged or left over from a crash goes.
    pub(crate) async fn open(store: &Store) -> Result<Self, FilesError> {
        let folder = store.folder().join("files");
        fs::create_dir_all(&folder)?;
        let rows = store.read(select).await?;
        let whole = |kept: &CachedFile| {
            fs::metadata(folder.join(&kept.name)).is_ok_and(|file| file.len() == kept.length)
        };
        let kept: HashMap<_, _> = rows
            .into_iter()
            .filter(|(_, kept)| whole(kept))
            .map(|(tag, kept)| (tag, Arc::new(CachedFile { path: folder.join(&kept.name), ..kept })))
            .collect();
        for file in fs::read_dir(&folder)? {
            let file = file?;
            if file.file_type()?.is_dir() {
                // Tables that were being made here when the program was killed.
                fs::remove_dir_all(file.path())?;
            } else if !kept.values().any(|kept| kept.path == file.path()) {
                fs::remove_file(file.path())?;
            }
        }
        let kept = RwLock::new(kept);
        Ok(Self { folder, kept, under_way: std::sync::Mutex::default() })
    }

    pub(super) fn get(&self, tag: &str) -> Option<Arc<CachedFile>> {
        self.kept.read().unwrap_or_else(PoisonError::into_inner).get(tag).cloned()
    }

    /// All kept files, for a snapshot.
    pub(crate) fn carried(&self) -> Vec<KeptFile> {
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        let head = |(tag, kept): (&String, &Arc<CachedFile>)| {
            let fields = kept.headers.iter();
            let fields =
                fields.filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())));
            let head = FileHead {
                tag: tag.clone(),
                headers: fields.collect(),
                length: kept.length,
                info: kept.info.map(|info| blake3::Hash::from_bytes(info).to_hex().to_string()),
                asked_at: kept.asked_at,
                received_at: kept.received_at,
            };
            (head, kept.path.clone())
        };
        kept.iter().map(head).collect()
    }

    /// A path for a new file.
    pub(crate) fn place(&self) -> PathBuf {
        self.folder.join(uuid::Uuid::new_v4().to_string())
    }

    /// Keeps a file that came with a snapshot and lies whole at a path of [`Self::place`]; whether it is newer than
    /// what was kept of its tag.
    pub(crate) async fn arrive(
        &self,
        head: FileHead,
        path: PathBuf,
        store: &Store,
    ) -> Result<bool, StoreError> {
        if self.get(&head.tag).is_some_and(|here| here.received_at >= head.received_at) {
            return Ok(false);
        }
        let fields = serde_json::to_string(&head.headers).unwrap_or_default();
        let kept = CachedFile {
            name: path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
            headers: stored_fields::of_zip(&crate::cache::read_headers(&fields).unwrap_or_default()),
            length: head.length,
            info: head.info.and_then(|info| blake3::Hash::from_hex(info).ok()).map(|info| *info.as_bytes()),
            asked_at: head.asked_at,
            received_at: head.received_at,
            path,
        };
        self.keep(&head.tag, kept, store).await.map(|()| true)
    }

    /// Forgets the kept files of these tags; how many there were.
    pub(crate) async fn forget(
        &self,
        wanted: impl Fn(&str) -> bool,
        store: &Store,
    ) -> Result<u64, StoreError> {
        let gone: Vec<_> = {
            let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
            kept.extract_if(|tag, _| wanted(tag)).collect()
        };
        let tags: Vec<String> = gone.iter().map(|(tag, _)| tag.clone()).collect();
        let remove = move |connection: &rusqlite::Connection| {
            let mut statement = connection.prepare("DELETE FROM tables WHERE tag = ?1")?;
            tags.iter().try_for_each(|tag| statement.execute([tag]).map(drop))
        };
        store.commit("purged cache tables", remove).await?;
        for (_, kept) in &gone {
            if let Err(error) = tokio::fs::remove_file(&kept.path).await {
                tracing::warn!(%error, "purged cache tables were not removed");
            }
        }
        Ok(gone.len() as u64)
    }

    /// Keeps a file that is whole and in its place, instead of the one before.
    pub(super) async fn keep(&self, tag: &str, kept: CachedFile, store: &Store) -> Result<(), StoreError> {
        let (row, of) = (kept.clone(), tag.to_owned());
        store.commit("cache tables", move |connection| insert(connection, &of, &row)).await?;
        let before =
            self.kept.write().unwrap_or_else(PoisonError::into_inner).insert(tag.to_owned(), Arc::new(kept));
        // Whoever reads the old one has it open; others don't find it any more.
        if let Some(before) = before
            && let Err(error) = tokio::fs::remove_file(&before.path).await
        {
            tracing::warn!(%error, "old cache tables were not removed");
        }
        Ok(())
    }
}

/// Why the kept files can't be had.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// The file system's word.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The database's word.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn select(connection: &rusqlite::Connection) -> rusqlite::Result<Vec<(String, CachedFile)>> {
    let sql = "SELECT tag, name, headers, length, info, asked_at, received_at FROM tables";
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map([], |row| {
        let headers: String = row.get(2)?;
        let kept = CachedFile {
            name: row.get(1)?,
            path: PathBuf::new(),
            headers: stored_fields::of_zip(&crate::cache::read_headers(&headers).unwrap_or_default()),
            length: row.get(3)?,
            info: row.get(4)?,
            asked_at: row.get(5)?,
            received_at: row.get(6)?,
        };
        Ok((row.get(0)?, kept))
    })?;
    rows.collect()
}

fn insert(connection: &rusqlite::Connection, tag: &str, kept: &CachedFile) -> rusqlite::Result<()> {
    let sql = "INSERT OR REPLACE INTO tables (tag, name, headers, length, info, asked_at, received_at)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let headers = crate::cache::write_headers(&kept.headers);
    let row = (tag, &kept.name, headers, kept.length, kept.info, kept.asked_at, kept.received_at);
    connection.execute(sql, row).map(drop)
}

impl CachedFile {
    /// The entity tag of a file of this name.
    pub(super) fn entity_tag(name: &str) -> HeaderValue {
        // Names are UUIDs.
        HeaderValue::try_from(format!("\"{name}\"")).unwrap_or_else(|_| HeaderValue::from_static("\"\""))
    }

    /// Gives the file, or the range of it that is asked for.
    pub(super) async fn give(
        &self,
        asked: &Exchange,
        now: Millis,
        how: CacheStatus,
        notice: Option<HeaderValue>,
    ) -> Response<Body> {
        let tag = Self::entity_tag(&self.name);
        let mut response = Response::new(Body::empty());
        let headers = response.headers_mut();
        headers.extend(self.headers.clone());
        let age = u64::try_from((now - self.received_at) / 1000).unwrap_or(0);
        headers.insert(header::AGE, HeaderValue::from(age));
        headers.insert(header::ETAG, tag.clone());
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        if let Some(notice) = notice {
            headers.insert(NOTICE, notice);
        }
        how.mark(&mut response);
        if crate::http::names(&asked.headers, &tag) {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        } else if let Err(error) = self.fill(asked, &tag, &mut response).await {
            tracing::error!(%error, file = %self.path.display(), "kept cache tables can't be read");
            return ProxyError::refused(
                StatusCode::INTERNAL_SERVER_ERROR,
                "The kept cache tables can't be read; the proxy's log says more.",
            )
            .into();
        }
        response
    }

    async fn fill(
        &self,
        asked: &Exchange,
        tag: &HeaderValue,
        response: &mut Response<Body>,
    ) -> io::Result<()> {
        let range = wanted(&asked.headers, Validators { tag: Some(tag), modified: None }, self.length);
        let field = range.content_range(self.length).map(|field| (header::CONTENT_RANGE, field));
        response.headers_mut().extend(field);
        let (start, length) = match range {
            RequestedRange::Whole => (0, self.length),
            RequestedRange::Part { start, end } => {
                *response.status_mut() = StatusCode::PARTIAL_CONTENT;
                (start, end - start + 1)
            }
            RequestedRange::Unsatisfiable => {
                *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
                return Ok(());
            }
        };
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        if asked.method != Method::HEAD {
            let mut file = tokio::fs::File::open(&self.path).await?;
            file.seek(io::SeekFrom::Start(start)).await?;
            *response.body_mut() =
                Body::from_stream(ReaderStream::with_capacity(file.take(length), 64 << 10));
        }
        Ok(())
    }
}
