//! Putting a fresh file in the place of a database that can't be used.
//!
//! Until the fresh file is whole the one before stays where it is, and after an interruption at any moment the next
//! start finds one or the other: `proxy.part` is being filled and counts for nothing, `proxy.fresh` is whole.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{clean_shutdown, open::StoreOpenError};
use crate::clock;

/// What came of an exchange.
pub(super) struct Exchanged<T> {
    /// What was told of the fresh file.
    pub(super) told: T,
    /// Where the one before lies now, if there was one.
    pub(super) aside: Option<PathBuf>,
}

/// Has a fresh file filled, sets the one at `path` aside, and puts the fresh one there. On an error the one before is
/// where it was, or the next start takes the fresh one.
pub(super) fn atomic_replace<T>(
    path: &Path,
    fill: impl FnOnce(&Path) -> Result<T, StoreOpenError>,
) -> Result<Exchanged<T>, StoreOpenError> {
    let (part, fresh) = (part(path), fresh(path));
    remove(&part);
    let filled = fill(&part).and_then(|told| {
        let whole = fs::File::open(&part).and_then(|file| file.sync_all());
        whole
            .and_then(|()| fs::rename(&part, &fresh))
            .map_err(|error| StoreOpenError::Io(part.clone(), error))?;
        Ok(told)
    });
    // What does not fit on a disk frees what it took.
    let told = filled.inspect_err(|_| remove(&part))?;
    let was_there = path.exists();
    let aside = set_aside(path)?;
    fs::rename(&fresh, path).map_err(|error| StoreOpenError::Io(path.to_owned(), error))?;
    // It was read as a whole to be written, and what it lacks is not in a log.
    clean_shutdown::write(path, clock::now());
    Ok(Exchanged { told, aside: was_there.then_some(aside) })
}

/// Ends an exchange that was interrupted, before the database is opened.
pub(super) fn finish_interrupted(path: &Path) -> Result<(), StoreOpenError> {
    let (part, fresh) = (part(path), fresh(path));
    remove(&part);
    let is_there =
        |file: &Path| file.try_exists().map_err(|error| StoreOpenError::Io(file.to_owned(), error));
    if is_there(path)? {
        // It was not set aside yet: it has all that the fresh one has, and what came later.
        remove(&fresh);
    } else if is_there(&fresh)? {
        // The log of the one before is none of the fresh one's.
        set_aside(path)?;
        fs::rename(&fresh, path).map_err(|error| StoreOpenError::Io(path.to_owned(), error))?;
        tracing::warn!(
            "the database {} was being replaced when the program ended: its fresh file is used",
            path.display()
        );
    }
    Ok(())
}

/// Moves a database, and its logs after it, to a name that says when that was.
fn set_aside(path: &Path) -> Result<PathBuf, StoreOpenError> {
    let at = clock::for_machines(clock::now()).replace(':', "-");
    let aside = path.with_file_name(format!("damaged-{at}.db"));
    for suffix in ["", "-wal", "-shm"] {
        let with_suffix = |path: &Path| PathBuf::from(format!("{}{suffix}", path.display()));
        let (from, to) = (with_suffix(path), with_suffix(&aside));
        match fs::rename(&from, &to) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(StoreOpenError::Io(from, error));
            }
            _ => {}
        }
    }
    Ok(aside)
}

/// Removes what an earlier try left.
fn remove(file: &Path) {
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let file = PathBuf::from(format!("{}{suffix}", file.display()));
        match fs::remove_file(&file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::debug!(%error, file = %file.display(), "not removed");
            }
            _ => {}
        }
    }
}

fn part(path: &Path) -> PathBuf {
    path.with_extension("part")
}

fn fresh(path: &Path) -> PathBuf {
    path.with_extension("fresh")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names in a folder, but for the time of what was set aside.
    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .map(|name| if name.starts_with("damaged-") { "damaged".to_owned() } else { name })
            .collect();
        names.sort();
        names
    }

    #[test]
    fn the_one_before_stays_until_the_fresh_one_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("proxy.db");
        fs::write(&path, "before").unwrap();
        let fails = atomic_replace(&path, |part| {
            assert_eq!(fs::read(&path).unwrap(), b"before", "while it is being filled");
            fs::write(part, "half").unwrap();
            Err::<(), _>(StoreOpenError::Newer(part.to_owned()))
        });
        assert!(fails.is_err());
        assert_eq!(
            (names(folder.path()), fs::read(&path).unwrap()),
            (vec!["proxy.db".to_owned()], b"before".into())
        );
        let write = |part: &Path| {
            fs::write(part, "after").map_err(|error| StoreOpenError::Io(part.to_owned(), error))
        };
        let Exchanged { aside, .. } = atomic_replace(&path, write).unwrap();
        assert_eq!(fs::read(aside.unwrap()).unwrap(), b"before");
        assert_eq!(fs::read(&path).unwrap(), b"after");
    }

    #[test]
    fn one_that_was_interrupted_is_ended_at_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("proxy.db");
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        // While the fresh one was being filled, and before the one before was set aside.
        for left in ["proxy.part", "proxy.fresh"] {
            write("proxy.db", "before");
            write("proxy.db-wal", "log");
            write(left, "after");
            finish_interrupted(&path).unwrap();
            assert_eq!(names(folder.path()), ["proxy.db", "proxy.db-wal"], "{left}");
            assert_eq!(fs::read(&path).unwrap(), b"before", "{left}");
        }
        // Between the two: its log is still there, and is none of the fresh one's.
        fs::remove_file(&path).unwrap();
        write("proxy.fresh", "after");
        finish_interrupted(&path).unwrap();
        assert_eq!(names(folder.path()), ["damaged", "proxy.db"]);
        assert_eq!(fs::read(&path).unwrap(), b"after");
        // A part is nothing.
        fs::remove_file(&path).unwrap();
        write("proxy.part", "half");
        finish_interrupted(&path).unwrap();
        assert_eq!(names(folder.path()), ["damaged"]);
    }
}
