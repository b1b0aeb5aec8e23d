//! ONE's cache tables (`cache.zip`), which a proxy keeps as files.

use std::{
    fs,
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::SnapshotError;
use crate::clock::Millis;

/// What is known of a kept file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileHead {
    /// The database tag that the tables are of; empty for all data.
    pub tag: String,
    /// Header fields that it is served with.
    pub headers: Vec<(String, String)>,
    /// Bytes.
    pub length: u64,
    /// BLAKE3 of the description that was known when it was fetched, in hexadecimal digits.
    pub info: Option<String>,
    /// When it was asked for.
    pub asked_at: Millis,
    /// When it was here.
    pub received_at: Millis,
}

/// A kept file and where it lies.
pub type KeptFile = (FileHead, PathBuf);

/// Who keeps the files that come with a snapshot.
pub trait FileSink: Send + Sync {
    /// A path that nobody else writes to, in the folder where files are kept.
    fn place(&self) -> PathBuf;

    /// Keeps a file that lies whole at a path that [`Self::place`] gave; whether it is newer than what was here.
    fn keep(&self, head: FileHead, path: PathBuf) -> Result<bool, SnapshotError>;
}

/// Reads a file in pieces of this size.
pub(super) fn in_pieces(
    path: &Path,
    size: usize,
    mut each: impl FnMut(&[u8]) -> Result<(), SnapshotError>,
) -> Result<(), SnapshotError> {
    let io = SnapshotError::io(path);
    let mut file = fs::File::open(path).map_err(&io)?;
    let mut piece = Vec::with_capacity(size);
    loop {
        piece.clear();
        (&mut file).take(size as u64).read_to_end(&mut piece).map_err(&io)?;
        if piece.is_empty() {
            return Ok(());
        }
        each(&piece)?;
    }
}

/// A file on its way in; it goes unless it is kept.
pub(super) struct IncomingFile {
    head: FileHead,
    path: PathBuf,
    file: fs::File,
    kept: bool,
}

impl IncomingFile {
    pub(super) fn begin(head: FileHead, path: PathBuf) -> Result<Self, SnapshotError> {
        use std::os::unix::fs::OpenOptionsExt;
        let opened = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let file = opened.map_err(SnapshotError::io(&path))?;
        Ok(Self { head, path, file, kept: false })
    }

    pub(super) fn add(&mut self, piece: &[u8]) -> Result<(), SnapshotError> {
        self.file.write_all(piece).map_err(SnapshotError::io(&self.path))
    }

    /// Whether it is newer than what was there.
    pub(super) fn end(mut self, keeper: &dyn FileSink) -> Result<bool, SnapshotError> {
        self.file.sync_all().map_err(SnapshotError::io(&self.path))?;
        self.kept = keeper.keep(self.head.clone(), self.path.clone())?;
        Ok(self.kept)
    }
}

impl Drop for IncomingFile {
    fn drop(&mut self) {
        if !self.kept
            && let Err(error) = fs::remove_file(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%error, file = %self.path.display(), "a file of a snapshot was not removed");
        }
    }
}
