//! Snapshots that come and go, in the audit log: their checksum, whose they are, and who had it done.

use std::{
    fs, io,
    io::{Read, Seek, SeekFrom},
    net::IpAddr,
    path::Path,
};

use super::core::Core;
use crate::{
    snapshot::{Archive, Maker, SnapshotError, TrustOptions},
    telemetry::audit::{AuditEntry, AuditStream},
};

/// Of a checksum, in bytes.
const LENGTH: i64 = 32;

/// Who has a snapshot made or taken in: somebody at this address, or none for a command on this machine.
pub(crate) type OrderedFrom = Option<IpAddr>;

fn begun(event: &'static str, outcome: &str, from: OrderedFrom) -> AuditEntry {
    let entry = AuditEntry::new(AuditStream::Acts, event, outcome);
    match from {
        Some(client) => entry.from(client),
        None => entry.plain("by", "command"),
    }
}

fn of_maker(entry: AuditEntry, maker: &Maker) -> AuditEntry {
    let entry = entry.name("maker", &maker.name);
    let entry = entry.plain("standing", serde_json::to_value(maker.standing).unwrap_or_default());
    match &maker.key {
        Some(key) => entry.plain("key", key.to_string()),
        None => entry,
    }
}

/// A snapshot was written.
pub(crate) fn exported(
    core: &Core,
    name: &str,
    path: &Path,
    key: &str,
    done: Result<(), &SnapshotError>,
    from: OrderedFrom,
) {
    let entry = begun("export", if done.is_ok() { "done" } else { "failed" }, from).name("name", name);
    let entry = match done.map(|()| checksum(path)) {
        Ok(Ok(checksum)) => entry.plain("checksum", checksum).plain("key", key),
        Ok(Err(error)) => entry.plain("checksum", error.to_string()),
        Err(error) => entry.plain("why", kind(error)),
    };
    core.audit.note(entry);
}

/// A snapshot is sound, and of somebody whose snapshots are taken: it comes in now.
pub(crate) fn admitted(
    core: &Core,
    archive: &Archive,
    maker: &Maker,
    word: &TrustOptions,
    from: OrderedFrom,
) {
    let checksum = blake3::Hash::from_bytes(archive.checksum).to_hex().to_string();
    let said = [("trust", word.trust.is_some()), ("once", word.once), ("unsigned", word.unsigned)];
    let said: Vec<_> = said.iter().filter(|(_, said)| *said).map(|(name, _)| *name).collect();
    let entry = of_maker(begun("import", "admitted", from).plain("checksum", checksum), maker);
    core.audit.note(entry.plain("word", said));
}

/// A snapshot has come in, or has not.
pub(crate) fn imported(core: &Core, done: Result<(usize, u64), &SnapshotError>, from: OrderedFrom) {
    let entry = match done {
        Ok((tables, answers)) => {
            begun("import", "done", from).plain("tables", tables).plain("answers", answers)
        }
        Err(error) => begun("import", "refused", from).plain("why", kind(error)),
    };
    core.audit.note(entry);
}

/// What went wrong, without the folder that it lay in.
fn kind(error: &SnapshotError) -> String {
    let text = error.to_string();
    text.split_once(": ").map_or(text.clone(), |(_, why)| why.to_owned())
}

/// The checksum at the end of a snapshot.
fn checksum(path: &Path) -> io::Result<String> {
    let mut file = fs::File::open(path)?;
    let mut checksum = [0; blake3::OUT_LEN];
    file.seek(SeekFrom::End(-LENGTH))?;
    file.read_exact(&mut checksum)?;
    Ok(blake3::Hash::from_bytes(checksum).to_hex().to_string())
}
