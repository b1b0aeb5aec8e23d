//! What is mirrored, as ONE's cache tables ([`crate::alyx::cache_tables`]): two Parquet files and a description, with
//! which ONE's `local` mode works without any server.

mod columns;
mod quality;
mod rows;
mod unpack;
mod write;

use std::{io, path::PathBuf};

use serde::Serialize;

pub use unpack::unpack;
pub use write::{Form, write};

use crate::{
    alyx::cache_tables as shape,
    clock::Millis,
    mirror::{export::ReadSnapshot, unreadable::Unreadable},
};

/// Why the tables are not written.
#[derive(Debug, thiserror::Error)]
pub enum TablesError {
    /// A table that is needed is not mirrored.
    #[error(
        "/{0} is not mirrored here, and the cache tables are made of it: name it in `mirror.endpoints`, and run `alyx-proxy sync`"
    )]
    NotMirrored(&'static str),
    /// The file system's word.
    #[error("{0}: {1}")]
    Io(PathBuf, io::Error),
    /// The mirror can't be read.
    #[error("the mirror: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// A table can't be written as Parquet.
    #[error("the table of {0}: {1}")]
    Parquet(&'static str, parquet::errors::ParquetError),
}

/// What `cache_info.json` says (ALYX.md 5.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Info {
    /// As of when they are, in UTC: `YYYY-MM-DD HH:MM`.
    pub date_created: String,
    /// The host name of the Alyx that they are of.
    pub origin: String,
    /// The oldest ONE that reads them.
    pub min_api_version: &'static str,
    /// How large they are.
    pub tables: Sizes,
}

/// How large the tables are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sizes {
    /// The table of sessions.
    pub sessions: TableSize,
    /// The table of datasets.
    pub datasets: TableSize,
}

/// How large a table is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct TableSize {
    /// Records.
    pub nrecs: u64,
    /// Bytes of the description within the Parquet file, as Alyx counts.
    pub size: u64,
}

/// What the tables are made of: the endpoints that must be mirrored.
pub const NEEDED: [&str; 3] = [shape::SESSIONS, shape::DATASETS, shape::REPOSITORIES];

/// As of when tables would be that are made of this state of the mirror: the age of the oldest of what they need.
pub fn as_of(mirror: &ReadSnapshot) -> Result<Millis, TablesError> {
    let synced_at =
        |name| mirror.states.of(name).map(|state| state.synced_at).ok_or(TablesError::NotMirrored(name));
    NEEDED.into_iter().map(synced_at).try_fold(Millis::MAX, |oldest, at| Ok(oldest.min(at?)))
}

/// What ONE calls the origin of tables: the host name in an Alyx's URL.
pub fn origin_of(upstream: &str) -> &str {
    let host = upstream.split_once("://").map_or(upstream, |(_, rest)| rest);
    host.split(['/', ':']).next().unwrap_or(host)
}

/// Records that the tables are without, as Alyx could not give them, and why.
pub fn left_out(mirror: &ReadSnapshot) -> Vec<String> {
    let states = NEEDED.into_iter().filter_map(|name| mirror.states.of(name));
    let lists = states.flat_map(|state| &state.unreadable.told).filter(|record| record.list);
    lists.map(Unreadable::for_people).collect()
}

/// The scopes within which the tables are; none where they are whole.
pub fn scopes(mirror: &ReadSnapshot) -> Vec<(&'static str, Vec<(String, String)>)> {
    let scope = |name| Some((name, mirror.states.of(name)?.scope.clone()));
    NEEDED.into_iter().filter_map(scope).filter(|(_, scope)| !scope.is_empty()).collect()
}
