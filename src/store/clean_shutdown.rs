//! A seal on a database that was closed in good order: as long as the file is as it was left, it needn't be read
//! as a whole before it is used again, which takes a second for every few gigabytes, and minutes on a slow disk.
//!
//! The seal is broken when the database is opened, so that after a crash there is none. It names the file's length
//! and the time of its last change, and what the file system alone can note of it, its number and the time when it came
//! to be as it is: a file that somebody else has written to, or brought back from a copy, with its times or without, is
//! checked. What a disk loses by itself shows in none of these, so a seal counts for a month at most. The check looks at how
//! pages hang together, not at what stands in them: stored answers have checksums of their own for that.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use rusqlite::Connection;
use serde::{Deserialize, Serialize};

use crate::clock::{self, Millis};

/// A seal counts for so long at most, in milliseconds.
const LONGEST: Millis = 30 * 86_400_000;

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Seal {
    length: u64,
    /// The time of the last change, in nanoseconds since 1970.
    changed: u64,
    /// When the database was last read as a whole and found sound.
    checked_at: Millis,
    /// None in seals from before, and where the file system has no such thing.
    #[serde(default)]
    file: Option<Noted>,
}

/// What a file system notes of a file, and no program can set: a copy differs in it, also one that keeps its times.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Noted {
    /// Its inode.
    number: u64,
    /// When its content, its name or its rights were last changed: seconds since 1970, and nanoseconds.
    changed: (i64, i64),
}

/// When a database that is about to be opened was last found sound, if it was closed in good order and nothing has
/// touched it since then; its seal is broken from here on.
pub(crate) fn consume(database: &Path) -> Option<Millis> {
    let file = beside(database);
    let text = fs::read(&file).ok()?;
    // Where it can't be broken it can't be trusted the next time, and so not now.
    fs::remove_file(&file).ok()?;
    let seal: Seal = serde_json::from_slice(&text).ok()?;
    let now = Seal::of(database, seal.checked_at).ok()?;
    (seal == now && !has_log(database)).then_some(seal.checked_at)
}

/// When a database was found sound: at the time of its seal, or now, by reading all of it; or what is wrong.
pub(crate) fn check(
    connection: &Connection,
    sealed: Option<Millis>,
) -> rusqlite::Result<Result<Millis, String>> {
    let lately = |at: &Millis| (0..LONGEST).contains(&(clock::now() - at));
    if let Some(checked_at) = sealed.filter(lately) {
        return Ok(Ok(checked_at));
    }
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    Ok(if verdict == "ok" { Ok(clock::now()) } else { Err(verdict) })
}

/// Seals a database that nobody will write to any more; `checked_at` is when it was found sound.
pub(crate) fn write(database: &Path, checked_at: Millis) {
    // Without a seal it is checked at the next start: nothing is lost.
    let sealed = Seal::of(database, checked_at).and_then(|seal| {
        let text = serde_json::to_vec(&seal).map_err(io::Error::other)?;
        fs::write(beside(database), text)
    });
    if let Err(error) = sealed {
        tracing::debug!(%error, database = %database.display(), "not sealed");
    }
}

impl Seal {
    fn of(database: &Path, checked_at: Millis) -> io::Result<Self> {
        let about = fs::metadata(database)?;
        let changed = about.modified()?.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let changed = u64::try_from(changed.as_nanos()).unwrap_or(u64::MAX);
        Ok(Self { length: about.len(), changed, checked_at, file: Noted::of(&about) })
    }
}

impl Noted {
    #[cfg(unix)]
    #[expect(clippy::unnecessary_wraps, reason = "elsewhere there is none")]
    fn of(about: &fs::Metadata) -> Option<Self> {
        use std::os::unix::fs::MetadataExt;
        Some(Self { number: about.ino(), changed: (about.ctime(), about.ctime_nsec()) })
    }

    #[cfg(not(unix))]
    fn of(_: &fs::Metadata) -> Option<Self> {
        None
    }
}

/// Whether changes lie beside the database that are not yet in it.
fn has_log(database: &Path) -> bool {
    let log = PathBuf::from(format!("{}-wal", database.display()));
    fs::metadata(log).is_ok_and(|about| about.len() > 0)
}

fn beside(database: &Path) -> PathBuf {
    PathBuf::from(format!("{}.seal", database.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_store_that_is_closed_in_good_order_is_sealed() {
        let folder = tempfile::tempdir().unwrap();
        let seal = folder.path().join("proxy.db.seal");
        for _ in 0..2 {
            let store = super::super::Store::open(folder.path()).unwrap();
            assert!(!seal.exists(), "while it is in use a crash must leave none");
            store.written().await.unwrap();
            store.close();
            assert!(seal.exists());
        }
        assert!(consume(&folder.path().join("proxy.db")).is_some(), "nothing has touched it since");
    }

    #[test]
    fn a_seal_holds_once_and_for_the_file_as_it_was_left() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("a.db");
        fs::write(&database, "abc").unwrap();
        let now = clock::now();
        assert_eq!(consume(&database), None, "there is none");
        write(&database, now);
        assert_eq!(consume(&database), Some(now));
        assert_eq!(consume(&database), None, "it is broken");
        write(&database, now);
        fs::write(&database, "abcd").unwrap();
        assert_eq!(consume(&database), None, "another length");
        write(&database, now);
        let before = fs::metadata(&database).unwrap().modified().unwrap() - Duration::from_secs(1);
        fs::File::options().append(true).open(&database).unwrap().set_modified(before).unwrap();
        assert_eq!(consume(&database), None, "another time");
        // A backup that is put back, with its times.
        write(&database, now);
        let (copy, changed) =
            (folder.path().join("copy"), fs::metadata(&database).unwrap().modified().unwrap());
        fs::copy(&database, &copy).unwrap();
        fs::File::options().append(true).open(&copy).unwrap().set_modified(changed).unwrap();
        fs::rename(&copy, &database).unwrap();
        assert_eq!(fs::metadata(&database).unwrap().modified().unwrap(), changed);
        assert_eq!(consume(&database), None, "another file");
        // The same put into the file itself, whose number stays: only the file system knows.
        write(&database, now);
        std::thread::sleep(Duration::from_millis(50));
        fs::write(&database, "abcd").unwrap();
        fs::File::options().append(true).open(&database).unwrap().set_modified(changed).unwrap();
        assert_eq!(consume(&database), None, "written to, and its time set back");
        // A seal of an earlier version.
        write(&database, now);
        assert_eq!(consume(&database), Some(now));
        write(&database, now);
        let seal: serde_json::Value = serde_json::from_slice(&fs::read(beside(&database)).unwrap()).unwrap();
        let earlier = serde_json::json!({"length": 4, "changed": seal["changed"], "checked_at": now});
        fs::write(beside(&database), earlier.to_string()).unwrap();
        assert_eq!(consume(&database), None, "it does not say which file it was");
        write(&database, now);
        fs::write(folder.path().join("a.db-wal"), "x").unwrap();
        assert_eq!(consume(&database), None, "changes lie beside it");
    }

    #[test]
    fn a_seal_counts_for_a_month_and_not_from_the_future() {
        let connection = Connection::open_in_memory().unwrap();
        let now = clock::now();
        let found = |sealed| check(&connection, Some(sealed)).unwrap().unwrap();
        assert_eq!(found(now - LONGEST / 2), now - LONGEST / 2);
        assert!(found(now - LONGEST) >= now, "long ago");
        assert!((now..now + 60_000).contains(&found(now + 60_000)), "a clock that was set back");
    }
}
