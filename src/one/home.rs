//! The home that is set up: whose it is, and that nobody else sets it up at the same time.

use std::{
    fs::{self, File},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::{
    OneError,
    files::{self, NEW},
    undo,
};

/// A home, for as long as it is being set up: a second run in it waits until this one ends.
#[derive(Debug)]
pub struct Home {
    /// ONE's folder in it.
    pub(super) folder: PathBuf,
    /// Whether it is somebody else's than the one who runs this: what lies in it is not to be trusted.
    foreign: bool,
    _lock: Option<File>,
}

impl Home {
    /// Fails where its name can't stand in ONE's files or where, in somebody else's home, a link lies among them.
    pub fn enter(home: &Path, folder: &str) -> Result<Self, OneError> {
        let folder = home.join(folder);
        if folder.to_str().is_none() {
            return Err(OneError::Name(home.to_owned()));
        }
        let owner = fs::metadata(home).map(|metadata| metadata.uid());
        let foreign = owner.is_ok_and(|owner| owner != rustix::process::geteuid().as_raw());
        let lock = File::open(home).ok();
        if let Some(home) = &lock {
            // Some network file systems know no locks: it goes on without.
            let _ = home.lock();
        }
        let home = Self { folder, foreign, _lock: lock };
        home.refuse_links()?;
        Ok(home)
    }

    /// A link in somebody else's home could lead root's hand anywhere.
    fn refuse_links(&self) -> Result<(), OneError> {
        if !self.foreign {
            return Ok(());
        }
        let store = undo::store(&self.folder);
        let mut paths = vec![self.folder.clone()];
        for folder in [&self.folder, &store] {
            let is_link = |path: &PathBuf| path.is_symlink();
            if let Some(link) = paths.iter().find(|path| is_link(path)) {
                return Err(OneError::Link(link.clone()));
            }
            if let Ok(entries) = fs::read_dir(folder) {
                paths.extend(entries.filter_map(Result::ok).map(|entry| entry.path()));
            }
            paths.sort();
        }
        match paths.into_iter().find(|path| path.is_symlink()) {
            Some(link) => Err(OneError::Link(link)),
            None => Ok(()),
        }
    }

    /// Whether folders may be made, or removed, at this place: in somebody else's home, not outside it.
    pub(super) fn holds(&self, path: &Path) -> bool {
        let Some(home) = self.folder.parent().filter(|_| self.foreign) else { return true };
        let there = path.ancestors().find_map(|path| fs::canonicalize(path).ok());
        there.zip(fs::canonicalize(home).ok()).is_some_and(|(there, home)| there.starts_with(home))
    }

    /// Removes what a run that was killed has left.
    pub(super) fn sweep(&self) {
        for folder in [&self.folder, &undo::store(&self.folder)] {
            let Ok(entries) = fs::read_dir(folder) else { continue };
            for entry in entries.filter_map(Result::ok) {
                if entry.file_name().to_string_lossy().ends_with(NEW) {
                    // A folder of that name is not ours.
                    let _ = files::remove(&entry.path());
                }
            }
        }
    }
}
