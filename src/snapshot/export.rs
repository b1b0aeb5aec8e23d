//! Writing a snapshot.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rusqlite::Connection;
use serde::Serialize;

use super::{
    Contents, KeptFile, Manifest, Progress, Selection, SigningKey, SnapshotError, TableLine, Tell,
    archive::ArchiveWriter,
    budget::most_of,
    files,
    manifest::{FORM, FORMAT},
    member::Member,
    narrowing,
    times::Times,
};
use crate::{
    alyx::{Endpoint, Route, invalidates::is_of_a_token, redact},
    cache::{self, ExportedEntry, Stays},
    clock::{self, Millis},
    mirror::{
        export::{ExportedRecord as Record, ReadSnapshot},
        schema::EndpointTables,
    },
    storage::seal::SecretSeal,
    store::{StoreError, is_damage},
};

/// A member is ended when it has grown to this.
const CHUNK: usize = 4 << 20;

/// Where a snapshot is taken from: one state of the answers and one of the mirror.
#[derive(Debug)]
pub struct Exporting {
    /// The database of answers, read by nobody else.
    pub answers: Connection,
    /// What opens those that are sealed.
    pub seal: Arc<SecretSeal>,
    /// The mirror, if there is one.
    pub mirror: Option<ReadSnapshot>,
    /// ONE's cache tables that are kept.
    pub files: Vec<KeptFile>,
    /// The base URL of the Alyx that all of it is of.
    pub upstream: String,
    /// The time zone of that Alyx's server.
    pub time_zone: String,
    /// The key that it is signed with.
    pub key: SigningKey,
    /// Where all of that lies.
    pub folder: PathBuf,
    /// The endpoints whose tables ought to be here.
    pub wanted: Vec<&'static Endpoint>,
}

/// Writes a snapshot called `name` to `path`: whole, or not at all. It is its owner's alone (mode 0600). Blocks.
pub fn export(
    from: &Exporting,
    name: &str,
    choice: &Selection,
    path: &Path,
    tell: Tell<'_>,
) -> Result<(Manifest, Contents), SnapshotError> {
    choice.check()?;
    // One state of the database, however long it takes.
    from.answers.execute_batch("BEGIN")?;
    let plain = match &from.mirror {
        Some(mirror) => narrowing::plain_names(mirror, choice)?,
        None => Vec::new(),
    };
    let now = clock::now();
    let manifest = manifest(from, name, choice, now)?;
    let writer = ArchiveWriter::create(path, now).map_err(SnapshotError::io(path))?;
    let mut snapshot = Snapshot {
        writer,
        path,
        choice,
        tell,
        now,
        plain,
        found: 0,
        contents: Contents { secrets_marked: true, ..Contents::default() },
    };
    snapshot.json(Member::Manifest, &manifest)?;
    snapshot.marks(&from.answers)?;
    if let Some(mirror) = &from.mirror {
        for table in mirror.tables().filter(|table| choice.has(table.endpoint)) {
            snapshot.table(mirror, table)?;
        }
    }
    snapshot.answers(&from.answers, &from.seal)?;
    if choice.is_everything() {
        let times = Times::at(now);
        for (number, file) in (1..).zip(from.files.iter().filter(|(head, _)| times.file(head).is_ok())) {
            snapshot.file(number, file)?;
        }
    }
    snapshot.not_here_yet(from);
    if snapshot.found == 0 {
        let (upstream, folder) = (from.upstream.clone(), from.folder.clone());
        return Err(SnapshotError::Nothing { what: choice.for_people(), upstream, folder });
    }
    let contents = snapshot.contents.clone();
    snapshot.json(Member::Contents, &contents)?;
    snapshot.writer.finish(path, &from.key).map_err(SnapshotError::io(path))?;
    Ok((manifest, contents))
}

fn manifest(
    from: &Exporting,
    name: &str,
    choice: &Selection,
    now: Millis,
) -> Result<Manifest, SnapshotError> {
    let manifest = Manifest {
        format: FORMAT.to_owned(),
        form: FORM,
        name: name.to_owned(),
        created_at: now,
        as_of: as_of(from)?.unwrap_or(now).min(now),
        upstream: from.upstream.clone(),
        time_zone: from.time_zone.clone(),
        program: env!("CARGO_PKG_VERSION").to_owned(),
        choice: choice.clone(),
    };
    manifest.check(now).map_err(SnapshotError::Choice)?;
    Ok(manifest)
}

/// The time of the newest that is known.
fn as_of(from: &Exporting) -> Result<Option<Millis>, SnapshotError> {
    let answers: Option<Millis> =
        from.answers.query_row("SELECT max(received_at) FROM responses", [], |row| row.get(0))?;
    let tables = from.mirror.iter().flat_map(|mirror| mirror.states.iter().map(|(_, state)| state.synced_at));
    Ok(tables.chain(answers).max())
}

struct Snapshot<'a> {
    writer: ArchiveWriter,
    path: &'a Path,
    choice: &'a Selection,
    tell: Tell<'a>,
    /// When it is made: what a clock that was ahead has left does not travel as if it were of the future.
    now: Millis,
    /// Names that were chosen and that no other name holds.
    plain: Vec<String>,
    /// Records and answers of what was chosen.
    found: u64,
    contents: Contents,
}

/// Lines on their way into members.
#[derive(Default)]
struct Lines {
    text: Vec<u8>,
    members: u32,
}

impl Snapshot<'_> {
    fn json(&mut self, member: Member, value: &impl Serialize) -> Result<(), SnapshotError> {
        self.member(member, &to_json(value))
    }

    fn member(&mut self, member: Member, bytes: &[u8]) -> Result<(), SnapshotError> {
        self.writer.member(member, bytes).map_err(SnapshotError::io(self.path))
    }

    /// Adds a line, and ends the member when it is large enough; whether the line fits at all.
    fn line(
        &mut self,
        lines: &mut Lines,
        of: impl Fn(u32) -> Member,
        value: &impl Serialize,
    ) -> Result<bool, SnapshotError> {
        let line = to_json(value);
        if line.len() as u64 >= most_of(of(1)) {
            return Ok(false);
        }
        if !lines.text.is_empty() && lines.text.len() + line.len() > CHUNK {
            self.end(lines, &of)?;
        }
        lines.text.extend_from_slice(&line);
        lines.text.push(b'\n');
        Ok(true)
    }

    fn end(&mut self, lines: &mut Lines, of: &impl Fn(u32) -> Member) -> Result<(), SnapshotError> {
        if lines.text.is_empty() {
            return Ok(());
        }
        lines.members += 1;
        self.member(of(lines.members), &lines.text)?;
        lines.text.clear();
        Ok(())
    }

    fn marks(&mut self, answers: &Connection) -> Result<(), SnapshotError> {
        let mut statement = answers.prepare("SELECT scope, at FROM marks ORDER BY scope")?;
        let marks = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let mut text = Vec::new();
        for mark in marks {
            let (scope, at): (String, Millis) = mark?;
            if is_of_a_token(&scope) {
                continue;
            }
            text.extend_from_slice(&to_json(&(scope, at.min(self.now))));
            text.push(b'\n');
        }
        self.member(Member::Marks, &text)
    }

    fn table(&mut self, mirror: &ReadSnapshot, table: &'static EndpointTables) -> Result<(), SnapshotError> {
        let endpoint = table.endpoint;
        let Some(mut head) = mirror.head(table)? else { return Ok(()) };
        if let Err(why) = Times::at(self.now).table(&head) {
            self.leave_out(endpoint, why);
            return Ok(());
        }
        let (choice, remarks) = ((self.choice, self.plain.as_slice()), &mut self.contents.remarks);
        let chosen = match narrowing::chosen(choice, mirror, endpoint, &mut head, remarks)? {
            Ok(chosen) => chosen,
            Err(why) => {
                self.leave_out(endpoint, why);
                return Ok(());
            }
        };
        let takes = |n: i64| chosen.as_ref().is_none_or(|chosen| chosen.binary_search(&n).is_ok());
        head.due.retain(|(n, _)| takes(*n));
        self.json(Member::Table(endpoint), &head)?;
        let total = mirror.states.of(endpoint.name).map_or(0, |state| state.rows);
        let shows = table.has_details() && mirror.states.spec().has_details(endpoint.name);
        let secret = redact::ENDPOINTS.contains(&endpoint.name);
        let (mut lines, mut records, mut without, mut seen) = (Lines::default(), 0, 0, 0_u64);
        let of = |number| Member::Records(endpoint, number);
        mirror
            .for_each(table, |mut record: Record| {
                seen += 1;
                if takes(record.n) {
                    if secret {
                        record.list = self.redacted(endpoint, record.list)?;
                        record.detail =
                            record.detail.map(|detail| self.redacted(endpoint, detail)).transpose()?;
                    }
                    if !self.line(&mut lines, of, &record)? {
                        return Err(SnapshotError::Choice(format!(
                            "a record of /{} is too large",
                            endpoint.name
                        )));
                    }
                    records += 1;
                    without += u64::from(shows && record.detail.is_none());
                }
                if seen.is_multiple_of(1_000) {
                    (self.tell)(Progress { what: endpoint.name, done: seen, total });
                }
                Ok::<_, SnapshotError>(())
            })
            .map_err(|error| not_exported(endpoint, error))?;
        self.end(&mut lines, &of)?;
        (self.tell)(Progress { what: endpoint.name, done: total, total });
        if chosen.is_some() || self.choice.owners().next().is_none() {
            self.found += records;
        }
        self.contents.note_without_details(endpoint.name, without);
        let line = TableLine { records, synced_at: head.synced_at, scope: head.scope };
        self.contents.tables.insert(endpoint.name.to_owned(), line);
        Ok(())
    }

    /// Says of tables that they are not here yet.
    fn not_here_yet(&mut self, from: &Exporting) {
        let here = |endpoint: &Endpoint| {
            from.mirror.as_ref().is_some_and(|mirror| mirror.states.of(endpoint.name).is_some())
        };
        for endpoint in from.wanted.iter().filter(|endpoint| self.choice.has(endpoint) && !here(endpoint)) {
            self.leave_out(endpoint, "it is not mirrored yet".to_owned());
        }
    }

    fn leave_out(&mut self, endpoint: &Endpoint, why: String) {
        self.contents.left_out.insert(endpoint.name.to_owned(), why);
    }

    fn redacted(&mut self, endpoint: &Endpoint, text: String) -> Result<String, SnapshotError> {
        // The detail of a record that Alyx can't show.
        if text.is_empty() {
            return Ok(text);
        }
        let (text, count) = redact::cut(&text)?;
        if count > 0 {
            *self.contents.blanked.entry(endpoint.name.to_owned()).or_default() += count as u64;
        }
        Ok(text)
    }

    fn answers(&mut self, answers: &Connection, seal: &SecretSeal) -> Result<(), SnapshotError> {
        const WHAT: &str = "answers";
        let total: u64 = answers.query_row("SELECT count(*) FROM responses", [], |row| row.get(0))?;
        let (mut lines, mut seen) = (Lines::default(), 0_u64);
        cache::for_each(answers, seal, |answer| {
            seen += 1;
            if seen.is_multiple_of(200) {
                (self.tell)(Progress { what: WHAT, done: seen, total });
            }
            match answer {
                Ok(answer) if self.choice.takes(&answer) => {
                    self.found += u64::from(self.choice.means(&answer));
                    self.answer(&mut lines, answer)
                }
                Ok(_) => Ok(()),
                Err(Stays::OneUsers) => {
                    self.contents.for_single_users += 1;
                    Ok(())
                }
                Err(Stays::UnknownForm) => {
                    self.contents.of_unknown_form += 1;
                    Ok(())
                }
                Err(Stays::Damaged) => {
                    self.contents.damaged += 1;
                    Ok(())
                }
            }
        })?;
        self.end(&mut lines, &Member::Answers)?;
        (self.tell)(Progress { what: WHAT, done: total, total });
        Ok(())
    }

    /// An answer by the time of day: stamps go on ahead of it where the clock was. None where it came by a clock that was
    /// ahead, and nobody knows when.
    fn of_now(&self, mut answer: ExportedEntry) -> Option<ExportedEntry> {
        answer.asked_at = answer.asked_at.min(answer.received_at);
        answer.pages_since = answer.pages_since.map(|since| since.min(self.now));
        Times::at(self.now).answer(&answer).is_ok().then_some(answer)
    }

    fn file(&mut self, number: u32, (head, path): &KeptFile) -> Result<(), SnapshotError> {
        self.json(Member::File(number), head)?;
        let (mut part, mut length) = (0, 0);
        files::in_pieces(path, CHUNK, |piece| {
            part += 1;
            length += piece.len() as u64;
            (self.tell)(Progress { what: "cache.zip", done: length, total: head.length });
            self.member(Member::Part(number, part), piece)
        })?;
        if length != head.length {
            // Replaced while it was read: what was written so far can't be taken back.
            return Err(SnapshotError::Choice(format!("{}: it changed while it was read", path.display())));
        }
        self.contents.files.insert(head.tag.clone(), length);
        Ok(())
    }

    fn answer(&mut self, lines: &mut Lines, answer: ExportedEntry) -> Result<(), SnapshotError> {
        let Some(mut answer) = self.of_now(answer) else {
            self.contents.damaged += 1;
            return Ok(());
        };
        let name = match answer.route() {
            Route::List(endpoint) | Route::Detail(endpoint, _) => {
                if redact::ENDPOINTS.contains(&endpoint.name) {
                    answer.body = self.redacted(endpoint, answer.body)?;
                }
                endpoint.name
            }
            Route::Service(service) => service.name(),
            Route::Other => return Ok(()),
        };
        if self.line(lines, Member::Answers, &answer)? {
            *self.contents.answers.entry(name.to_owned()).or_default() += 1;
        } else {
            self.contents.damaged += 1;
        }
        Ok(())
    }
}

/// That a table is damaged, where it is.
fn not_exported(endpoint: &Endpoint, error: SnapshotError) -> SnapshotError {
    match error {
        SnapshotError::Store(StoreError::Sqlite(why)) if is_damage(&why) => {
            tracing::error!(endpoint = endpoint.name, error = %why, "a table of the mirror is not exported");
            SnapshotError::DamagedTable(endpoint.name)
        }
        error => error,
    }
}

/// All that is written here can be written as JSON.
fn to_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}
