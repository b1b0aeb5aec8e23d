//! Who may look into the data directory: its owner alone.
//!
//! A folder that is this user's is closed to others. In one that is another's (a volume that Kubernetes or NFS mounts) the
//! proxy keeps a folder of its own, `alyx-proxy`. Where neither can be, it does not start.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The folder of our own within one that is another's.
const OWN: &str = "alyx-proxy";

/// What earlier versions have put into a folder that is another's; the last of them says that it was there.
const MOVED: [&str; 6] =
    ["secret.key", "admin-token", "snapshot.key", "snapshot-keys.json", "audit", "upstreams"];

/// Why a folder is not fit for secrets.
#[derive(Debug, thiserror::Error)]
pub enum PrivacyError {
    /// I/O error.
    #[error("the data directory can't be used: {0}: {1}")]
    Io(PathBuf, io::Error),
    /// It is another user's, who may read and change what is in it.
    #[error("{0}: it is another user's (uid {1}); it must be the one's who runs the proxy (uid {2})")]
    Foreign(PathBuf, u32, u32),
    /// It is another user's, and no folder can be made in it.
    #[error(
        "{0}: it is another user's (uid {1}), and this user can make no folder of its own in it ({2}); choose another `storage.data_dir`, or give this one to the user who runs the proxy"
    )]
    NoRoom(PathBuf, u32, io::Error),
    /// Others may enter it, and nothing helps.
    #[error(
        "{0}: other users can enter it (mode {1:03o}), and it can't be closed to them: {2}; choose a `storage.data_dir` on a file system that keeps owners and modes"
    )]
    Open(PathBuf, u32, String),
}

/// Where the proxy keeps its data where this is set as its directory: in that, or in a folder of its own below it.
#[cfg(unix)]
pub fn own_folder(folder: PathBuf) -> PathBuf {
    let own = folder.join(OWN);
    // One that somebody else has planted there is not taken for it.
    let is_there = own.is_dir() && must_be_ours(&own).is_ok();
    if is_there && is_anothers(&folder).is_some() { own } else { folder }
}

/// Other systems have other means.
#[cfg(not(unix))]
pub fn own_folder(folder: PathBuf) -> PathBuf {
    folder
}

/// The user who owns this folder, where that is another than this one.
#[cfg(unix)]
pub fn owner_of_anothers(folder: &Path) -> Option<u32> {
    is_anothers(folder)
}

/// Other systems have other means.
#[cfg(not(unix))]
pub fn owner_of_anothers(_: &Path) -> Option<u32> {
    None
}

/// The owner of a folder that is there and another's.
#[cfg(unix)]
fn is_anothers(folder: &Path) -> Option<u32> {
    use std::os::unix::fs::MetadataExt;
    let owner = fs::metadata(folder).ok()?.uid();
    (owner != own_user()).then_some(owner)
}

#[cfg(unix)]
fn own_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Makes the data directory, for its owner alone: this one, or in one that is another's a folder of our own, which is what is
/// used from then on. What an earlier version has put beside it moves there.
#[cfg(unix)]
pub(crate) fn take_own(folder: &Path) -> Result<PathBuf, PrivacyError> {
    let Some(owner) = is_anothers(folder) else {
        make_private(folder)?;
        return Ok(folder.to_owned());
    };
    // Of a folder that another user's proxy keeps nothing is ours.
    for name in ["upstreams", "lock", "secret.key", "admin-token"] {
        must_be_ours(&folder.join(name))?;
    }
    let own = folder.join(OWN);
    must_be_ours(&own)?;
    let is_new = !own.exists();
    make_private(&own).map_err(|error| match error {
        PrivacyError::Io(_, error) => PrivacyError::NoRoom(folder.to_owned(), owner, error),
        error => error,
    })?;
    if is_new {
        tracing::warn!(folder = %own.display(), "the data directory is another user's ({owner}): what is remembered lies in a folder of its own in it");
    }
    move_into(folder, &own)?;
    Ok(own)
}

/// Moves what an earlier version has put into a folder, unless a proxy still uses it.
#[cfg(unix)]
fn move_into(folder: &Path, own: &Path) -> Result<(), PrivacyError> {
    let before = folder.join("upstreams");
    if !before.exists() || own.join("upstreams").exists() {
        return Ok(());
    }
    let io = |error| PrivacyError::Io(folder.to_owned(), error);
    let lock =
        open_private(fs::OpenOptions::new().truncate(false).write(true), &folder.join("lock")).map_err(io)?;
    lock.try_lock().map_err(|error| io(error.into()))?;
    for name in MOVED {
        match fs::rename(folder.join(name), own.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io(error)),
            _ => {}
        }
    }
    tracing::warn!(folder = %own.display(), "what lay in the data directory has moved there");
    Ok(())
}

/// Makes a folder, and those above it, for its owner alone. One of ours that is there and open to others is closed to them.
#[cfg(unix)]
pub(crate) fn make_private(folder: &Path) -> Result<(), PrivacyError> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    let io = |error| PrivacyError::Io(folder.to_owned(), error);
    let mode =
        |folder: &Path| fs::metadata(folder).map(|about| about.permissions().mode() & 0o777).map_err(io);
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(io)?;
    // What a link of root's leads to (systemd's private folders) may be ours.
    if let Some(owner) = is_anothers(folder) {
        return Err(PrivacyError::Foreign(folder.to_owned(), owner, own_user()));
    }
    let before = mode(folder)?;
    if before & 0o077 != 0 {
        let closed = fs::set_permissions(folder, fs::Permissions::from_mode(0o700));
        let open = |why: String| PrivacyError::Open(folder.to_owned(), before, why);
        closed.map_err(|error| open(error.to_string()))?;
        // Some file systems say that it is done, and keep no modes.
        if mode(folder)? & 0o077 != 0 {
            return Err(open("its file system keeps no modes".to_owned()));
        }
        tracing::warn!(folder = %folder.display(), "others could enter the data directory ({before:o}); it is its owner's alone now");
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
    let own = own_user();
    match fs::symlink_metadata(path) {
        Ok(about) if about.uid() == own => Ok(()),
        Ok(about) => Err(PrivacyError::Foreign(path.to_owned(), about.uid(), own)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(PrivacyError::Io(path.to_owned(), error)),
    }
}

/// Makes a folder in the data directory, for its owner alone.
pub(crate) fn make_private_below(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt;
        builder.mode(0o700);
    }
    builder.create(folder)?;
    must_be_ours(folder).map_err(io::Error::other)
}

/// Opens a file for its owner alone, made where there is none, without following a link: what that leads to is not ours.
pub(crate) fn open_private(options: &mut fs::OpenOptions, path: &Path) -> io::Result<fs::File> {
    options.create(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600).custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed());
    }
    let file = options.open(path)?;
    must_be_ours(path).map_err(io::Error::other)?;
    Ok(file)
}

/// What this process makes from here on is readable by its user alone, and its memory, which holds passwords, is not written to
/// a disk when it crashes.
#[cfg(unix)]
pub(crate) fn close_to_others() {
    rustix::process::umask(rustix::fs::Mode::from_bits_truncate(0o077));
    let none = rustix::process::Rlimit { current: Some(0), maximum: Some(0) };
    if let Err(error) = rustix::process::setrlimit(rustix::process::Resource::Core, none) {
        tracing::debug!(%error, "core dumps can't be switched off");
    }
}

/// Makes a folder, and those above it.
#[cfg(not(unix))]
pub(crate) fn make_private(folder: &Path) -> Result<(), PrivacyError> {
    fs::create_dir_all(folder).map_err(|error| PrivacyError::Io(folder.to_owned(), error))
}

/// Makes the data directory.
#[cfg(not(unix))]
pub(crate) fn take_own(folder: &Path) -> Result<PathBuf, PrivacyError> {
    make_private(folder).map(|()| folder.to_owned())
}

/// Other systems have other means.
#[cfg(not(unix))]
pub(crate) fn must_be_ours(_: &Path) -> Result<(), PrivacyError> {
    Ok(())
}

/// Other systems have other means.
#[cfg(not(unix))]
pub(crate) fn close_to_others() {}
