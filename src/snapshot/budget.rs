//! How much a snapshot may be: of each member, of all of it unpacked, and of what is kept of it here.

use super::{Archive, Contents, SnapshotError, member::Member};

const MIB: u64 = 1 << 20;

/// So much may be in any snapshot, however small its file;
const LEAST: u64 = 256 * MIB;
/// beyond it, so many times the file. Answers that repeat each other are packed to some hundredth.
const RATIO: u64 = 1000;
/// Lines of marks.
pub(super) const MOST_MARKS: usize = 1_000_000;
/// The longest name of a mark.
pub(super) const LONGEST_MARK: usize = 4096;

/// How many bytes a file of so many may have unpacked.
pub(super) fn most_unpacked(packed: u64) -> u64 {
    packed.saturating_mul(RATIO).saturating_add(LEAST)
}

/// How many bytes a member may have. Writers cut members at [`super::export`]'s chunk; one record or answer may be as large
/// as this.
pub(super) fn most_of(member: Member) -> u64 {
    match member {
        Member::Records(..) | Member::Answers(_) => 256 * MIB,
        Member::Marks => 64 * MIB,
        // With the numbers of all records that are due.
        Member::Table(_) => 32 * MIB,
        Member::Part(..) => 16 * MIB,
        Member::Manifest | Member::File(_) | Member::Contents => MIB,
    }
}

/// How much room a member takes here, about: answers are packed again.
pub(super) fn room_for(member: Member, bytes: usize) -> u64 {
    let bytes = bytes as u64;
    if matches!(member, Member::Answers(_)) { bytes / 8 } else { bytes }
}

/// What there is for what a snapshot brings.
#[derive(Debug, Clone, Copy)]
pub struct ImportBudget {
    /// The largest file that is kept (`cache.max_file`).
    pub max_file: u64,
    /// Bytes of all kept files together (`storage.max_disk`).
    pub max_disk: u64,
    /// Bytes that are free on the disk; none where that can't be told.
    pub free: Option<u64>,
}

impl ImportBudget {
    /// Refuses a snapshot, which was checked, that there is no room for.
    pub fn check(&self, archive: &Archive, contents: &Contents) -> Result<(), SnapshotError> {
        let too_large = |what: String| SnapshotError::TooLarge { path: archive.path().to_owned(), what };
        if let Some((tag, length)) = contents.files.iter().find(|(_, length)| **length > self.max_file) {
            let of = if tag.is_empty() { String::new() } else { format!(" of `{tag}`") };
            return Err(too_large(format!(
                "its cache tables{of} are a file of {length} bytes, and `cache.max_file` allows {}",
                self.max_file
            )));
        }
        let files = contents.files.values().fold(0, |sum: u64, length| sum.saturating_add(*length));
        if files > self.max_disk {
            return Err(too_large(format!(
                "its cache tables are files of {files} bytes, and `storage.max_disk` allows {}",
                self.max_disk
            )));
        }
        let room = archive.room();
        match self.free.filter(|free| *free < room) {
            Some(free) => {
                Err(too_large(format!("it takes about {room} bytes, and {free} are free on the disk")))
            }
            None => Ok(()),
        }
    }
}
