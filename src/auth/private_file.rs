//! Files that are for their owner alone.

use std::{
    fs, io,
    io::Write,
    path::{Path, PathBuf},
};

use super::SecretError;
use crate::data_dir;

/// Writes a file that only its owner can read, whole or not at all.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // Written beside and renamed, so that a crash leaves no half of a secret.
    let beside = PathBuf::from(format!("{}.new", path.display()));
    fs::remove_file(&beside)
        .or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
        .and_then(|()| for_owner_only(&beside))
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&beside, path))
}

#[cfg(unix)]
fn for_owner_only(path: &Path) -> io::Result<fs::File> {
    use std::os::unix::fs::OpenOptionsExt;
    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

#[cfg(not(unix))]
fn for_owner_only(path: &Path) -> io::Result<fs::File> {
    fs::OpenOptions::new().write(true).create_new(true).open(path)
}

/// Refuses a file that others can read, or that is another user's: who made it knows what is in it.
#[cfg(unix)]
pub(crate) fn check(path: &Path) -> Result<(), SecretError> {
    check_mode(path)?;
    data_dir::must_be_ours(path).map_err(SecretError::Foreign)
}

/// The same for whoever commands another user's proxy, as root may: the file is to be the one's whose folder it lies in.
#[cfg(unix)]
pub(crate) fn check_in_folder(path: &Path) -> Result<(), SecretError> {
    use std::os::unix::fs::MetadataExt;
    check_mode(path)?;
    let owner = |path: &Path| fs::metadata(path).ok().map(|metadata| metadata.uid());
    match path.parent().and_then(owner) {
        Some(folders) if owner(path) == Some(folders) => Ok(()),
        _ => data_dir::must_be_ours(path).map_err(SecretError::Foreign),
    }
}

#[cfg(unix)]
fn check_mode(path: &Path) -> Result<(), SecretError> {
    use std::os::unix::fs::PermissionsExt;
    let mode =
        fs::metadata(path).map_err(|error| SecretError::Io(path.to_owned(), error))?.permissions().mode();
    let of_others = mode & 0o077;
    if of_others > 0 { Err(SecretError::Open(path.to_owned(), mode & 0o777)) } else { Ok(()) }
}

/// Other systems have other means.
#[cfg(not(unix))]
pub(crate) fn check_in_folder(_: &Path) -> Result<(), SecretError> {
    Ok(())
}

/// Other systems have other means.
#[cfg(not(unix))]
pub(crate) fn check(_: &Path) -> Result<(), SecretError> {
    Ok(())
}
