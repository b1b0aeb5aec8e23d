//! Forgetting stored answers on request: all, those below a path, or those to one question.

use rusqlite::Connection;

use super::key::same_query;
use crate::alyx::{Route, query_string, route::classify};

/// Which stored answers are to be forgotten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purge {
    /// All of them.
    All,
    /// Those of this path and of all below it.
    Below(String),
    /// Those to this question, in whatever form and whoever's they are.
    Question {
        /// Its path, in the canonical spelling.
        path: String,
        /// Its query.
        query: String,
    },
}

impl Purge {
    /// What lies below a path as people write it.
    pub fn below(path: &str) -> Self {
        match query_string::canonical_path(&query_string::segments(path)) {
            path if path == "/" => Self::All,
            path => Self::Below(path.trim_end_matches('/').to_owned()),
        }
    }

    /// The answers to a question, a path and query.
    pub fn question(path_and_query: &str) -> Self {
        let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
        Self::Question {
            path: query_string::canonical_path(&query_string::segments(path)),
            query: query.to_owned(),
        }
    }

    /// Whether the kept cache tables of this tag (empty: of all data) are among them.
    pub fn takes_tables(&self, tag: &str) -> bool {
        const TABLES: &str = "/cache.zip";
        match self {
            Self::All => true,
            Self::Below(path) => path == TABLES,
            Self::Question { path, query } => {
                let asked = query_string::parse(query).into_iter().rev().find(|(name, _)| name == "tag");
                path == TABLES && asked.map(|(_, asked)| asked).unwrap_or_default() == tag
            }
        }
    }

    /// Removes them; the sizes that they were charged with.
    pub(super) fn remove(&self, connection: &Connection) -> rusqlite::Result<Vec<u64>> {
        match self {
            Self::All => sizes(connection, "DELETE FROM responses RETURNING size", []),
            Self::Below(path) => {
                // `0` follows `/` in ASCII: all that begins with the path and a slash.
                let sql = "DELETE FROM responses WHERE path = ?1 OR path >= ?1 || '/' AND path < ?1 || '0'
                           RETURNING size";
                sizes(connection, sql, [path])
            }
            Self::Question { path, query } => {
                let route = route_of(path);
                let mut statement = connection.prepare("SELECT id, query FROM responses WHERE path = ?1")?;
                let rows = statement.query_map([path], |row| Ok((row.get(0)?, row.get(1)?)))?;
                let rows: Vec<(i64, String)> = rows.collect::<Result<_, _>>()?;
                let mut removed = Vec::new();
                for (id, _) in rows.iter().filter(|(_, stored)| same_query(&route, stored, query)) {
                    let sql = "DELETE FROM responses WHERE id = ?1 RETURNING size";
                    removed.extend(sizes(connection, sql, [id])?);
                }
                Ok(removed)
            }
        }
    }
}

fn route_of(path: &str) -> Route {
    let segments = query_string::segments(path);
    classify(&segments.iter().map(String::as_str).collect::<Vec<_>>())
}

fn sizes(
    connection: &Connection,
    sql: &str,
    parameters: impl rusqlite::Params,
) -> rusqlite::Result<Vec<u64>> {
    connection.prepare(sql)?.query_map(parameters, |row| row.get(0))?.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_purge_takes_what_it_names_and_nothing_else() {
        let connection = Connection::open_in_memory().unwrap();
        connection
            .execute_batch("CREATE TABLE responses (id INTEGER PRIMARY KEY, path, query, size)")
            .unwrap();
        let rows = [
            ("/sessions", "lab=a&sex=F"),
            ("/sessions", "sex=F&lab=a&limit=250&format=json"),
            ("/sessions", "lab=b"),
            ("/sessions/1", ""),
            ("/sessions-of-old", ""),
            ("/subjects", ""),
        ];
        let remaining = |purge: Purge| {
            connection.execute("DELETE FROM responses", []).unwrap();
            for (path, query) in rows {
                let sql = "INSERT INTO responses (path, query, size) VALUES (?1, ?2, 1)";
                connection.execute(sql, (path, query)).unwrap();
            }
            let removed = purge.remove(&connection).unwrap().len();
            let sql = "SELECT count(*) FROM responses";
            let left: usize = connection.query_row(sql, [], |row| row.get(0)).unwrap();
            assert_eq!(removed + left, rows.len(), "{purge:?}");
            left
        };
        assert_eq!(remaining(Purge::below("/")), 0);
        assert_eq!(remaining(Purge::below("/sessions/")), 2);
        assert_eq!(remaining(Purge::below("/sess")), 6);
        assert_eq!(remaining(Purge::question("/sessions?sex=F&lab=%61")), 4);
        assert_eq!(remaining(Purge::question("/sessions")), 6);
        assert_eq!(remaining(Purge::question("/sessions/1")), 5);
    }
}
