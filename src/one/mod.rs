//! ONE's own parameter files: which database a plain `ONE()` asks, and where it keeps data files (ALYX.md 9.3).
//!
//! They lie in `~/.one`: `.caches` names the folder of each database and the default one, and a file for each
//! database holds its parameters. [`plan`] says what must change for a proxy to be the default, with the folder that is
//! there already; [`Plan::apply`] does it and keeps what was there, [`undo`] restores that byte for byte.

mod files;
mod plan;
mod token;
mod undo;

use std::path::{Path, PathBuf};

pub use plan::{Change, Plan, Wanted, plan};
pub use token::token;
pub use undo::{Undone, undo};

/// Why ONE's files can't be set up, or put back.
#[derive(Debug, thiserror::Error)]
pub enum OneError {
    /// The file system's word.
    #[error("{0}: {1}")]
    Io(PathBuf, std::io::Error),
    /// A file is not what ONE writes.
    #[error("{0}: not one of ONE's parameter files ({1}); mend it or move it away first")]
    Strange(PathBuf, String),
    /// A database that was named is not one that ONE knows.
    #[error("ONE knows no database {0}; it knows: {1}")]
    Unknown(String, String),
    /// There is nothing to undo.
    #[error("{0}: alyx-proxy has set up nothing here, so there is nothing to undo")]
    NothingToUndo(PathBuf),
    /// What is there is not what was set up.
    #[error("{0} has been changed since it was set up; --force puts the old one back all the same")]
    Changed(PathBuf),
}

impl OneError {
    fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |error| Self::Io(path, error)
    }
}

/// ONE's name for a database: its URL without scheme, as a file name.
pub fn key(url: &str) -> String {
    let bare = ["https://", "http://"].iter().find_map(|scheme| url.strip_prefix(scheme)).unwrap_or(url);
    let mut key = String::new();
    for c in bare.trim_matches('/').to_lowercase().chars() {
        match c {
            c if c == '-' || c.is_whitespace() => {
                if !key.ends_with('-') {
                    key.push('-');
                }
            }
            c if c == '.' || c == '_' || c.is_alphanumeric() => key.push(c),
            _ => key.push('_'),
        }
    }
    key
}

#[cfg(test)]
mod tests {
    #[test]
    fn keys_are_those_of_one() {
        for (url, key) in [
            ("http://localhost:8000", "localhost_8000"),
            ("https://Alyx.example.org/", "alyx.example.org"),
            ("https://alyx.example.org/some - place", "alyx.example.org_some-place"),
            ("http://[::1]:8040", "___1__8040"),
        ] {
            assert_eq!(super::key(url), key);
        }
    }
}
