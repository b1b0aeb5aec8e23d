//! SQL in pieces: text and the values that are bound in it, in their order.

use rusqlite::types::Value;

/// A piece of SQL.
#[derive(Debug, Clone, Default)]
pub(super) struct Sql {
    pub(super) text: String,
    pub(super) values: Vec<Value>,
}

impl Sql {
    /// Text without values.
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), values: Vec::new() }
    }

    /// A value.
    pub(super) fn value(value: Value) -> Self {
        Self { text: "?".to_owned(), values: vec![value] }
    }

    /// Values between commas.
    pub(super) fn values(values: impl IntoIterator<Item = Value>) -> Self {
        Self::join(values.into_iter().map(Self::value), ", ")
    }

    /// With more text.
    #[must_use]
    pub(super) fn text(mut self, text: &str) -> Self {
        self.text.push_str(text);
        self
    }

    /// With another piece.
    #[must_use]
    pub(super) fn sql(mut self, other: Self) -> Self {
        self.text.push_str(&other.text);
        self.values.extend(other.values);
        self
    }

    /// With a value.
    #[must_use]
    pub(super) fn bind(self, value: Value) -> Self {
        self.sql(Self::value(value))
    }

    /// Pieces with text between them.
    pub(super) fn join(pieces: impl IntoIterator<Item = Self>, between: &str) -> Self {
        let mut all = Self::default();
        for (number, piece) in pieces.into_iter().enumerate() {
            if number > 0 {
                all.text.push_str(between);
            }
            all = all.sql(piece);
        }
        all
    }

    /// The SQL with its values in their places, for people.
    pub(super) fn shown(&self) -> String {
        let mut values = self.values.iter();
        let mut shown = String::with_capacity(self.text.len());
        for piece in self.text.split_inclusive('?') {
            match piece.strip_suffix('?') {
                Some(before) => {
                    shown.push_str(before);
                    shown.push_str(&values.next().map(literal).unwrap_or_default());
                }
                None => shown.push_str(piece),
            }
        }
        shown
    }
}

fn literal(value: &Value) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::Integer(number) => number.to_string(),
        Value::Real(number) => format!("{number:?}"),
        Value::Text(text) => format!("'{}'", text.replace('\'', "''")),
        Value::Blob(bytes) => {
            let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("x'{}'", hex.concat())
        }
    }
}

/// A name in SQL.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{name}\"")
}
