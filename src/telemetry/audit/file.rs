//! A file of lines that is put aside when it has grown, and of which the oldest part goes.

use std::{
    fs, io,
    io::Write,
    path::{Path, PathBuf},
};

use crate::data_dir;

/// Parts of a file: the one that is written, and those that were put aside.
pub(super) const PARTS: u64 = 4;

/// A file that grows and is put aside.
#[derive(Debug)]
pub(super) struct RotatingFile {
    folder: PathBuf,
    name: &'static str,
    /// The part that is written, with its length, once something was.
    open: Option<(fs::File, u64)>,
}

/// A part of a file: 0 is the one that is written, a higher number an elder one.
pub(super) fn part(folder: &Path, name: &str, number: u64) -> PathBuf {
    folder.join(if number == 0 { format!("{name}.jsonl") } else { format!("{name}.{number}.jsonl") })
}

impl RotatingFile {
    pub(super) fn new(folder: &Path, name: &'static str) -> Self {
        Self { folder: folder.to_owned(), name, open: None }
    }

    /// Writes a line, whole or not at all; all parts together are no longer than `most`, in bytes.
    pub(super) fn append(&mut self, line: &str, most: u64) -> io::Result<()> {
        let length = line.len() as u64;
        if length > most / PARTS {
            return Err(io::Error::new(
                io::ErrorKind::StorageFull,
                "`audit.max_size` is too small for a line",
            ));
        }
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.open()?,
        };
        if open.1 > 0 && open.1 + length > most / PARTS {
            self.put_aside()?;
            open = self.open()?;
        }
        let (file, before) = &mut open;
        if let Err(error) = file.write_all(line.as_bytes()) {
            // Half a line would spoil the next one.
            let cut = file.set_len(*before);
            if cut.is_ok() {
                self.open = Some(open);
            }
            return Err(error);
        }
        *before += length;
        self.open = Some(open);
        Ok(())
    }

    /// Has what was written survive a power cut.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.open.as_ref().map_or(Ok(()), |(file, _)| file.sync_data())
    }

    fn open(&self) -> io::Result<(fs::File, u64)> {
        data_dir::make_private_below(&self.folder)?;
        let path = part(&self.folder, self.name, 0);
        let mut file = data_dir::open_private(fs::OpenOptions::new().append(true), &path)?;
        let length = file.metadata()?.len();
        // A power cut may have left half a line.
        if length > 0 && !ends_a_line(&path, length)? {
            file.write_all(b"\n")?;
            return Ok((file, length + 1));
        }
        Ok((file, length))
    }

    fn put_aside(&self) -> io::Result<()> {
        for number in (0..PARTS - 1).rev() {
            let (from, to) =
                (part(&self.folder, self.name, number), part(&self.folder, self.name, number + 1));
            match fs::rename(from, to) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

fn ends_a_line(path: &Path, length: u64) -> io::Result<bool> {
    use io::{Read, Seek};
    let mut file = fs::File::open(path)?;
    file.seek(io::SeekFrom::Start(length - 1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn length(folder: &Path) -> u64 {
        fs::read_dir(folder).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum()
    }

    #[test]
    fn the_newest_lines_are_kept_within_the_bound_and_for_their_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("audit");
        let mut file = RotatingFile::new(&folder, "acts");
        for n in 0..1_000 {
            file.append(&format!("{{\"number\":{n:06}}}\n"), 4_000).unwrap();
            assert!(length(&folder) <= 4_000);
            if n % 300 == 0 {
                // Another start goes on.
                file = RotatingFile::new(&folder, "acts");
            }
        }
        let parts: Vec<_> = (0..PARTS).rev().map(|number| part(&folder, "acts", number)).collect();
        let all: String = parts.iter().map(|part| fs::read_to_string(part).unwrap()).collect();
        let numbers: Vec<u32> = all.lines().map(|line| line[10..16].parse().unwrap()).collect();
        assert!(numbers.len() > 100 && numbers.is_sorted() && numbers.last() == Some(&999));
        assert_eq!(fs::read_dir(&folder).unwrap().count(), parts.len());
        for part in &parts {
            assert_eq!(fs::metadata(part).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn half_a_line_of_a_power_cut_spoils_no_other_and_a_link_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = RotatingFile::new(dir.path(), "acts");
        file.append("{\"whole\":1}\n", 4_000).unwrap();
        let path = part(dir.path(), "acts", 0);
        fs::write(&path, "{\"whole\":1}\n{\"ha").unwrap();
        RotatingFile::new(dir.path(), "acts").append("{\"whole\":2}\n", 4_000).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"whole\":1}\n{\"ha\n{\"whole\":2}\n");
        let victim = dir.path().join("victim");
        fs::write(&victim, "as it was").unwrap();
        std::os::unix::fs::symlink(&victim, part(dir.path(), "log-ins", 0)).unwrap();
        assert!(RotatingFile::new(dir.path(), "log-ins").append("{}\n", 4_000).is_err());
        assert_eq!(fs::read_to_string(&victim).unwrap(), "as it was");
    }
}
