//! The data directory: its folders, and the lock that keeps it for one process.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

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
    let mut options = fs::OpenOptions::new();
    options.create(true).truncate(false).read(true).write(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600).custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed());
    }
    options.open(path)
}

fn note(mut file: &fs::File) -> io::Result<()> {
    file.set_len(0)?;
    file.write_all(std::process::id().to_string().as_bytes())
}

/// Why a folder is not fit for secrets.
#[derive(Debug, thiserror::Error)]
pub enum PrivacyError {
    /// I/O error.
    #[error("{0}: {1}")]
    Io(PathBuf, io::Error),
    /// It is another user's, who may read and change what is in it.
    #[error("{0}: it is another user's (uid {1}); it must be the one's who runs the proxy (uid {2})")]
    Foreign(PathBuf, u32, u32),
    /// Everybody may put files there.
    #[error(
        "{0}: it is another user's, and every user of this machine may write there; choose a folder below it for `storage.data_dir`, which is made for this user alone"
    )]
    WritableByAll(PathBuf),
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

/// Makes a folder, and those above it, for its owner alone. One of ours that is there and open to others is closed to them. One
/// that is not ours (a volume that Kubernetes or NFS mounts) is taken where no other user may write there; what lies in it
/// must be ours.
#[cfg(unix)]
pub(crate) fn make_private(folder: &Path) -> Result<(), PrivacyError> {
    use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
    let io = |error| PrivacyError::Io(folder.to_owned(), error);
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(io)?;
    let about = fs::metadata(folder).map_err(io)?;
    let mode = about.mode() & 0o777;
    if about.uid() == rustix::process::geteuid().as_raw() {
        if mode & 0o077 != 0 {
            fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).map_err(io)?;
            tracing::warn!(folder = %folder.display(), "others could enter the data directory ({mode:o}); it is its owner's alone now");
        }
    } else if mode & 0o002 != 0 {
        return Err(PrivacyError::WritableByAll(folder.to_owned()));
    } else {
        tracing::warn!(folder = %folder.display(), "the data directory is another user's ({}): what is in it is readable by that user", about.uid());
    }
    for name in ["upstreams", "lock"] {
        must_be_ours(&folder.join(name))?;
    }
    Ok(())
}

/// Whether a file or folder that is there is this process's user's, and no link to elsewhere.
#[cfg(unix)]
pub(crate) fn must_be_ours(path: &Path) -> Result<(), PrivacyError> {
    use std::os::unix::fs::MetadataExt;
    let own = rustix::process::geteuid().as_raw();
    match fs::symlink_metadata(path) {
        Ok(about) if about.uid() == own => Ok(()),
        Ok(about) => Err(PrivacyError::Foreign(path.to_owned(), about.uid(), own)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(PrivacyError::Io(path.to_owned(), error)),
    }
}

/// What this process makes from here on is readable by its user alone.
#[cfg(unix)]
pub(crate) fn close_to_others() {
    rustix::process::umask(rustix::fs::Mode::from_bits_truncate(0o077));
}

/// Makes a folder, and those above it.
#[cfg(not(unix))]
pub(crate) fn make_private(folder: &Path) -> Result<(), PrivacyError> {
    fs::create_dir_all(folder).map_err(|error| PrivacyError::Io(folder.to_owned(), error))
}

/// Other systems have other means.
#[cfg(not(unix))]
pub(crate) fn must_be_ours(_: &Path) -> Result<(), PrivacyError> {
    Ok(())
}

/// Other systems have other means.
#[cfg(not(unix))]
pub(crate) fn close_to_others() {}

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
