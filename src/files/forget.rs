//! Having files forgotten that somebody names: a session's, a dataset's, or those at paths that are like a pattern.

use rusqlite::OptionalExtension;
use uuid::Uuid;

use super::{
    DataFiles,
    index::{FileIndex, IndexError},
};
use crate::alyx::dataset_files::{self, dataset_of, session_of};

/// Which files are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
enum NamedFiles {
    /// Those of a dataset.
    Dataset(Uuid),
    /// Those of a session: subject/date/number, the number without noughts before it.
    Session(String),
    /// Those whose path is like this (`*` and `?` as in a shell).
    Like(String),
}

impl NamedFiles {
    /// What these words name, but for sessions' ids.
    fn of(words: &str) -> Self {
        if let Ok(id) = Uuid::try_parse(words) {
            return Self::Dataset(id);
        }
        let parts = words.split('/').count();
        match session_of(words).filter(|_| parts == 3) {
            Some(session) => Self::Session(plain(&session)),
            None => Self::Like(words.to_owned()),
        }
    }

    fn are_at(&self, path: &str) -> bool {
        match self {
            Self::Dataset(id) => dataset_of(path) == Some(*id),
            Self::Session(session) => session_of(path).is_some_and(|of| plain(&of) == *session),
            Self::Like(_) => false,
        }
    }
}

/// A session with its number as a number: `001` and `1` are the same.
fn plain(session: &str) -> String {
    match session.rsplit_once('/') {
        Some((day, number)) => format!("{day}/{}", number.trim_start_matches('0')),
        None => session.to_owned(),
    }
}

impl DataFiles {
    /// Has all files forgotten that are named so: by the id of a session or dataset, as `subject/date/number`, or by a pattern
    /// of their paths. How many these were.
    pub(crate) async fn purge(&self, words: &str) -> Result<usize, IndexError> {
        let mut named = NamedFiles::of(words);
        if let NamedFiles::Dataset(id) = named
            && let Some(session) = self.session(id).await
        {
            named = NamedFiles::Session(plain(&session));
        }
        let gone = self.index.purge(named).await?;
        for id in &gone {
            self.remove(*id).await;
        }
        Ok(gone.len())
    }

    /// Subject, date and number of the session with this id, where the mirror has one.
    async fn session(&self, id: Uuid) -> Option<String> {
        let look = self.mirror.as_ref()?.read(move |connection, _| {
            let mut query = connection.prepare_cached(dataset_files::SESSION)?;
            query.query_row([id.as_bytes()], |row| row.get::<_, Option<String>>(0)).optional()
        });
        // Where there is no such table there is no such session.
        look.await.ok().flatten().flatten()
    }
}

impl FileIndex {
    /// Forgets these files: their numbers.
    async fn purge(&self, named: NamedFiles) -> Result<Vec<i64>, IndexError> {
        self.run(move |connection| {
            let change = connection.transaction()?;
            let gone: Vec<i64> = if let NamedFiles::Like(pattern) = &named {
                let mut query = change.prepare("SELECT id FROM files WHERE path GLOB ?1")?;
                query.query_map([pattern], |row| row.get(0))?.collect::<Result<_, _>>()?
            } else {
                let mut query = change.prepare("SELECT id, path FROM files")?;
                let mut rows = query.query([])?;
                let mut found = Vec::new();
                while let Some(row) = rows.next()? {
                    if named.are_at(&row.get::<_, String>(1)?) {
                        found.push(row.get(0)?);
                    }
                }
                found
            };
            for id in &gone {
                change.execute("DELETE FROM files WHERE id = ?1", [id])?;
            }
            change.commit()?;
            Ok(gone)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_datasets_and_patterns_are_told_apart() {
        let id = "0f5a9c9e-2b5a-4b6a-9a53-2f7f2c2f3c11";
        let file = format!("/public/lab/Subjects/KS001/2021-03-01/001/alf/spikes.times.{id}.npy");
        for words in [id, "KS001/2021-03-01/001", "KS001/2021-03-01/1"] {
            assert!(NamedFiles::of(words).are_at(&file), "{words}");
        }
        for words in ["KS001/2021-03-01/002", "S001/2021-03-01/001", "0f5a9c9e-2b5a-4b6a-9a53-2f7f2c2f3c12"] {
            assert!(!NamedFiles::of(words).are_at(&file), "{words}");
        }
        for pattern in ["*/KS001/*", "/public/KS001/2021-03-01/001", "KS001/2021-03-01/001/*", ""] {
            assert_eq!(NamedFiles::of(pattern), NamedFiles::Like(pattern.to_owned()));
        }
    }
}
