//! The data directory: its folders, and the lock that keeps it for one process.

mod private;

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

pub use private::PrivacyError;
#[cfg(test)]
pub(crate) use private::make_private;
pub(crate) use private::{close_to_others, make_private_below, must_be_ours, open_private, take_own};
pub use private::{own_folder, owner_of_anothers};

/// Why the data directory can't be used.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// I/O error.
    #[error("{0}: {1}")]
    Io(PathBuf, io::Error),
    /// Another proxy uses the folder.
    #[error("{0}: in use by another alyx-proxy{1}; stop that one, or choose another `storage.data_dir`")]
    InUse(PathBuf, String),
}

/// Where what is remembered of the Alyx at this URL lies in a data directory.
pub fn upstream_folder(data_dir: &Path, url: &str) -> PathBuf {
    data_dir.join("upstreams").join(folder_name(url))
}

/// Where files of the data server at this URL lie in a data directory.
pub(crate) fn data_files_folder(data_dir: &Path, origin: &str) -> PathBuf {
    data_dir.join("data-files").join(folder_name(origin))
}

/// What is remembered belongs to one upstream: its host for people, a hash of its whole URL for us.
fn folder_name(base: &str) -> String {
    let host = base.split_once("://").map_or(base, |(_, rest)| rest);
    let readable: String = host
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-') { c } else { '_' })
        .take(80)
        .collect();
    format!("{readable}-{}", &blake3::hash(base.as_bytes()).to_hex()[..8])
}

/// Takes the data directory for this process; nobody else may use it while the file is held.
pub(crate) fn lock(data_dir: &Path) -> Result<fs::File, LockError> {
    let path = data_dir.join("lock");
    let io = |error| LockError::Io(path.clone(), error);
    let file = open_lock(&path).map_err(io)?;
    match file.try_lock() {
        Ok(()) => {
            // Only told to a second proxy; a full disk is no reason not to start.
            if let Err(error) = note(&file) {
                tracing::debug!(%error, "the number of this process is not noted");
            }
            Ok(file)
        }
        Err(fs::TryLockError::WouldBlock) => {
            let holder = fs::read_to_string(&path).unwrap_or_default();
            let holder = if holder.is_empty() { holder } else { format!(" (process {holder})") };
            Err(LockError::InUse(data_dir.to_owned(), holder))
        }
        Err(fs::TryLockError::Error(error)) => Err(io(error)),
    }
}

/// The file, without following a link: what it leads to is not ours to change.
fn open_lock(path: &Path) -> io::Result<fs::File> {
    open_private(fs::OpenOptions::new().truncate(false).read(true).write(true), path)
}

fn note(mut file: &fs::File) -> io::Result<()> {
    file.set_len(0)?;
    file.write_all(std::process::id().to_string().as_bytes())
}

/// Where the proxy of a data directory listens, for the commands that are given that directory and no URL. Gone when it ends.
#[derive(Debug)]
pub struct ListeningNote(PathBuf);

impl ListeningNote {
    /// Notes this base URL. Where that fails, commands go by the settings.
    pub fn write(data_dir: &Path, url: &str) -> Self {
        let path = data_dir.join(LISTENING);
        if let Err(error) = fs::write(&path, url) {
            tracing::debug!(%error, "where it listens is not noted");
        }
        Self(path)
    }

    /// What the proxy that runs there has noted, or one that was killed.
    pub fn read(data_dir: &Path) -> Option<String> {
        fs::read_to_string(data_dir.join(LISTENING)).ok().filter(|url| !url.is_empty())
    }
}

impl Drop for ListeningNote {
    fn drop(&mut self) {
        // Where it stays, the next one writes another.
        let _ = fs::remove_file(&self.0);
    }
}

const LISTENING: &str = "listening";

/// The file system of a folder, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DiskSpace {
    /// What is left for this process.
    pub(crate) free: u64,
    /// All of it.
    pub(crate) size: u64,
}

/// How much room there is where a folder lies.
#[cfg(unix)]
pub(crate) fn disk_space(folder: &Path) -> io::Result<DiskSpace> {
    let about = rustix::fs::statvfs(folder)?;
    let bytes = |blocks: u64| blocks.saturating_mul(about.f_frsize);
    Ok(DiskSpace { free: bytes(about.f_bavail), size: bytes(about.f_blocks) })
}

/// Not asked for on other systems.
#[cfg(not(unix))]
pub(crate) fn disk_space(_: &Path) -> io::Result<DiskSpace> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_upstream_has_a_folder_of_its_own() {
        let names: std::collections::HashSet<_> =
            ["http://a", "https://a", "https://a:1", "https://a/b", "https://a_b", "https://a/b/../../c"]
                .iter()
                .map(|base| folder_name(base))
                .collect();
        assert_eq!(names.len(), 6);
        assert!(names.iter().all(|name| !name.contains('/')));
    }
}
