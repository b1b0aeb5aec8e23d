//! The columns of the two tables: their types in Parquet, and what pandas must know to make of them what ONE expects.

use base64::prelude::{BASE64_STANDARD, Engine};
use parquet::{
    basic::Compression,
    data_type::{BoolType, ByteArray, ByteArrayType, Int32Type, Int64Type},
    errors::{ParquetError, Result},
    file::{
        metadata::KeyValue,
        properties::WriterProperties,
        writer::{SerializedFileWriter, SerializedRowGroupWriter},
    },
    schema::{parser::parse_message_type, types::TypePtr},
};
use serde_json::{Value, json};

use super::quality;

/// The values of a column for some rows.
pub(super) enum Values {
    Text(Vec<ByteArray>),
    /// The values that there are, and for each row whether there is one (1) or not (0).
    SomeText(Vec<ByteArray>, Vec<i16>),
    /// Days since 1970, or numbers below 65536.
    Number(Vec<i32>),
    SomeSize(Vec<i64>, Vec<i16>),
    Truth(Vec<bool>),
    /// Places in the list of words for a dataset's quality.
    Quality(Vec<u8>),
}

/// A table.
pub(super) struct ParquetTable {
    schema: &'static str,
    /// Name, pandas' own type and numpy's, of the columns in their order.
    columns: &'static [(&'static str, &'static str, &'static str)],
    index: &'static [&'static str],
    /// The types as Arrow writes them, where Parquet's own don't say all: see `datasets_schema.py`.
    arrow: Option<&'static [u8]>,
}

pub(super) static SESSIONS: ParquetTable = ParquetTable {
    schema: "message schema {
        required binary lab (STRING);
        required binary subject (STRING);
        required int32 date (DATE);
        required int32 number (INTEGER(16,false));
        required binary task_protocol (STRING);
        required binary projects (STRING);
        required binary id (STRING);
    }",
    columns: &[
        ("lab", "unicode", "object"),
        ("subject", "unicode", "object"),
        ("date", "date", "object"),
        ("number", "uint16", "uint16"),
        ("task_protocol", "unicode", "object"),
        ("projects", "unicode", "object"),
        ("id", "unicode", "object"),
    ],
    index: &["id"],
    arrow: None,
};

pub(super) static DATASETS: ParquetTable = ParquetTable {
    schema: "message schema {
        optional int64 file_size (INTEGER(64,false));
        optional binary hash (STRING);
        required boolean exists;
        required binary rel_path (STRING);
        required boolean default_revision;
        required binary qc (STRING);
        required binary eid (STRING);
        required binary id (STRING);
    }",
    columns: &[
        ("file_size", "uint64", "UInt64"),
        ("hash", "unicode", "object"),
        ("exists", "bool", "bool"),
        ("rel_path", "unicode", "object"),
        ("default_revision", "bool", "bool"),
        ("qc", "categorical", "int8"),
        ("eid", "unicode", "object"),
        ("id", "unicode", "object"),
    ],
    index: &["eid", "id"],
    arrow: Some(include_bytes!("datasets.schema")),
};

impl ParquetTable {
    /// A file of it; `about` is what ONE reads of the table's origin.
    pub(super) fn file<W: std::io::Write + Send>(
        &self,
        to: W,
        about: &Value,
    ) -> Result<SerializedFileWriter<W>> {
        let schema: TypePtr = parse_message_type(self.schema)?.into();
        let mut notes = vec![
            KeyValue::new("pandas".to_owned(), self.pandas().to_string()),
            KeyValue::new("one_metadata".to_owned(), about.to_string()),
        ];
        if let Some(arrow) = self.arrow {
            let text = BASE64_STANDARD.encode(with_notes(arrow, &about.to_string())?);
            notes.push(KeyValue::new("ARROW:schema".to_owned(), text));
        }
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_key_value_metadata(Some(notes))
            .build();
        SerializedFileWriter::new(to, schema, properties.into())
    }

    fn pandas(&self) -> Value {
        let columns: Vec<Value> = self
            .columns
            .iter()
            .map(|(name, pandas, numpy)| {
                let more = match *pandas {
                    "categorical" => json!({ "num_categories": quality::WORDS.len(), "ordered": true }),
                    _ => Value::Null,
                };
                json!({
                    "name": name, "field_name": name, "pandas_type": pandas, "numpy_type": numpy, "metadata": more,
                })
            })
            .collect();
        json!({
            "index_columns": self.index,
            "column_indexes": [],
            "columns": columns,
            "creator": { "library": "alyx-proxy", "version": env!("CARGO_PKG_VERSION") },
            "pandas_version": "2.2.0",
        })
    }
}

/// What a description has in place of the notes on a table's origin.
const PLACE: &[u8] = &[b'~'; 400];

/// The description with these notes in their place; JSON may end in any number of spaces.
fn with_notes(description: &[u8], notes: &str) -> Result<Vec<u8>> {
    let at = memchr::memmem::find(description, PLACE).filter(|_| notes.len() <= PLACE.len());
    let at = at.ok_or_else(|| ParquetError::General("the notes on its origin are too long".to_owned()))?;
    let mut filled = description.to_vec();
    let place = &mut filled[at..at + PLACE.len()];
    place.fill(b' ');
    place[..notes.len()].copy_from_slice(notes.as_bytes());
    Ok(filled)
}

/// Writes rows, all columns of them, as one row group.
pub(super) fn write_rows<W: std::io::Write + Send>(
    file: &mut SerializedFileWriter<W>,
    columns: Vec<Values>,
) -> Result<()> {
    let descriptions: Vec<_> = file.schema_descr().columns().to_vec();
    let mut rows = file.next_row_group()?;
    for (values, description) in columns.into_iter().zip(descriptions) {
        match values {
            Values::Quality(places) => quality::append(&mut rows, description, &places)?,
            values => column(&mut rows, &values)?,
        }
    }
    rows.close().map(drop)
}

fn column<W: std::io::Write + Send>(
    rows: &mut SerializedRowGroupWriter<'_, W>,
    values: &Values,
) -> Result<()> {
    let Some(mut column) = rows.next_column()? else { return Ok(()) };
    match values {
        Values::Text(texts) => column.typed::<ByteArrayType>().write_batch(texts, None, None)?,
        Values::SomeText(texts, there) => {
            column.typed::<ByteArrayType>().write_batch(texts, Some(there), None)?
        }
        Values::Number(numbers) => column.typed::<Int32Type>().write_batch(numbers, None, None)?,
        Values::SomeSize(sizes, there) => {
            column.typed::<Int64Type>().write_batch(sizes, Some(there), None)?
        }
        Values::Truth(truths) => column.typed::<BoolType>().write_batch(truths, None, None)?,
        Values::Quality(_) => 0,
    };
    column.close()
}
