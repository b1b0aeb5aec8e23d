//! From the mirror's rows to columns, some tens of thousands of rows at a time.

use parquet::data_type::ByteArray;
use rusqlite::Row;

use super::{columns::Values, quality};

const DAY: i64 = 86_400_000_000;

/// Rows that are gathered.
pub(super) trait Batch: Default {
    /// Adds a row of the mirror.
    fn add(&mut self, row: &Row<'_>) -> rusqlite::Result<()>;
    /// How many there are.
    fn len(&self) -> usize;
    /// The columns in their order.
    fn columns(self) -> Vec<Values>;
}

#[derive(Default)]
pub(super) struct SessionRows {
    lab: Vec<ByteArray>,
    subject: Vec<ByteArray>,
    date: Vec<i32>,
    number: Vec<i32>,
    task_protocol: Vec<ByteArray>,
    projects: Vec<ByteArray>,
    id: Vec<ByteArray>,
}

impl Batch for SessionRows {
    fn add(&mut self, row: &Row<'_>) -> rusqlite::Result<()> {
        // A number that ONE's 16 bits can't hold is none of a session.
        let Ok(number) = u16::try_from(row.get::<_, i64>(4)?) else { return Ok(()) };
        let start: i64 = row.get(3)?;
        self.id.push(uuid(row, 0)?);
        self.lab.push(text(row, 1)?);
        self.subject.push(text(row, 2)?);
        self.date.push(i32::try_from(start.div_euclid(DAY)).unwrap_or_default());
        self.number.push(number.into());
        self.task_protocol.push(text(row, 5)?);
        self.projects.push(text(row, 6)?);
        Ok(())
    }

    fn len(&self) -> usize {
        self.id.len()
    }

    fn columns(self) -> Vec<Values> {
        let Self { lab, subject, date, number, task_protocol, projects, id } = self;
        vec![
            Values::Text(lab),
            Values::Text(subject),
            Values::Number(date),
            Values::Number(number),
            Values::Text(task_protocol),
            Values::Text(projects),
            Values::Text(id),
        ]
    }
}

#[derive(Default)]
pub(super) struct Datasets {
    file_size: (Vec<i64>, Vec<i16>),
    hash: (Vec<ByteArray>, Vec<i16>),
    rel_path: Vec<ByteArray>,
    default_revision: Vec<bool>,
    quality: Vec<u8>,
    eid: Vec<ByteArray>,
    id: Vec<ByteArray>,
}

impl Batch for Datasets {
    fn add(&mut self, row: &Row<'_>) -> rusqlite::Result<()> {
        self.eid.push(uuid(row, 0)?);
        self.id.push(uuid(row, 1)?);
        optional(&mut self.file_size, row.get(2)?);
        optional(&mut self.hash, row.get::<_, Option<String>>(3)?.map(|hash| hash.as_str().into()));
        self.default_revision.push(row.get::<_, Option<bool>>(4)?.unwrap_or_default());
        self.quality.push(quality::place(row.get::<_, Option<i64>>(5)?.unwrap_or_default()));
        let part = |at| row.get::<_, Option<String>>(at).map(Option::unwrap_or_default);
        self.rel_path.push(path(&part(6)?, &part(7)?, &part(8)?).as_str().into());
        Ok(())
    }

    fn len(&self) -> usize {
        self.id.len()
    }

    fn columns(self) -> Vec<Values> {
        let exists = vec![true; self.id.len()];
        vec![
            Values::SomeSize(self.file_size.0, self.file_size.1),
            Values::SomeText(self.hash.0, self.hash.1),
            Values::Truth(exists),
            Values::Text(self.rel_path),
            Values::Truth(self.default_revision),
            Values::Quality(self.quality),
            Values::Text(self.eid),
            Values::Text(self.id),
        ]
    }
}

/// `collection/#revision#/name`, without what is not there.
fn path(collection: &str, revision: &str, name: &str) -> String {
    let revision = if revision.is_empty() { String::new() } else { format!("#{revision}#") };
    let parts = [collection, &revision, name];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/")
}

fn optional<T>((values, there): &mut (Vec<T>, Vec<i16>), value: Option<T>) {
    there.push(value.is_some().into());
    values.extend(value);
}

fn text(row: &Row<'_>, at: usize) -> rusqlite::Result<ByteArray> {
    Ok(row.get::<_, Option<String>>(at)?.unwrap_or_default().as_str().into())
}

fn uuid(row: &Row<'_>, at: usize) -> rusqlite::Result<ByteArray> {
    let id = uuid::Uuid::from_bytes(row.get(at)?);
    Ok(id.hyphenated().to_string().as_str().into())
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_path_has_the_parts_that_there_are() {
        assert_eq!(super::path("alf/probe00", "2024-01-01", "a.npy"), "alf/probe00/#2024-01-01#/a.npy");
        assert_eq!(super::path("", "", "a.npy"), "a.npy");
        assert_eq!(super::path("raw", "", "a.npy"), "raw/a.npy");
    }
}
