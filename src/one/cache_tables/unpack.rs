//! Taking cache tables out of the file that Alyx, or a proxy, offers.

use std::{fs, io, path::Path};

use zip::ZipArchive;

/// What ONE keeps of its tables: the tables, and what describes them.
const ENDINGS: [&str; 2] = ["pqt", "json"];

/// Unpacks the tables into this folder, where none of them may be yet; their names. Blocks.
///
/// # Errors
///
/// What is no zip file, is damaged, or has a member that ONE's tables do not have; and those of the file system.
pub fn unpack(from: &Path, folder: &Path) -> io::Result<Vec<String>> {
    let mut archive = ZipArchive::new(fs::File::open(from)?)?;
    let mut names = Vec::with_capacity(archive.len());
    for n in 0..archive.len() {
        let mut member = archive.by_index(n)?;
        let name = member.name().map_err(io::Error::other)?.into_owned();
        if !is_table(&name) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{name:?} is none of ONE's cache tables"),
            ));
        }
        let mut file = fs::File::create_new(folder.join(&name))?;
        io::copy(&mut member, &mut file)?;
        file.sync_all()?;
        names.push(name);
    }
    if names.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "there is nothing in it"));
    }
    Ok(names)
}

/// A plain file's name with one of the endings.
fn is_table(name: &str) -> bool {
    let path = Path::new(name);
    path.file_name().is_some_and(|file| file == name)
        && !name.contains(['/', '\\', ':'])
        && path.extension().is_some_and(|ending| ENDINGS.iter().any(|known| ending == *known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_one_keeps_is_unpacked() {
        assert!(["sessions.pqt", "cache_info.json"].into_iter().all(is_table));
        let others =
            ["../sessions.pqt", "/etc/a.json", "a/b.pqt", "c:x.pqt", "run.sh", ".pqt", "", "a\\b.pqt"];
        for other in others {
            assert!(!is_table(other), "{other}");
        }
    }
}
