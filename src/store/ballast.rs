//! Room on the disk that is kept for a start while the disk is full.
//!
//! SQLite can't so much as open a database without a few pages for its log. A proxy that stops while the disk is full (a
//! power cut, an update) must be able to start again and give what it has; so a file of two mebibytes lies beside the
//! database, and is given up where a start would fail for want of room.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rand::RngExt;

/// Its size in bytes: logs and their indexes for two databases, and some to spare.
const SIZE: usize = 2 << 20;

/// The file that is given up.
#[derive(Debug)]
pub(super) struct Ballast(PathBuf);

impl Ballast {
    /// Of the database in this folder.
    pub(super) fn of(folder: &Path) -> Self {
        Self(folder.join("reserve"))
    }

    /// Whether it is there.
    pub(super) fn is_there(&self) -> bool {
        fs::metadata(&self.0).is_ok_and(|about| about.len() == SIZE as u64)
    }

    /// Makes it; an error, and nothing of it left, where there is no room.
    pub(super) fn make(&self) -> io::Result<()> {
        // Nothing that a file system would make smaller.
        let mut bytes = vec![0; SIZE];
        rand::rng().fill(&mut bytes[..]);
        // Not forced to the platter: file systems give the room as it is written, and the one who writes shall not wait.
        let written = fs::write(&self.0, &bytes);
        if written.is_err() {
            // What does not fit frees what it took.
            self.give_up();
        }
        written
    }

    /// Frees its room; whether there was any.
    pub(super) fn give_up(&self) -> bool {
        fs::remove_file(&self.0).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_there_until_it_is_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let reserve = Ballast::of(folder.path());
        assert!(!reserve.is_there() && !reserve.give_up());
        reserve.make().unwrap();
        assert!(reserve.is_there());
        assert_eq!(fs::metadata(folder.path().join("reserve")).unwrap().len(), 2 << 20);
        assert!(reserve.give_up() && !reserve.is_there());
        fs::write(folder.path().join("reserve"), "cut short").unwrap();
        assert!(!reserve.is_there(), "a part is none");
        let nowhere = Ballast::of(&folder.path().join("nowhere"));
        assert!(nowhere.make().is_err());
    }
}
