//! Reading and writing the files as ONE does.

use std::{
    fs::{self, File},
    io::{ErrorKind, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use serde::Serialize;
use serde_json::{Map, Value, ser::PrettyFormatter};

use super::OneError;

/// A file's bytes; none where there is no file.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>, OneError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(OneError::Io(path.to_owned(), error)),
    }
}

/// A parameter file's content.
pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<Map<String, Value>, OneError> {
    serde_json::from_slice(bytes).map_err(|error| OneError::Strange(path.to_owned(), error.to_string()))
}

/// Parameters in the form in which ONE writes them.
pub(super) fn render(parameters: &Map<String, Value>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut to = serde_json::Serializer::with_formatter(&mut bytes, PrettyFormatter::with_indent(b"    "));
    // A map of JSON values can always be written to memory.
    let _ = parameters.serialize(&mut to);
    bytes
}

/// Writes a file whole or not at all: with the mode of the one that it replaces, or for its owner alone.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), OneError> {
    let mode = fs::metadata(path).map_or(0o600, |metadata| metadata.permissions().mode() & 0o777);
    write_as(path, bytes, mode)
}

/// The same with this mode.
pub(super) fn write_as(path: &Path, bytes: &[u8], mode: u32) -> Result<(), OneError> {
    let beside = PathBuf::from(format!("{}.alyx-proxy-new", path.display()));
    let written = remove(&beside).and_then(|()| {
        let open = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside);
        let write = |mut file: File| {
            file.write_all(bytes)?;
            file.set_permissions(fs::Permissions::from_mode(mode))?;
            file.sync_all()
        };
        open.and_then(write).and_then(|()| fs::rename(&beside, path)).map_err(OneError::io(path))
    });
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written
}

/// Removes a file, if there is one.
pub(super) fn remove(path: &Path) -> Result<(), OneError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(OneError::Io(path.to_owned(), error)),
        _ => Ok(()),
    }
}
