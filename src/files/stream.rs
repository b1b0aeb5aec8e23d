//! The body of an answer: bytes of one version of a file, block after block, at its client's own speed.

use std::{io, sync::Arc};

use axum::body::{Body, BodyDataStream};
use bytes::Bytes;
use futures_util::{StreamExt, stream::try_unfold};

use super::{
    DataFiles, ServedFile,
    block::{Block, BlockError},
    version::BLOCK,
};

/// How often a block that the disk has damaged is fetched again for one reader.
const MENDED: usize = 3;

/// Where the bytes come from.
enum ByteSource {
    /// A block, by its number.
    Block(u64, Arc<Block>),
    /// The data server, as there is no room to keep them.
    Direct(BodyDataStream),
}

/// A reader of a part of a file.
pub(super) struct FileReader {
    files: Arc<DataFiles>,
    file: Arc<ServedFile>,
    at: u64,
    /// The first byte that is not wanted.
    end: u64,
    from: ByteSource,
    mended: usize,
}

impl FileReader {
    /// Opens the part from `start` up to `end`, which is not read; there must be some of it. Fails where its first bytes can't
    /// be had.
    pub(super) async fn open(
        files: Arc<DataFiles>,
        file: Arc<ServedFile>,
        start: u64,
        end: u64,
    ) -> Result<Self, BlockError> {
        let from = source(&files, &file, start, end).await?;
        let reader = Self { files, file, at: start, end, from, mended: 0 };
        reader.fetch_ahead();
        Ok(reader)
    }

    /// Waits until its first bytes are here: what fails before is told as a refusal.
    pub(super) async fn begun(&mut self) -> Result<Option<Bytes>, BlockError> {
        self.next().await
    }

    /// The body: these bytes, then what follows.
    pub(super) fn body(self, first: Option<Bytes>) -> Body {
        let begin = (self, first);
        Body::from_stream(try_unfold(begin, |(mut reader, first)| async move {
            let bytes = match first {
                Some(bytes) => Some(bytes),
                None => match reader.next().await {
                    Ok(bytes) => bytes,
                    Err(error) => return Err(reader.cut_off(error).await),
                },
            };
            Ok::<_, io::Error>(bytes.map(|bytes| (bytes, (reader, None))))
        }))
    }

    /// What its client sees of a failure: the end of the connection.
    async fn cut_off(self, error: BlockError) -> io::Error {
        tracing::debug!(%error, "a file was cut off");
        if matches!(error, BlockError::Changed) {
            self.files.outdate(self.file.id).await;
        }
        io::Error::other(error)
    }

    async fn next(&mut self) -> Result<Option<Bytes>, BlockError> {
        while self.at < self.end {
            self.move_on().await?;
            let start = self.at / BLOCK * BLOCK;
            let read = match &mut self.from {
                ByteSource::Direct(stream) => direct(stream, self.end - self.at).await,
                ByteSource::Block(_, block) => {
                    block.read(self.at - start, self.end.min(start + BLOCK) - start).await
                }
            };
            match read {
                Ok(bytes) => {
                    self.at += bytes.len() as u64;
                    self.files.counts.given(bytes.len());
                    return Ok(Some(bytes));
                }
                Err(BlockError::Damaged) if self.mended < MENDED => {
                    self.mended += 1;
                    self.files.drop_damaged((self.file.id, start / BLOCK), self.file.path.as_str()).await;
                    self.from = source(&self.files, &self.file, self.at, self.end).await?;
                }
                Err(BlockError::NoRoom(_)) => {
                    self.from = directly(&self.files, &self.file, self.at, self.end).await?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Goes on to the next block, where the one before is read.
    async fn move_on(&mut self) -> Result<(), BlockError> {
        if matches!(self.from, ByteSource::Block(number, _) if number != self.at / BLOCK) {
            self.from = source(&self.files, &self.file, self.at, self.end).await?;
            self.fetch_ahead();
        }
        Ok(())
    }

    /// Has the next block fetched while this one is given.
    fn fetch_ahead(&self) {
        let next = self.at / BLOCK + 1;
        if next * BLOCK < self.end && matches!(self.from, ByteSource::Block(..)) {
            let (files, file) = (self.files.clone(), self.file.clone());
            tokio::spawn(async move {
                if let Err(error) = files.block(&file, next).await {
                    tracing::debug!(%error, "the next block of a file is not here in advance");
                }
            });
        }
    }
}

/// The rest as the data server gives it, for want of room.
async fn directly(
    files: &Arc<DataFiles>,
    file: &Arc<ServedFile>,
    at: u64,
    end: u64,
) -> Result<ByteSource, BlockError> {
    let body = files.part(file, at, end - 1).await?;
    Ok(ByteSource::Direct(body.into_data_stream()))
}

async fn source(
    files: &Arc<DataFiles>,
    file: &Arc<ServedFile>,
    at: u64,
    end: u64,
) -> Result<ByteSource, BlockError> {
    match files.block(file, at / BLOCK).await {
        Err(BlockError::NoRoom(why)) => {
            tracing::debug!(why, "a file is passed on and not kept");
            directly(files, file, at, end).await
        }
        block => Ok(ByteSource::Block(at / BLOCK, block?)),
    }
}

/// What comes next of the data server's own answer, no more than it said.
async fn direct(stream: &mut BodyDataStream, left: u64) -> Result<Bytes, BlockError> {
    match stream.next().await {
        Some(Ok(bytes)) if bytes.len() as u64 <= left => Ok(bytes),
        Some(Ok(_)) => Err(BlockError::Broken("more than that")),
        Some(Err(_)) | None => Err(BlockError::Away(crate::upstream::UpstreamError::Truncated)),
    }
}
