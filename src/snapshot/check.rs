//! Checking all of a snapshot before anything of it is used.

use std::{collections::BTreeSet, fmt::Display};

use serde::de::DeserializeOwned;

use super::{Archive, Contents, FileHead, SnapshotError, TableLine, Tell, member::Member};
use crate::{
    alyx::{Route, links::Base},
    cache::ExportedEntry,
    clock::Millis,
    mirror::{
        export::{self, Head},
        schema::Schema,
    },
};

/// Reads every line as an import would, and compares what there is with what the snapshot says that there is. What
/// it holds.
pub fn check(archive: &Archive, tell: Tell<'_>) -> Result<Contents, SnapshotError> {
    let base = Base::new(&archive.manifest.upstream);
    let mut said: Option<Contents> = None;
    let mut found = Contents::default();
    let mut order = MemberOrder::default();
    archive.walk(tell, "checking", |member, bytes| {
        let wrong = |why: &dyn Display| archive.wrong(member, why);
        if said.is_some() || !order.may_follow(member) {
            return Err(wrong(&"it stands where it must not stand"));
        }
        match member {
            Member::Manifest => return Err(wrong(&"it is there twice")),
            Member::Marks => drop(lines::<(String, Millis)>(archive, member, bytes)?),
            Member::Table(endpoint) => {
                let head: Head = json(archive, member, bytes)?;
                let line = TableLine { records: 0, synced_at: head.synced_at, scope: head.scope };
                found.tables.insert(endpoint.name.to_owned(), line);
            }
            Member::Records(endpoint, _) => {
                let table = Schema::get().table(endpoint.name);
                let line = found.tables.get_mut(endpoint.name);
                let (Some(table), Some(line)) = (table, line) else {
                    return Err(wrong(&"there is no such table"));
                };
                for record in lines::<export::ExportedRecord>(archive, member, bytes)? {
                    if record.n <= order.last_record {
                        return Err(wrong(&"its records are not in their order"));
                    }
                    order.last_record = record.n;
                    export::check(table, &record).map_err(|error| wrong(&error))?;
                    line.records += 1;
                }
            }
            Member::Answers(_) => {
                for answer in lines::<ExportedEntry>(archive, member, bytes)? {
                    let name = match answer.route() {
                        Route::List(endpoint) | Route::Detail(endpoint, _) => endpoint.name,
                        Route::Service(service) => service.name(),
                        Route::Other => "",
                    };
                    answer.import(&base).map_err(|error| wrong(&error))?;
                    *found.answers.entry(name.to_owned()).or_default() += 1;
                }
            }
            Member::File(_) => {
                let head: FileHead = json(archive, member, bytes)?;
                order.left = head.length;
                if found.files.insert(head.tag, head.length).is_some() {
                    return Err(wrong(&"there are two of this tag"));
                }
            }
            Member::Part(..) => match order.left.checked_sub(bytes.len() as u64) {
                Some(left) => order.left = left,
                None => return Err(wrong(&"there is more of it than its head says")),
            },
            Member::Contents => said = Some(json(archive, member, bytes)?),
        }
        Ok(())
    })?;
    let said = said.ok_or_else(|| archive.wrong(Member::Contents, &"it is not there"))?;
    if said.tables == found.tables && said.answers == found.answers && said.files == found.files {
        Ok(said)
    } else {
        Err(archive.wrong(Member::Contents, &"it says something else than there is"))
    }
}

/// Which member may follow which.
#[derive(Default)]
struct MemberOrder {
    tables: BTreeSet<&'static str>,
    /// The table whose records are read, and the number of its last member.
    table: Option<(&'static str, u32)>,
    last_record: i64,
    answers: u32,
    marks: bool,
    files: u32,
    parts: u32,
    /// Bytes that there must be yet of the file that is read.
    left: u64,
}

impl MemberOrder {
    fn may_follow(&mut self, member: Member) -> bool {
        if !matches!(member, Member::Part(..)) && self.left > 0 {
            return false;
        }
        match member {
            Member::Manifest => false,
            Member::Marks => {
                !std::mem::replace(&mut self.marks, true) && self.tables.is_empty() && self.answers == 0
            }
            Member::Table(endpoint) => {
                self.table = Some((endpoint.name, 0));
                self.last_record = i64::MIN;
                self.answers == 0 && self.files == 0 && self.marks && self.tables.insert(endpoint.name)
            }
            Member::Records(endpoint, number) => match &mut self.table {
                Some((name, last)) if *name == endpoint.name && self.answers == 0 && self.files == 0 => {
                    *last += 1;
                    *last == number
                }
                _ => false,
            },
            Member::Answers(number) => {
                self.answers += 1;
                self.answers == number && self.marks && self.files == 0
            }
            Member::File(number) => {
                self.files += 1;
                self.parts = 0;
                self.files == number && self.marks
            }
            Member::Part(file, number) => {
                self.parts += 1;
                self.files == file && self.parts == number
            }
            Member::Contents => self.marks,
        }
    }
}

/// A member that is one JSON text.
pub(super) fn json<T: DeserializeOwned>(
    archive: &Archive,
    member: Member,
    bytes: &[u8],
) -> Result<T, SnapshotError> {
    serde_json::from_slice(bytes).map_err(|error| archive.wrong(member, &error))
}

/// A member that has a JSON text in each line.
pub(super) fn lines<T: DeserializeOwned>(
    archive: &Archive,
    member: Member,
    bytes: &[u8],
) -> Result<Vec<T>, SnapshotError> {
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines
        .enumerate()
        .map(|(number, line)| {
            serde_json::from_slice(line)
                .map_err(|error| archive.wrong(member, &format!("line {}: {error}", number + 1)))
        })
        .collect()
}
