//! What lies here, by session, for pages and programs.

use std::collections::BTreeMap;

use super::{DataFiles, index::IndexError, judged::DifferingFile};
use crate::{alyx::dataset_files, clock::Millis};

/// So many files that differ are shown.
const SHOWN: usize = 100;

/// What is kept of a session, or of files that are of none.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub(crate) struct KeptSession {
    /// subject/date/number; none for what is of no session.
    pub(crate) session: Option<String>,
    pub(crate) files: u64,
    /// Files that were whole, and are what Alyx's records say.
    pub(crate) compared: u64,
    /// Room that they take on disk.
    pub(crate) bytes: u64,
    /// When one of them was last asked for.
    pub(crate) used_at: Millis,
}

impl DataFiles {
    /// What is kept, by session, the last used first.
    pub(crate) async fn kept_sessions(&self) -> Result<Vec<KeptSession>, IndexError> {
        self.index
            .run(|connection| {
                let sql = "SELECT path, bytes, used_at, record IS NOT NULL FROM files WHERE bytes > 0";
                let mut query = connection.prepare_cached(sql)?;
                let mut rows = query.query([])?;
                let mut sessions: BTreeMap<Option<String>, KeptSession> = BTreeMap::new();
                while let Some(row) = rows.next()? {
                    let path: String = row.get(0)?;
                    let name = dataset_files::session_of(&path);
                    let kept = sessions.entry(name.clone()).or_default();
                    kept.session = name;
                    kept.files += 1;
                    kept.bytes += row.get::<_, u64>(1)?;
                    kept.used_at = kept.used_at.max(row.get(2)?);
                    kept.compared += u64::from(row.get::<_, bool>(3)?);
                }
                let mut sessions: Vec<KeptSession> = sessions.into_values().collect();
                sessions.sort_by_key(|kept| std::cmp::Reverse(kept.used_at));
                Ok(sessions)
            })
            .await
    }

    /// Files that are not what Alyx says, the latest first.
    pub(crate) async fn differing(&self) -> Result<Vec<DifferingFile>, IndexError> {
        self.index.differing(SHOWN).await
    }
}
