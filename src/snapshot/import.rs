//! Taking in a snapshot that has been checked.
//!
//! What is newer here stays. Each table takes its place in one transaction, answers come in by the hundreds; each
//! is right by itself, so an import that is killed half-way has done no harm and can be repeated.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        mpsc::{SyncSender, sync_channel},
    },
};

use serde::Serialize;
use tokio::{runtime::Handle, task::JoinHandle};

use super::{
    Archive, Contents, FileSink, SnapshotError, Tell,
    check::{each_line, json},
    files::IncomingFile,
    member::Member,
};
use crate::{
    alyx::{Endpoint, Route, links::Base, redact},
    cache::{Arrived, ExportedEntry, ResponseCache},
    clock::Millis,
    mirror::{
        Mirror, MirrorError,
        export::{ExportedRecord as Record, Head},
        schema::Schema,
    },
};

/// Chunks of records that may wait for the mirror's writing thread.
const AHEAD: usize = 2;
/// Records or answers that are written in one transaction, and bytes of their texts.
const BATCH: usize = 500;
const BATCH_BYTES: usize = 8 << 20;

/// Where a snapshot goes.
#[expect(missing_debug_implementations, reason = "whoever keeps files need not show it")]
pub struct Importing<'a> {
    /// Stored answers.
    pub answers: &'a ResponseCache,
    /// The mirror, if there is one. Nothing else may fill its tables meanwhile.
    pub mirror: Option<Arc<Mirror>>,
    /// Who keeps files.
    pub files: &'a dyn FileSink,
    /// The base URL of the Alyx behind this proxy.
    pub upstream: &'a str,
    /// The runtime that carries out what is asynchronous.
    pub runtime: Handle,
}

/// What an import has done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Imported {
    /// Tables that came in.
    pub tables: Vec<&'static str>,
    /// Tables of which a newer state, or a wider one of the same age, is here.
    pub kept_tables: Vec<&'static str>,
    /// Answers that came in.
    pub answers: u64,
    /// Answers of which there was one here that is not older.
    pub kept_answers: u64,
    /// Files with ONE's cache tables that came in.
    pub files: u64,
}

/// Takes in what [`super::check`] found to be sound, and to have these contents. Blocks: not for the async runtime's
/// threads.
pub fn import(
    archive: &Archive,
    contents: &Contents,
    into: &Importing<'_>,
    tell: Tell<'_>,
) -> Result<Imported, SnapshotError> {
    if archive.manifest.upstream != into.upstream {
        return Err(SnapshotError::OtherAlyx {
            path: archive.path().to_owned(),
            theirs: archive.manifest.upstream.clone(),
            ours: into.upstream.to_owned(),
        });
    }
    let blanked = redact::ENDPOINTS.into_iter().filter(|name| contents.blanked.contains_key(*name)).collect();
    let base = Base::new(into.upstream);
    let unmarked = !contents.secrets_marked;
    let done = Imported::default();
    let mut import = Import { archive, into, base, blanked, unmarked, table: None, file: None, done };
    let walked = archive.walk(tell, "importing", |member, bytes| import.take(member, bytes));
    // Dropping a table's way in without ending it undoes it.
    if walked.is_ok() {
        import.end_table()?;
        import.end_file()?;
    }
    walked.map(|()| std::mem::take(&mut import.done))
}

struct Import<'a> {
    archive: &'a Archive,
    into: &'a Importing<'a>,
    base: Base,
    /// Endpoints some of whose secrets were left out.
    blanked: Vec<&'static str>,
    /// Whether nothing stands in their places that tells of it.
    unmarked: bool,
    table: Option<ImportedTable>,
    file: Option<IncomingFile>,
    done: Imported,
}

/// A table on its way in.
struct ImportedTable {
    endpoint: &'static Endpoint,
    records: SyncSender<Result<Vec<Record>, MirrorError>>,
    written: JoinHandle<Result<(), MirrorError>>,
}

impl Import<'_> {
    fn take(&mut self, member: Member, bytes: &[u8]) -> Result<(), SnapshotError> {
        match member {
            Member::Manifest => Ok(()),
            Member::Marks => {
                let mut marks: HashMap<String, Millis> = HashMap::new();
                each_line(self.archive, member, bytes, |(scope, at): (String, Millis)| {
                    let known = marks.entry(scope).or_insert(at);
                    *known = (*known).max(at);
                    Ok(())
                })?;
                let marks = marks.into_iter().collect();
                // What was blanked is not what Alyx says; it may stand in only while Alyx can't be asked.
                let taken = self.into.answers.take_marks(marks, &self.blanked);
                self.into.runtime.block_on(taken)?;
                // They say nothing of what was written through this proxy.
                if let Some(mirror) = &self.into.mirror {
                    self.into.runtime.block_on(mirror.marks_taken_over())?;
                }
                Ok(())
            }
            Member::Table(endpoint) => {
                self.end_table()?;
                self.begin_table(endpoint, json(self.archive, member, bytes)?);
                Ok(())
            }
            Member::Records(endpoint, _) => self.records(member, endpoint, bytes),
            Member::Answers(_) => {
                self.end_table()?;
                self.answers(member, bytes)
            }
            Member::File(_) => {
                self.end_table()?;
                self.end_file()?;
                self.file =
                    Some(IncomingFile::begin(json(self.archive, member, bytes)?, self.into.files.place())?);
                Ok(())
            }
            Member::Part(..) => self.file.as_mut().map_or(Ok(()), |file| file.add(bytes)),
            Member::Contents => self.end_table(),
        }
    }

    fn records(
        &mut self,
        member: Member,
        endpoint: &'static Endpoint,
        bytes: &[u8],
    ) -> Result<(), SnapshotError> {
        let Some(table) = self.table.as_ref().filter(|table| table.endpoint == endpoint) else {
            return Ok(());
        };
        let unmarked = self.is_unmarked(endpoint);
        let (mut batch, mut size, mut gone) = (Vec::new(), 0, false);
        each_line(self.archive, member, bytes, |mut record: Record| {
            if unmarked {
                self.mark(member, &mut record.list)?;
                record.detail.as_mut().map_or(Ok(()), |detail| self.mark(member, detail))?;
            }
            size += record.list.len() + record.detail.as_ref().map_or(0, String::len);
            batch.push(record);
            if batch.len() >= BATCH || size >= BATCH_BYTES {
                size = 0;
                gone |= table.records.send(Ok(std::mem::take(&mut batch))).is_err();
            }
            Ok(())
        })?;
        gone |= !batch.is_empty() && table.records.send(Ok(batch)).is_err();
        // A writer that has gone tells why when it is waited for.
        if gone { self.end_table() } else { Ok(()) }
    }

    fn begin_table(&mut self, endpoint: &'static Endpoint, head: Head) {
        let (Some(mirror), Some(table)) = (&self.into.mirror, Schema::get().table(endpoint.name)) else {
            return;
        };
        let states = mirror.states();
        let keeps = states.of(endpoint.name).is_some_and(|here| {
            let wider = here.scope.is_empty() && !head.scope.is_empty();
            here.synced_at >= head.synced_at || wider
        });
        if keeps {
            self.done.kept_tables.push(endpoint.name);
            return;
        }
        let (records, inbox) = sync_channel(AHEAD);
        let mirror = mirror.clone();
        let written = self.into.runtime.spawn(async move { mirror.import(table, head, inbox).await });
        self.table = Some(ImportedTable { endpoint, records, written });
    }

    /// Whether secrets of this endpoint's records were emptied and nothing tells of it.
    fn is_unmarked(&self, endpoint: &Endpoint) -> bool {
        self.unmarked && self.blanked.contains(&endpoint.name)
    }

    /// Marks the secrets of a text that were emptied.
    fn mark(&self, member: Member, text: &mut String) -> Result<(), SnapshotError> {
        // The detail of a record that Alyx can't show.
        if !text.is_empty() {
            *text = redact::cut_emptied(text).map_err(|error| self.archive.wrong(member, &error))?;
        }
        Ok(())
    }

    fn end_table(&mut self) -> Result<(), SnapshotError> {
        let Some(ImportedTable { endpoint, records, written }) = self.table.take() else { return Ok(()) };
        drop(records);
        self.into.runtime.block_on(written).map_err(|_| SnapshotError::GivenUp)??;
        self.done.tables.push(endpoint.name);
        Ok(())
    }

    fn end_file(&mut self) -> Result<(), SnapshotError> {
        if let Some(file) = self.file.take() {
            self.done.files += u64::from(file.end(self.into.files)?);
        }
        Ok(())
    }

    fn answers(&mut self, member: Member, bytes: &[u8]) -> Result<(), SnapshotError> {
        let (mut batch, mut size) = (Vec::new(), 0);
        let archive = self.archive;
        each_line(archive, member, bytes, |mut answer: ExportedEntry| {
            if let Route::List(endpoint) | Route::Detail(endpoint, _) = answer.route()
                && self.is_unmarked(endpoint)
            {
                self.mark(member, &mut answer.body)?;
            }
            size += answer.body.len();
            batch.push(answer.import(&self.base).map_err(|error| archive.wrong(member, &error))?);
            if batch.len() >= BATCH || size >= BATCH_BYTES {
                size = 0;
                self.store(std::mem::take(&mut batch))?;
            }
            Ok(())
        })?;
        self.store(batch)
    }

    fn store(&mut self, batch: Vec<Arrived>) -> Result<(), SnapshotError> {
        if batch.is_empty() {
            return Ok(());
        }
        let count = batch.len() as u64;
        let kept = self.into.runtime.block_on(self.into.answers.import(batch))?;
        self.done.answers += kept;
        self.done.kept_answers += count - kept;
        Ok(())
    }
}

impl Drop for Import<'_> {
    /// A table that did not come in whole does not come in.
    fn drop(&mut self) {
        if let Some(table) = self.table.take() {
            // Nobody is there to be told where the writer has gone already.
            let _ = table.records.send(Err(MirrorError::Closed));
        }
    }
}
