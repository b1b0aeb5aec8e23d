//! A block of a file: its bytes on disk, given piece by piece, each only if it is what was written.
//!
//! One that is still being fetched is read in the same way, as far as it is here: so everybody who reads it reads from the
//! disk, at their own speed.

use std::{
    fs::File,
    io,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use tokio::sync::watch;

use super::version::BLOCK;
use crate::upstream::UpstreamError;

/// A block is checked, and given, in pieces of so many bytes.
pub(super) const PIECE: u64 = 64 << 10;
/// So many pieces are read at once: what each client holds in memory.
const AT_ONCE: u64 = 2;

/// The checksum of a piece: half a BLAKE3 hash.
pub(crate) type PieceSum = [u8; 16];

/// Why there is no block, or no more of it.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum BlockError {
    /// The data server has another version of the file by now.
    #[error("the file has changed at the data server")]
    Changed,
    /// It gives the file no longer to whoever asked for this block.
    #[error("the data server answers with status {0}")]
    Refused(u16),
    /// It can't be asked, or broke off.
    #[error("the data server could not be asked: {0}")]
    Away(#[from] UpstreamError),
    /// What it sends is not what it said.
    #[error("the data server sends something else than it said: {0}")]
    Broken(&'static str),
    /// There is no room to keep it.
    #[error("there is no room to keep it: {0}")]
    NoRoom(String),
    /// What lies on the disk is not what was written.
    #[error("the disk has damaged it")]
    Damaged,
}

/// How far a block is here.
#[derive(Debug, Clone, Default)]
struct BlockProgress {
    written: u64,
    failure: Option<BlockError>,
}

/// A block.
#[derive(Debug)]
pub(crate) struct Block {
    file: File,
    size: u64,
    sums: Mutex<Vec<PieceSum>>,
    progress: watch::Sender<BlockProgress>,
}

impl Block {
    /// One that is kept in this file, with these checksums.
    pub(super) fn kept(file: File, size: u64, sums: Vec<PieceSum>) -> Self {
        let progress = watch::Sender::new(BlockProgress { written: size, failure: None });
        Self { file, size, sums: Mutex::new(sums), progress }
    }

    /// One that will be written to this file.
    pub(super) fn begun(file: File, size: u64) -> Self {
        Self { file, size, sums: Mutex::default(), progress: watch::Sender::default() }
    }

    /// How long it is when all of it is here.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// How much of it is here.
    pub(super) fn written(&self) -> u64 {
        self.progress.borrow().written
    }

    /// The checksums of what is here.
    pub(super) fn sums(&self) -> Vec<PieceSum> {
        self.sums.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// No more of it comes.
    pub(super) fn fail(&self, failure: BlockError) {
        self.progress.send_modify(|progress| progress.failure = Some(failure));
    }

    /// Writes more of it: whole pieces, or its end.
    pub(super) async fn append(self: &Arc<Self>, bytes: Bytes) -> io::Result<()> {
        let (block, at) = (self.clone(), self.written());
        let end = at + bytes.len() as u64;
        let writing = tokio::task::spawn_blocking(move || {
            write_at(&block.file, &bytes, at)?;
            let mut sums = block.sums.lock().unwrap_or_else(PoisonError::into_inner);
            sums.extend(bytes.chunks(piece()).map(sum));
            io::Result::Ok(())
        });
        writing.await.map_err(io::Error::other)??;
        self.progress.send_modify(|progress| progress.written = end);
        Ok(())
    }

    /// Brings all of it to the disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    /// Some bytes from `from` on, at most up to `end`, as soon as they are here.
    pub(super) async fn read(self: &Arc<Self>, from: u64, end: u64) -> Result<Bytes, BlockError> {
        let first = from / PIECE;
        let needed = ((first + 1) * PIECE).min(self.size);
        let mut progress = self.progress.subscribe();
        let progress = match progress
            .wait_for(|progress| progress.written >= needed || progress.failure.is_some())
            .await
        {
            Ok(progress) => progress.clone(),
            Err(_) => return Err(BlockError::Broken("nothing more")),
        };
        if progress.written < needed {
            return Err(progress.failure.unwrap_or(BlockError::Broken("nothing more")));
        }
        let until = end.min(progress.written).min((first + AT_ONCE) * PIECE);
        let block = self.clone();
        let reading = tokio::task::spawn_blocking(move || block.read_pieces(first, until));
        let bytes = reading.await.map_err(|_| BlockError::Damaged)??;
        let begin = usize::try_from(from - first * PIECE).unwrap_or(usize::MAX);
        let length = usize::try_from(until - first * PIECE).unwrap_or(usize::MAX);
        Ok(bytes.slice(begin..length))
    }

    /// The pieces from this one on that hold what is before `until`.
    fn read_pieces(&self, first: u64, until: u64) -> Result<Bytes, BlockError> {
        let start = first * PIECE;
        let end = until.next_multiple_of(PIECE).min(self.size);
        let mut bytes = vec![0; usize::try_from(end - start).map_err(|_| BlockError::Damaged)?];
        read_at(&self.file, &mut bytes, start).map_err(|error| {
            tracing::error!(%error, "a block of a file can't be read");
            BlockError::Damaged
        })?;
        let sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        let known = usize::try_from(first).ok().and_then(|first| sums.get(first..)).unwrap_or_default();
        let pieces = bytes.chunks(piece());
        if pieces.len() > known.len() || pieces.zip(known).any(|(piece, known)| sum(piece) != *known) {
            return Err(BlockError::Damaged);
        }
        drop(sums);
        Ok(bytes.into())
    }
}

fn piece() -> usize {
    usize::try_from(PIECE.min(BLOCK)).unwrap_or(usize::MAX)
}

fn sum(piece: &[u8]) -> PieceSum {
    let mut sum = PieceSum::default();
    let length = sum.len();
    sum.copy_from_slice(&blake3::hash(piece).as_bytes()[..length]);
    sum
}

#[cfg(unix)]
fn read_at(file: &File, bytes: &mut [u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, at)
}

#[cfg(unix)]
fn write_at(file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, at)
}

/// Not kept on other systems, where a place in a file is not read without moving to it.
#[cfg(not(unix))]
fn read_at(_: &File, _: &mut [u8], _: u64) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Not kept on other systems.
#[cfg(not(unix))]
fn write_at(_: &File, _: &[u8], _: u64) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, SeekFrom, Write};

    use super::*;

    fn bytes(length: u64) -> Vec<u8> {
        (0..length).map(|n| u8::try_from(n % 251).unwrap()).collect()
    }

    #[tokio::test]
    async fn what_is_written_is_read_as_it_comes() {
        let all = bytes(2 * PIECE + 100);
        let block = Arc::new(Block::begun(tempfile::tempfile().unwrap(), all.len() as u64));
        let reader = block.clone();
        let reading = tokio::spawn(async move { reader.read(PIECE + 5, 3 * PIECE).await.unwrap() });
        block.append(Bytes::copy_from_slice(&all[..piece()])).await.unwrap();
        block.append(Bytes::copy_from_slice(&all[piece()..])).await.unwrap();
        let read = reading.await.unwrap();
        assert_eq!(read, all[piece() + 5..]);
        assert_eq!(block.read(3, 7).await.unwrap(), all[3..7]);
    }

    #[tokio::test]
    async fn a_flipped_byte_is_not_given() {
        let all = bytes(3 * PIECE);
        let mut file = tempfile::tempfile().unwrap();
        let block = Arc::new(Block::begun(file.try_clone().unwrap(), all.len() as u64));
        block.append(all.clone().into()).await.unwrap();
        file.seek(SeekFrom::Start(2 * PIECE + 9)).unwrap();
        file.write_all(&[all[2 * piece() + 9] ^ 1]).unwrap();
        let kept = Arc::new(Block::kept(file, all.len() as u64, block.sums()));
        for block in [block, kept] {
            assert_eq!(block.read(0, PIECE).await.unwrap(), all[..piece()]);
            assert!(matches!(block.read(2 * PIECE, 3 * PIECE).await, Err(BlockError::Damaged)));
        }
    }

    #[tokio::test]
    async fn a_failure_ends_what_is_not_here() {
        let block = Arc::new(Block::begun(tempfile::tempfile().unwrap(), 3 * PIECE));
        block.append(bytes(PIECE).into()).await.unwrap();
        block.fail(BlockError::Changed);
        assert!(block.read(0, 3 * PIECE).await.is_ok());
        assert!(matches!(block.read(PIECE, 3 * PIECE).await, Err(BlockError::Changed)));
    }
}
