//! Keeping what was there, and putting it back byte for byte.
//!
//! In `.alyx-proxy-undo` beside ONE's files lie the originals and a list of them. Setting up a second time adds to that
//! list and replaces nothing in it: what is put back is what was there before the first time.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{Change, OneError, files, plan::CACHES};

const FOLDER: &str = ".alyx-proxy-undo";
const LIST: &str = "list.json";

#[derive(Debug, Default, Serialize, Deserialize)]
struct List {
    files: Vec<Kept>,
}

/// A file as it was, and what was written in its place.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    name: String,
    /// The mode that it had; none where there was no such file.
    mode: Option<u32>,
    /// BLAKE3 of what was written.
    written: String,
}

/// What was put back.
#[derive(Debug, PartialEq, Eq)]
pub enum Undone {
    /// The old file.
    Restored(PathBuf),
    /// A file that was not there before.
    Removed(PathBuf),
}

/// Keeps what these changes are about to replace.
pub(super) fn keep(folder: &Path, changes: &[Change]) -> Result<(), OneError> {
    if changes.is_empty() {
        return Ok(());
    }
    let store = folder.join(FOLDER);
    fs::create_dir_all(&store).map_err(OneError::io(&store))?;
    fs::set_permissions(&store, fs::Permissions::from_mode(0o700)).map_err(OneError::io(&store))?;
    let mut list = read(&store)?.unwrap_or_default();
    for change in changes {
        let name = name_of(&change.path);
        let written = blake3::hash(&change.after).to_hex().to_string();
        if let Some(kept) = list.files.iter_mut().find(|kept| kept.name == name) {
            kept.written = written;
            continue;
        }
        let mode = match &change.before {
            Some(bytes) => {
                let metadata = fs::metadata(&change.path).map_err(OneError::io(&change.path))?;
                files::write_as(&original(&store, &name), bytes, 0o600)?;
                Some(metadata.permissions().mode() & 0o777)
            }
            None => None,
        };
        list.files.push(Kept { name, mode, written });
    }
    let text = serde_json::to_vec_pretty(&list).unwrap_or_default();
    files::write_as(&store.join(LIST), &text, 0o600)
}

/// Puts back what was there before; says what it did. Unless `force` is set, a file that somebody else has changed
/// since stays, and nothing is put back.
pub fn undo(folder: &Path, force: bool) -> Result<Vec<Undone>, OneError> {
    let store = folder.join(FOLDER);
    let list = read(&store)?.ok_or_else(|| OneError::NothingToUndo(folder.to_owned()))?;
    for kept in &list.files {
        let path = folder.join(&kept.name);
        let now = files::read(&path)?.map(|bytes| blake3::hash(&bytes).to_hex().to_string());
        // ONE writes its token into the file that was made for the proxy: that one goes in any case.
        let made_for_proxy = kept.mode.is_none() && kept.name != CACHES;
        if !force && !made_for_proxy && now.as_ref() != Some(&kept.written) {
            return Err(OneError::Changed(path));
        }
    }
    let mut done = Vec::new();
    for kept in &list.files {
        let path = folder.join(&kept.name);
        let Some(mode) = kept.mode else {
            files::remove(&path)?;
            done.push(Undone::Removed(path));
            continue;
        };
        let bytes = files::read(&original(&store, &kept.name))?;
        let bytes = bytes.ok_or_else(|| OneError::NothingToUndo(folder.to_owned()))?;
        files::write_as(&path, &bytes, mode)?;
        done.push(Undone::Restored(path));
    }
    fs::remove_dir_all(&store).map_err(OneError::io(&store))?;
    // Made by the first setup, or never used: ONE makes it anew.
    let _ = fs::remove_dir(folder);
    Ok(done)
}

fn read(store: &Path) -> Result<Option<List>, OneError> {
    let path = store.join(LIST);
    let parse = |bytes: Vec<u8>| {
        let list: List = serde_json::from_slice(&bytes)
            .map_err(|error| OneError::Strange(path.clone(), error.to_string()))?;
        // Names come from a file: they must not lead elsewhere.
        match list.files.iter().find(|kept| Path::new(&kept.name).components().count() != 1) {
            Some(kept) => Err(OneError::Strange(path.clone(), format!("{:?} is no file's name", kept.name))),
            None => Ok(list),
        }
    };
    files::read(&path)?.map(parse).transpose()
}

fn original(store: &Path, name: &str) -> PathBuf {
    store.join(format!("original{name}"))
}

fn name_of(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
