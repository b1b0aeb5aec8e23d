//! What Alyx says of a file: the record of the dataset that its name names, as the mirror has it.

use std::sync::Arc;

use rusqlite::OptionalExtension;
use serde::{Deserialize, Serialize};

use crate::{alyx::dataset_files, mirror::Mirror};

/// What a dataset's record says of its file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DatasetRecord {
    pub(crate) hash: Option<String>,
    /// In bytes.
    pub(crate) size: Option<u64>,
    pub(crate) version: Option<String>,
}

/// What Alyx says of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum AlyxWord {
    /// Its name names no dataset: it is none of Alyx's business.
    NotAlyxs,
    /// The mirror has no record of its dataset.
    Unknown,
    /// This.
    Says(DatasetRecord),
}

impl DatasetRecord {
    /// Whether a file may be so long.
    pub(super) fn allows_length(&self, length: u64) -> bool {
        self.size.is_none_or(|size| size == length)
    }

    /// Whether this is the MD5 that it names; none where it names none.
    pub(super) fn names(&self, md5: &str) -> Option<bool> {
        let hash = self.hash.as_deref().filter(|hash| dataset_files::is_md5(hash))?;
        Some(hash.eq_ignore_ascii_case(md5))
    }
}

/// Looks up what Alyx says of the file at this path.
pub(super) async fn of(mirror: Option<&Arc<Mirror>>, path: &str) -> AlyxWord {
    let Some(id) = dataset_files::dataset_of(path) else { return AlyxWord::NotAlyxs };
    let Some(mirror) = mirror else { return AlyxWord::Unknown };
    let look = mirror.read(move |connection, _| {
        let mut query = connection.prepare_cached(dataset_files::RECORD)?;
        let read = |row: &rusqlite::Row<'_>| {
            let (hash, size): (Option<String>, Option<i64>) = (row.get(0)?, row.get(1)?);
            let size = size.and_then(|size| u64::try_from(size).ok());
            Ok(DatasetRecord { hash, size, version: row.get(2)? })
        };
        query.query_row([id.as_bytes()], read).optional()
    });
    match look.await {
        Ok(found) => found.map_or(AlyxWord::Unknown, AlyxWord::Says),
        Err(error) => {
            tracing::warn!(%error, "what Alyx says of a data file is not known");
            AlyxWord::Unknown
        }
    }
}
