//! Reading and writing the files as ONE does: all that belong together, or none.

use std::{
    fmt::Write as _,
    fs::{self, File, Permissions},
    io::{self, ErrorKind, Write as _},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown},
    path::{Path, PathBuf},
};

use blake2::{Blake2s256, Digest};
use serde::Serialize;
use serde_json::{Map, Value, ser::PrettyFormatter};

use super::OneError;

/// What the name of a file ends with until it takes its place.
pub(super) const NEW: &str = ".alyx-proxy-new";

/// A file's bytes; none where there is no file.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>, OneError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(OneError::Io(path.to_owned(), error)),
    }
}

/// A parameter file's content; empty where there is no file. Numbers that would not come out as they went in are
/// refused: ONE writes none.
pub(super) fn parse(path: &Path, bytes: Option<&[u8]>) -> Result<Map<String, Value>, OneError> {
    let Some(bytes) = bytes else { return Ok(Map::new()) };
    let strange = |why: String| OneError::Strange(path.to_owned(), why);
    let map: Map<String, Value> =
        serde_json::from_slice(bytes).map_err(|error| strange(error.to_string()))?;
    match map.values().find_map(fraction) {
        Some(number) => Err(strange(format!("the number {number}"))),
        None => Ok(map),
    }
}

/// A number that is read as a float: one with a fraction or an exponent, or one that is too large.
fn fraction(value: &Value) -> Option<&serde_json::Number> {
    match value {
        Value::Number(number) => number.is_f64().then_some(number),
        Value::Array(list) => list.iter().find_map(fraction),
        Value::Object(map) => map.values().find_map(fraction),
        _ => None,
    }
}

/// Parameters in the form in which ONE writes them: Python's `json.dump(…, indent=4)`, which is ASCII.
pub(super) fn render(parameters: &impl Serialize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut to = serde_json::Serializer::with_formatter(&mut bytes, PrettyFormatter::with_indent(b"    "));
    // A map of JSON values can always be written to memory.
    let _ = parameters.serialize(&mut to);
    let mut ascii = String::with_capacity(bytes.len());
    // What is not ASCII stands in strings only.
    for c in String::from_utf8_lossy(&bytes).chars() {
        if c.is_ascii() && c != '\u{7f}' {
            ascii.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // A string takes everything.
                let _ = write!(ascii, "\\u{unit:04x}");
            }
        }
    }
    ascii.into_bytes()
}

/// By which what was written is known again: BLAKE2s, which Python's standard library has too.
pub(super) fn digest(bytes: &[u8]) -> String {
    format!("{:x}", Blake2s256::digest(bytes))
}

/// A file's permissions; none where there is no file.
pub(super) fn mode(path: &Path) -> Result<Option<u32>, OneError> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata.permissions().mode() & 0o777)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(OneError::Io(path.to_owned(), error)),
    }
}

/// The folder and those above it that are not there, the outermost first.
pub(super) fn absent(folder: &Path) -> Vec<PathBuf> {
    let mut missing: Vec<PathBuf> =
        folder.ancestors().take_while(|path| !path.exists()).map(Path::to_owned).collect();
    missing.reverse();
    missing
}

/// A folder that must be there.
pub(super) struct Folder<'a> {
    pub(super) path: &'a Path,
    /// Its permissions, where they matter.
    pub(super) mode: Option<u32>,
}

/// A file that is to be written or, without content, to be removed.
pub(super) struct FileWrite {
    pub(super) path: PathBuf,
    pub(super) content: Option<Vec<u8>>,
    pub(super) mode: u32,
}

impl FileWrite {
    pub(super) fn new(path: PathBuf, content: Vec<u8>, mode: u32) -> Self {
        Self { path, content: Some(content), mode }
    }

    pub(super) fn removal(path: PathBuf) -> Self {
        Self { path, content: None, mode: 0 }
    }
}

/// Makes folders, then writes and removes files in this order: all, or none. Everything is written beside the files
/// first, so that what can go wrong goes wrong before anything has changed.
pub(super) fn commit(folders: &[Folder], writes: &[FileWrite]) -> Result<(), OneError> {
    let mut back = Rollback::default();
    let result = back.commit(folders, writes);
    if result.is_err() {
        back.go();
    }
    result
}

/// The way back.
#[derive(Default)]
struct Rollback {
    made: Vec<PathBuf>,
    staged: Vec<PathBuf>,
    done: Vec<(PathBuf, Option<FileContent>)>,
}

/// What stood in a file's place, and its permissions.
type FileContent = (Vec<u8>, u32);

impl Rollback {
    fn commit(&mut self, folders: &[Folder], writes: &[FileWrite]) -> Result<(), OneError> {
        for folder in folders {
            for missing in absent(folder.path) {
                fs::create_dir(&missing).map_err(OneError::io(&missing))?;
                give(&missing, missing.parent());
                self.made.push(missing);
            }
            if let Some(mode) = folder.mode {
                let mode = Permissions::from_mode(mode);
                fs::set_permissions(folder.path, mode).map_err(OneError::io(folder.path))?;
            }
        }
        let writes: Vec<(PathBuf, &FileWrite)> =
            writes.iter().map(|write| (real(&write.path), write)).collect();
        for (path, write) in &writes {
            if let Some(bytes) = &write.content {
                self.staged.push(path.clone());
                stage(path, bytes, write.mode).map_err(OneError::io(path))?;
            }
        }
        for (path, write) in &writes {
            let before = read(path)?.zip(mode(path)?);
            self.done.push((path.clone(), before));
            let change = if write.content.is_some() { fs::rename(beside(path), path) } else { remove(path) };
            change.map_err(OneError::io(path))?;
        }
        Ok(())
    }

    /// Takes back what was done, as far as that is possible.
    fn go(self) {
        for path in self.staged {
            let _ = remove(&beside(&path));
        }
        for (path, before) in self.done.into_iter().rev() {
            let _ = match before {
                Some((bytes, mode)) => {
                    stage(&path, &bytes, mode).and_then(|()| fs::rename(beside(&path), &path))
                }
                None => remove(&path),
            };
        }
        for folder in self.made.iter().rev() {
            let _ = fs::remove_dir(folder);
        }
    }
}

/// Where a file lies: links are followed, also to a file that is not there yet, as ONE does.
fn real(path: &Path) -> PathBuf {
    let mut path = path.to_owned();
    // As many as Linux follows.
    for _ in 0..40 {
        if let Ok(real) = fs::canonicalize(&path) {
            return real;
        }
        let Ok(to) = fs::read_link(&path) else { break };
        path = path.parent().map_or_else(|| to.clone(), |folder| folder.join(&to));
    }
    path
}

/// Writes what is to replace a file beside it.
fn stage(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let new = beside(path);
    remove(&new)?;
    let mut file: File = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    file.set_permissions(Permissions::from_mode(mode))?;
    give(&new, if path.exists() { Some(path) } else { path.parent() });
    Ok(())
}

/// Where a file lies until it takes its place.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(NEW);
    PathBuf::from(name)
}

/// Gives what root has made in somebody's home to that somebody.
fn give(path: &Path, model: Option<&Path>) {
    if let (Ok(own), Some(Ok(owner))) = (fs::metadata(path), model.map(fs::metadata))
        && own.uid() != owner.uid()
    {
        // Who is not root can't, and need not.
        let _ = chown(path, Some(owner.uid()), Some(owner.gid()));
    }
}

/// Removes a file, if there is one.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn parameters_are_written_as_python_writes_them() {
        let value: Value =
            serde_json::from_str(r#"{"ü": ["\u007f\u001f\t\"\\/😀"], "e": {}, "n": [], "l": 12}"#).unwrap();
        let python = "{\n    \"\\u00fc\": [\n        \"\\u007f\\u001f\\t\\\"\\\\/\\ud83d\\ude00\"\n    ],\n    \"e\": {},\n    \"n\": [],\n    \"l\": 12\n}";
        assert_eq!(String::from_utf8(render(&value)).unwrap(), python);
    }

    #[test]
    fn a_file_that_fails_late_takes_back_those_before_it() {
        let home = tempfile::tempdir().unwrap();
        let [first, second, third] = ["first", "second", "third"].map(|name| home.path().join(name));
        fs::write(&first, "before").unwrap();
        fs::create_dir(&second).unwrap();
        let folder = home.path().join("new/folder");
        let write = |path: &PathBuf| FileWrite::new(path.clone(), b"after".to_vec(), 0o600);
        let folders = [Folder { path: &folder, mode: None }];
        assert!(commit(&folders, &[write(&first), write(&third), write(&second)]).is_err());
        let mut left: Vec<PathBuf> =
            fs::read_dir(&home).unwrap().map(|entry| entry.unwrap().path()).collect();
        left.sort();
        assert_eq!(left, [first.clone(), second]);
        assert_eq!(fs::read(first).unwrap(), b"before");
    }
}
