//! The blocks on disk, a file each: `blocks/<id of the file>/<number>`. One that is being fetched has no name there yet.

use std::{
    collections::HashSet,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use tempfile::TempPath;

use crate::data_dir;

/// The folder of the blocks.
#[derive(Debug)]
pub(super) struct BlockFolder {
    blocks: PathBuf,
    partial: PathBuf,
}

impl BlockFolder {
    /// Makes it, for its owner alone.
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        let (blocks, partial) = (folder.join("blocks"), folder.join("partial"));
        data_dir::make_private_below(&blocks)?;
        data_dir::make_private_below(&partial)?;
        Ok(Self { blocks, partial })
    }

    /// Where it lies.
    pub(super) fn path(&self) -> &Path {
        &self.blocks
    }

    /// A file for a block that is to be fetched; gone when its path is dropped.
    pub(super) fn temporary(&self) -> io::Result<(File, TempPath)> {
        Ok(tempfile::Builder::new().prefix("block-").tempfile_in(&self.partial)?.into_parts())
    }

    /// Gives a whole block its name.
    pub(super) fn keep(&self, temporary: TempPath, id: i64, number: u64) -> io::Result<()> {
        let folder = self.of(id);
        data_dir::make_private_below(&folder)?;
        temporary.persist(folder.join(number.to_string()))?;
        Ok(())
    }

    /// A kept block's file; none where it is gone.
    pub(super) fn open_block(&self, id: i64, number: u64) -> Option<File> {
        File::open(self.of(id).join(number.to_string())).ok()
    }

    /// Removes a block. What is gone already is no fault.
    pub(super) fn remove_block(&self, id: i64, number: u64) {
        told(fs::remove_file(self.of(id).join(number.to_string())));
    }

    /// Removes all blocks of a file.
    pub(super) fn remove(&self, id: i64) {
        told(fs::remove_dir_all(self.of(id)));
    }

    /// Removes what no index knows: an earlier run was killed, or its index was lost.
    pub(super) fn sweep(&self, known: &HashSet<(i64, u64)>) -> io::Result<()> {
        for entry in fs::read_dir(&self.partial)? {
            told(fs::remove_file(entry?.path()));
        }
        let ids: HashSet<i64> = known.iter().map(|(id, _)| *id).collect();
        for entry in fs::read_dir(&self.blocks)? {
            let entry = entry?;
            let Some(id) = number::<i64>(&entry).filter(|id| ids.contains(id)) else {
                told(fs::remove_dir_all(entry.path()));
                continue;
            };
            for block in fs::read_dir(entry.path())? {
                let block = block?;
                if number::<u64>(&block).is_none_or(|number| !known.contains(&(id, number))) {
                    told(fs::remove_file(block.path()));
                }
            }
        }
        Ok(())
    }

    fn of(&self, id: i64) -> PathBuf {
        self.blocks.join(id.to_string())
    }
}

fn number<N: std::str::FromStr>(entry: &fs::DirEntry) -> Option<N> {
    entry.file_name().to_str()?.parse().ok()
}

fn told(removed: io::Result<()>) {
    if let Err(error) = removed
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(%error, "something of a file that is no longer kept can't be removed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_index_knows_is_swept_away() {
        let place = tempfile::tempdir().unwrap();
        let folder = BlockFolder::open(place.path()).unwrap();
        for (id, number) in [(1, 0), (1, 7), (2, 0)] {
            let (_, path) = folder.temporary().unwrap();
            folder.keep(path, id, number).unwrap();
        }
        let (_, left) = folder.temporary().unwrap();
        let left = left.keep().unwrap();
        folder.sweep(&HashSet::from([(1, 7)])).unwrap();
        assert!(folder.open_block(1, 7).is_some());
        assert!(folder.open_block(1, 0).is_none() && !folder.of(2).exists() && !left.exists());
    }
}
