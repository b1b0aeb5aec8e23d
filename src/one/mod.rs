//! ONE's own parameter files: which database a plain `ONE()` asks, and where it keeps data files (ALYX.md 9.3).
//!
//! They lie in `~/.one`: `.caches` names the folder of each database and the default one, and a file for each
//! database holds its parameters. [`plan`] says what must change for a proxy to be the default, with the folder that is
//! there already; [`SetupPlan::apply`] does it and keeps what was there, [`undo`] restores that byte for byte.
//!
//! [`script`] is the same in Python, for machines without this program. The two write the same bytes:
//! `tests/it/one_script/` runs both in the same homes.

pub mod cache_tables;
mod files;
mod home;
mod plan;
mod script;
mod token;
mod undo;

use std::path::{Path, PathBuf};

use regex::Regex;

pub use home::Home;
pub use plan::{Change, SetupPlan, SetupRequest, plan};
pub use script::script;
pub use token::{data_login, token};
pub use undo::{Undoing, Undone, undo};

/// Why ONE's files can't be set up, or put back.
#[derive(Debug, thiserror::Error)]
pub enum OneError {
    /// The file system's word.
    #[error("{0}: {1}")]
    Io(PathBuf, std::io::Error),
    /// A file is not what ONE writes.
    #[error("{0}: not one of ONE's parameter files ({1}); mend it or move it away first")]
    Strange(PathBuf, String),
    /// ONE's files are UTF-8.
    #[error("{0}: the name of the home is no UTF-8, as ONE's files are")]
    Name(PathBuf),
    /// A link in somebody else's home.
    #[error("{0} is a link, and the home is somebody else's: no link is followed there")]
    Link(PathBuf),
    /// A folder that is not there, and not in that home.
    #[error("{0} is not there, and lies outside the home, which is somebody else's: make that folder first")]
    Outside(PathBuf),
    /// A folder that is another one wherever ONE is started.
    #[error(
        "{0}: the folder of {1}, {2}, is no absolute path, so that ONE takes another one wherever it is started; \
             give it an absolute one first: ONE.setup(base_url=…, cache_dir=…)"
    )]
    Relative(PathBuf, String, String),
    /// A database that was named is not one that ONE knows.
    #[error("ONE knows no database {0}; it knows: {1}")]
    Unknown(String, String),
    /// There is nothing to undo.
    #[error("{0}: alyx-proxy has set up nothing here, so there is nothing to undo")]
    NothingToUndo(PathBuf),
    /// That proxy is not one that was set up.
    #[error("{0} has not been set up here; what has: {1}")]
    NotSetUp(String, String),
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

/// The base URL of a proxy; none where it is no http or https URL. A browser's address is cut at the proxy's own pages,
/// which lie below `/-/`.
pub fn address(url: &str) -> Option<&str> {
    let cut = url.strip_suffix("/-").or_else(|| url.split("/-/").next())?.trim_end_matches('/');
    let form = r"^https?://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?(/[A-Za-z0-9._~%/-]*)?$";
    let parts = Regex::new(form).ok()?.captures(cut)?;
    let group = |number| parts.get(number).map_or("", |group| group.as_str());
    let port: u32 = group(2).trim_start_matches(':').parse().unwrap_or(0);
    // Some clients would take these out, and others would not.
    let dots = |name: &str| [".", ".."].contains(&name.to_lowercase().replace("%2e", ".").as_str());
    (port <= 65535 && !group(3).split('/').any(dots)).then_some(cut)
}

/// Below a proxy's base URL: Alyx with the addresses of data files that lead to the proxy.
const VIEW: &str = "/-/one";
/// Below it: the data files themselves.
const DATA: &str = "/-/data";

/// Where ONE asks Alyx for data files of the proxy at this base URL.
pub(crate) fn data_view(url: &str) -> String {
    format!("{url}{VIEW}")
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

    #[test]
    fn addresses_are_cut_at_the_proxys_own_pages() {
        for (url, address) in [
            ("http://lab:8040", Some("http://lab:8040")),
            ("http://lab:8040/", Some("http://lab:8040")),
            ("http://lab:8040/-", Some("http://lab:8040")),
            ("http://lab:8040/-/", Some("http://lab:8040")),
            ("https://lab.org/alyx/-/explore/sessions?lab=x#y", Some("https://lab.org/alyx")),
            ("http://[::1]:8040/-/docs/start", Some("http://[::1]:8040")),
            ("lab:8040", None),
            ("ftp://lab", None),
            ("http://", None),
            ("http:///-/", None),
            ("http://me:secret@lab:8040", None),
            ("http://lab:8040/sessions?lab=x", None),
            ("http://lab 8040", None),
            ("http://lab:65535/a/...", Some("http://lab:65535/a/...")),
            ("http://lab:65536", None),
            ("http://lab:8040/../", None),
            ("http://lab:8040/a/./b", None),
            ("http://lab:8040/.%2E/b", None),
        ] {
            assert_eq!(super::address(url), address, "{url}");
        }
    }
}
