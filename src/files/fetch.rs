//! Fetching blocks: each once, however many ask, and each of the version that it was asked for.

use std::sync::{Arc, PoisonError};

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use tempfile::TempPath;

use super::{
    DataFiles, ServedFile,
    block::{Block, BlockError, PIECE},
    index::KeptBlock,
    room::PromisedRoom,
    source::SourceRequest,
    version::FileVersion,
};
use crate::upstream::UpstreamError;

/// How often a block is asked for by those who joined another's request that failed for its asker's sake.
const OWN_TRIES: usize = 3;
/// How often a download that broke off is gone on with, though it brought nothing since the last time.
const RESUMED: usize = 3;

/// A block of a file: the file's number, and its own.
pub(super) type BlockKey = (i64, u64);

/// What a pump needs to write a block.
struct Pump {
    file: Arc<ServedFile>,
    number: u64,
    block: Arc<Block>,
    temporary: TempPath,
    _room: PromisedRoom,
    _turn: tokio::sync::OwnedSemaphorePermit,
}

impl DataFiles {
    /// A block: from disk, or as somebody is fetching it, or asked for now.
    pub(super) async fn block(
        self: &Arc<Self>,
        file: &Arc<ServedFile>,
        number: u64,
    ) -> Result<Arc<Block>, BlockError> {
        let key = (file.id, number);
        let mut last = BlockError::Broken("nothing");
        for _ in 0..OWN_TRIES {
            if let Some(block) = self.under_way(key) {
                return Ok(block);
            }
            let (files, file) = (self.clone(), file.clone());
            let flight = self.flights.join(key, move || async move { files.open_block(file, number).await });
            let joined = flight.joined;
            match flight.outcome().await {
                Some(Err(error @ BlockError::Refused(_))) if joined => last = error,
                Some(outcome) => return outcome,
                None => {}
            }
        }
        Err(last)
    }

    fn under_way(&self, key: BlockKey) -> Option<Arc<Block>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned()
    }

    /// Opens a kept block, or begins to fetch it.
    async fn open_block(
        self: Arc<Self>,
        file: Arc<ServedFile>,
        number: u64,
    ) -> Result<Arc<Block>, BlockError> {
        let key = (file.id, number);
        if let Some(block) = self.under_way(key) {
            return Ok(block);
        }
        if let Some(block) = self.kept_block(key, file.version.span_of(number).1).await {
            return Ok(block);
        }
        let turn = self.turns.clone().acquire_owned().await.map_err(|_| BlockError::Broken("no turn"))?;
        let (start, size) = file.version.span_of(number);
        let room = self
            .promise(size)
            .await
            .ok_or_else(|| BlockError::NoRoom("files.max_size or files.min_free".into()))?;
        let body = self.part(&file, start, start + size - 1).await?;
        let (temporary_file, temporary) = self.temporary().await?;
        let block = Arc::new(Block::begun(temporary_file, size));
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner).insert(key, block.clone());
        let pump = Pump { file, number, block: block.clone(), temporary, _room: room, _turn: turn };
        tokio::spawn(async move { self.pump(pump, body).await });
        Ok(block)
    }

    /// A block that is kept; one whose file is gone, or of another length, is not.
    pub(super) async fn kept_block(&self, (id, number): BlockKey, size: u64) -> Option<Arc<Block>> {
        let kept = match self.index.block(id, number).await {
            Ok(kept) => kept?,
            Err(error) => {
                tracing::warn!(%error, "what is kept of a file is not known");
                return None;
            }
        };
        let folder = self.folder.clone();
        let opened = tokio::task::spawn_blocking(move || folder.open_block(id, number)).await;
        let Some(file) = opened.ok().flatten().filter(|_| kept.size == size) else {
            self.drop_block((id, number)).await;
            return None;
        };
        Some(Arc::new(Block::kept(file, size, kept.sums)))
    }

    /// Throws a block away: it is not what it was.
    pub(super) async fn drop_block(&self, (id, number): BlockKey) {
        match self.index.drop_block(id, number).await {
            Ok(room) => self.room.give_back(room, 0),
            Err(error) => tracing::warn!(%error, "a damaged block stays noted"),
        }
        let folder = self.folder.clone();
        let _ = tokio::task::spawn_blocking(move || folder.remove_block(id, number)).await;
    }

    async fn promise(&self, size: u64) -> Option<PromisedRoom> {
        let (room, index, folder) = (self.room.clone(), self.index.clone(), self.folder.clone());
        let settings = self.settings.load_full();
        let promising =
            tokio::task::spawn_blocking(move || room.promise(size, &settings.files, &index, &folder));
        promising.await.ok().flatten()
    }

    async fn temporary(&self) -> Result<(std::fs::File, TempPath), BlockError> {
        let folder = self.folder.clone();
        let made = tokio::task::spawn_blocking(move || folder.temporary()).await;
        made.map_err(|_| BlockError::Broken("no file"))?
            .map_err(|error| BlockError::NoRoom(error.to_string()))
    }

    /// Writes a block as it comes, and keeps it when it is whole.
    async fn pump(self: Arc<Self>, pump: Pump, body: Body) {
        let filled = self.fill(&pump, body).await;
        let key = (pump.file.id, pump.number);
        let (block, file) = (pump.block.clone(), pump.file.clone());
        let kept = match &filled {
            Ok(()) => self.keep(pump).await,
            Err(_) => Ok(()),
        };
        if let Err(error) = kept {
            tracing::warn!(%error, "a block of a file is given and not kept");
        }
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
        match filled {
            Ok(()) => self.judge_if_whole(file.id, &file.path, &file.version).await,
            Err(error) => {
                tracing::debug!(%error, "a block of a file was not fetched");
                block.fail(error);
            }
        }
    }

    /// Fetches a block to its end; where the connection breaks off, from there on.
    async fn fill(&self, pump: &Pump, mut body: Body) -> Result<(), BlockError> {
        let Pump { file, number, block, .. } = pump;
        let (start, size) = file.version.span_of(*number);
        let (mut pending, mut tries, mut before) = (BytesMut::new(), 0, 0);
        loop {
            let copied = self.copy(body, block, &mut pending).await;
            let here = block.written() + pending.len() as u64;
            match copied {
                Ok(()) => return Ok(()),
                Err(BlockError::Away(failure)) if here < size => {
                    tries = if here > before { 0 } else { tries + 1 };
                    before = here;
                    if tries >= RESUMED {
                        return Err(failure.into());
                    }
                }
                Err(error) => return Err(error),
            }
            body = self.part(file, start + here, start + size - 1).await?;
        }
    }

    /// Writes what comes. The last piece is given to nobody before it is sure that no more comes.
    async fn copy(&self, body: Body, block: &Arc<Block>, pending: &mut BytesMut) -> Result<(), BlockError> {
        let mut stream = body.into_data_stream();
        let no_room = |error: std::io::Error| BlockError::NoRoom(error.to_string());
        while let Some(chunk) = stream.next().await {
            let chunk: Bytes = chunk.map_err(|_| BlockError::Away(UpstreamError::Truncated))?;
            self.counts.fetched(chunk.len());
            pending.extend_from_slice(&chunk);
            let (written, waiting) = (block.written(), pending.len() as u64);
            if written + waiting > block.size() {
                return Err(BlockError::Broken("more than that"));
            }
            let all_here = written + waiting == block.size();
            let ready = if all_here { waiting.saturating_sub(1) } else { waiting } / PIECE * PIECE;
            if ready > 0 {
                let ready = pending.split_to(usize::try_from(ready).unwrap_or(usize::MAX)).freeze();
                block.append(ready).await.map_err(no_room)?;
            }
        }
        if block.written() + (pending.len() as u64) < block.size() {
            return Err(BlockError::Away(UpstreamError::Truncated));
        }
        block.append(pending.split().freeze()).await.map_err(no_room)
    }

    /// Keeps a whole block: on the disk first, then under its name, then in the index.
    async fn keep(&self, pump: Pump) -> Result<(), String> {
        let Pump { file, number, block, temporary, .. } = pump;
        let (id, size, sums) = (file.id, block.size(), block.sums());
        let folder = self.folder.clone();
        let naming = tokio::task::spawn_blocking(move || {
            block.sync()?;
            folder.keep(temporary, id, number)
        });
        naming.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        let noted = self.index.keep(id, number, size, sums).await;
        if let Ok(kept @ (KeptBlock::First | KeptBlock::More)) = noted {
            self.room.add(size, kept == KeptBlock::First);
            return Ok(());
        }
        // Its file was replaced or gave way meanwhile.
        let folder = self.folder.clone();
        let _ = tokio::task::spawn_blocking(move || folder.remove_block(id, number)).await;
        noted.map(drop).map_err(|error| error.to_string())
    }

    /// Asks for bytes of this version of a file, both ends included: a body that is of this version, or a failure.
    pub(super) async fn part(&self, file: &ServedFile, start: u64, end: u64) -> Result<Body, BlockError> {
        let whole = start == 0 && end + 1 == file.version.length;
        let mut fields = file.credentials.fields();
        if !whole {
            let range = HeaderValue::try_from(format!("bytes={start}-{end}"));
            fields.insert(header::RANGE, range.map_err(|_| BlockError::Broken("no range"))?);
            if let Some(validator) = file.version.validator() {
                fields.insert(header::IF_RANGE, validator);
            }
        }
        let request = SourceRequest { method: Method::GET, path: &file.path, query: None, fields };
        let response = self.ask(request).await?;
        judge(&file.version, &response, whole, (start, end))?;
        Ok(response.into_body())
    }
}

/// Whether an answer is the part that was asked for, of this version.
fn judge(
    version: &FileVersion,
    response: &Response<Body>,
    whole: bool,
    (start, end): (u64, u64),
) -> Result<(), BlockError> {
    let (status, headers) = (response.status(), response.headers());
    let range = format!("bytes {start}-{end}/{}", version.length);
    match status {
        StatusCode::OK => match FileVersion::of(headers) {
            Some(other) if other.is_same(version) && whole => {}
            Some(other) if other.is_same(version) => return Err(BlockError::Broken("all, asked for a part")),
            _ => return Err(BlockError::Changed),
        },
        StatusCode::PARTIAL_CONTENT if whole => return Err(BlockError::Broken("a part, asked for all")),
        StatusCode::PARTIAL_CONTENT => {
            if text(headers, &header::CONTENT_RANGE) != Some(&range) || !version.is_named_by(headers) {
                return Err(BlockError::Changed);
            }
        }
        StatusCode::RANGE_NOT_SATISFIABLE | StatusCode::PRECONDITION_FAILED => {
            return Err(BlockError::Changed);
        }
        status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
            return Err(BlockError::Away(UpstreamError::Unavailable(status.as_u16())));
        }
        status => return Err(BlockError::Refused(status.as_u16())),
    }
    let length = text(headers, &header::CONTENT_LENGTH).map(str::parse::<u64>);
    match length {
        Some(Ok(length)) if length != end - start + 1 => Err(BlockError::Broken("another length")),
        Some(Err(_)) => Err(BlockError::Broken("no length")),
        _ if headers.contains_key(header::CONTENT_ENCODING) => Err(BlockError::Broken("a coding")),
        _ => Ok(()),
    }
}

fn text<'h>(headers: &'h HeaderMap, name: &header::HeaderName) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
