//! Checking all of a snapshot before anything of it is used.

use std::{collections::BTreeSet, fmt::Display};

use serde::de::DeserializeOwned;

use super::{
    Archive, Contents, FileHead, SnapshotError, TableLine, Tell,
    budget::{LONGEST_MARK, MOST_MARKS},
    member::Member,
    times::Times,
};
use crate::{
    alyx::{Endpoint, Route, cache_zip, links::Base},
    cache::ExportedEntry,
    clock::{self, Millis},
    mirror::{
        export::{self, ExportedRecord, Head},
        schema::Schema,
    },
};

/// Records are counted from 1, and there are no more.
const LAST_RECORD: i64 = 1 << 53;

/// Reads every line as an import would, and compares what there is with what the snapshot says that there is. What
/// it holds.
pub fn check(archive: &Archive, tell: Tell<'_>) -> Result<Contents, SnapshotError> {
    let mut check = Check {
        archive,
        base: Base::new(&archive.manifest.upstream),
        times: Times::at(clock::now()),
        said: None,
        found: Contents::default(),
        order: MemberOrder::default(),
        zip: cache_zip::End::default(),
    };
    archive.walk(tell, "checking", |member, bytes| check.take(member, bytes))?;
    check.end()
}

struct Check<'a> {
    archive: &'a Archive,
    base: Base,
    times: Times,
    said: Option<Contents>,
    found: Contents,
    order: MemberOrder,
    /// The end of the file that is read.
    zip: cache_zip::End,
}

impl Check<'_> {
    fn take(&mut self, member: Member, bytes: &[u8]) -> Result<(), SnapshotError> {
        if self.said.is_some() || !self.order.may_follow(member) {
            return Err(self.wrong(member, &"it stands where it must not stand"));
        }
        match member {
            Member::Manifest => Err(self.wrong(member, &"it is there twice")),
            Member::Marks => self.marks(bytes),
            Member::Table(endpoint) => self.table(member, endpoint, bytes),
            Member::Records(endpoint, _) => self.records(member, endpoint, bytes),
            Member::Answers(_) => self.answers(member, bytes),
            Member::File(_) => self.file(member, bytes),
            Member::Part(_, number) => self.part(member, number, bytes),
            Member::Contents => {
                self.said = Some(json(self.archive, member, bytes)?);
                Ok(())
            }
        }
    }

    fn wrong(&self, member: Member, why: &dyn Display) -> SnapshotError {
        self.archive.wrong(member, why)
    }

    fn marks(&self, bytes: &[u8]) -> Result<(), SnapshotError> {
        let mut count = 0;
        each_line(self.archive, Member::Marks, bytes, |(scope, at): (String, Millis)| {
            count += 1;
            if count > MOST_MARKS || scope.len() > LONGEST_MARK {
                return Err(self.wrong(Member::Marks, &"there are too many, or too long ones"));
            }
            self.times.check(&scope, at).map_err(|why| self.wrong(Member::Marks, &why))
        })
    }

    fn table(&mut self, member: Member, endpoint: &Endpoint, bytes: &[u8]) -> Result<(), SnapshotError> {
        let head: Head = json(self.archive, member, bytes)?;
        self.times.table(&head).map_err(|why| self.wrong(member, &why))?;
        let line = TableLine { records: 0, synced_at: head.synced_at, scope: head.scope };
        self.found.tables.insert(endpoint.name.to_owned(), line);
        Ok(())
    }

    fn records(&mut self, member: Member, endpoint: &Endpoint, bytes: &[u8]) -> Result<(), SnapshotError> {
        let (archive, order) = (self.archive, &mut self.order);
        let table = Schema::get().table(endpoint.name);
        let line = self.found.tables.get_mut(endpoint.name);
        let (Some(table), Some(line)) = (table, line) else {
            return Err(archive.wrong(member, &"there is no such table"));
        };
        each_line(archive, member, bytes, |record: ExportedRecord| {
            if record.n <= order.last_record || !(0..=LAST_RECORD).contains(&record.n) {
                return Err(archive.wrong(member, &"its records are not in their order"));
            }
            order.last_record = record.n;
            line.records += 1;
            export::check(table, &record).map_err(|error| archive.wrong(member, &error))
        })
    }

    fn answers(&mut self, member: Member, bytes: &[u8]) -> Result<(), SnapshotError> {
        let (archive, times, base, found) = (self.archive, self.times, &self.base, &mut self.found);
        each_line(archive, member, bytes, |answer: ExportedEntry| {
            let name = match answer.route() {
                Route::List(endpoint) | Route::Detail(endpoint, _) => endpoint.name,
                Route::Service(service) => service.name(),
                Route::Other => "",
            };
            times.answer(&answer).map_err(|why| archive.wrong(member, &why))?;
            answer.import(base).map_err(|error| archive.wrong(member, &error))?;
            *found.answers.entry(name.to_owned()).or_default() += 1;
            Ok(())
        })
    }

    fn file(&mut self, member: Member, bytes: &[u8]) -> Result<(), SnapshotError> {
        let head: FileHead = json(self.archive, member, bytes)?;
        self.times.file(&head).map_err(|why| self.wrong(member, &why))?;
        if head.tag.len() > 200 || !head.tag.chars().all(|letter| letter.is_alphanumeric() || letter == '_') {
            return Err(self.wrong(member, &"there is no such tag"));
        }
        if head.length == 0 {
            return Err(self.wrong(member, &NO_ZIP));
        }
        self.order.left = head.length;
        self.zip = cache_zip::End::default();
        if self.found.files.insert(head.tag, head.length).is_some() {
            return Err(self.wrong(member, &"there are two of this tag"));
        }
        Ok(())
    }

    fn part(&mut self, member: Member, number: u32, bytes: &[u8]) -> Result<(), SnapshotError> {
        let Some(left) = self.order.left.checked_sub(bytes.len() as u64) else {
            return Err(self.wrong(member, &"there is more of it than its head says"));
        };
        self.order.left = left;
        self.zip.add(bytes);
        let begins = number > 1 || cache_zip::begins(bytes);
        let ends = left > 0 || self.zip.is_of_a_zip();
        if begins && ends { Ok(()) } else { Err(self.wrong(member, &NO_ZIP)) }
    }

    fn end(self) -> Result<Contents, SnapshotError> {
        let said = self.said.ok_or_else(|| self.archive.wrong(Member::Contents, &"it is not there"))?;
        if !said.is_shown() {
            return Err(self.archive.wrong(Member::Contents, &"it has texts with invisible characters"));
        }
        let found = self.found;
        if said.tables == found.tables && said.answers == found.answers && said.files == found.files {
            Ok(said)
        } else {
            Err(self.archive.wrong(Member::Contents, &"it says something else than there is"))
        }
    }
}

const NO_ZIP: &str = "ONE's cache tables are a zip file, and this is none";

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

/// A member that has a JSON text in each line: one after the other, so that no more than one is in memory besides it.
pub(super) fn each_line<T: DeserializeOwned>(
    archive: &Archive,
    member: Member,
    bytes: &[u8],
    mut each: impl FnMut(T) -> Result<(), SnapshotError>,
) -> Result<(), SnapshotError> {
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    for (number, line) in lines.enumerate() {
        let value = serde_json::from_slice(line)
            .map_err(|error| archive.wrong(member, &format!("line {}: {error}", number + 1)))?;
        each(value)?;
    }
    Ok(())
}
