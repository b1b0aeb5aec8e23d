//! A line of the audit log.

use std::net::IpAddr;

use serde_json::{Map, Value};

/// No text of a line is longer, in characters.
const LONGEST: usize = 200;

/// The files: what one of them gets pushes out nothing of another's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AuditStream {
    /// What an administrator, or the machine's owner, has done.
    Acts,
    /// Who has logged in.
    LogIns,
    /// What was refused: anybody can have it written.
    Refusals,
}

impl AuditStream {
    pub(super) const ALL: [Self; 3] = [Self::Acts, Self::LogIns, Self::Refusals];

    /// The beginning of its files' names.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Acts => "acts",
            Self::LogIns => "log-ins",
            Self::Refusals => "refusals",
        }
    }
}

#[derive(Debug)]
enum AuditValue {
    Plain(Value),
    /// Of a user or a record.
    Name(String),
    /// What was typed as a name and is nobody's here: it may be a password.
    Guess(String),
}

/// A line of the audit log.
#[derive(Debug)]
pub(crate) struct AuditEntry {
    pub(super) stream: AuditStream,
    fields: Vec<(&'static str, AuditValue)>,
}

impl AuditEntry {
    /// That this happened, and how it ended.
    pub(crate) fn new(stream: AuditStream, event: &'static str, outcome: &str) -> Self {
        Self { stream, fields: Vec::new() }.plain("event", event).plain("outcome", outcome)
    }

    /// From this address.
    pub(crate) fn from(self, client: IpAddr) -> Self {
        self.plain("from", client.to_canonical().to_string())
    }

    /// A word of the program's own, or a number.
    pub(crate) fn plain(mut self, field: &'static str, value: impl Into<Value>) -> Self {
        self.fields.push((field, AuditValue::Plain(value.into())));
        self
    }

    /// The name of a user or a record.
    pub(crate) fn name(mut self, field: &'static str, name: &str) -> Self {
        self.fields.push((field, AuditValue::Name(name.to_owned())));
        self
    }

    /// What was typed as a name and is nobody's here: always a hash.
    pub(crate) fn guess(mut self, field: &'static str, typed: &str) -> Self {
        self.fields.push((field, AuditValue::Guess(typed.to_owned())));
        self
    }

    /// The line, with this time before all else and hashes in place of names where `hash_names`.
    pub(super) fn line(self, at: String, hash_names: bool, hash: &dyn Fn(&str) -> String) -> String {
        let mut line = Map::new();
        line.insert("at".to_owned(), at.into());
        for (field, value) in self.fields {
            let value = match value {
                AuditValue::Plain(Value::String(text)) => Value::String(shortened(&text)),
                AuditValue::Plain(value) => value,
                AuditValue::Name(name) if !hash_names => Value::String(shortened(&name)),
                AuditValue::Name(name) | AuditValue::Guess(name) => Value::String(hash(&name)),
            };
            line.insert(field.to_owned(), value);
        }
        format!("{}\n", Value::Object(line))
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_typed_and_is_nobodys_is_always_a_hash_and_nothing_makes_a_second_line() {
        let entry = || {
            AuditEntry::new(AuditStream::LogIns, "log-in", "refused")
                .name("user", "al\nice\u{1b}")
                .guess("typed", "a password")
                .plain("path", "x".repeat(5_000))
        };
        for hash_names in [false, true] {
            let line = entry().line("now".to_owned(), hash_names, &|name| format!("#{}", name.len()));
            assert_eq!(line.matches('\n').count(), 1);
            assert!(line.is_ascii() && !line.contains('\u{1b}') && line.len() < 500, "{line}");
            let read: Value = serde_json::from_str(&line).unwrap();
            assert_eq!(read["typed"], "#10");
            assert_eq!(read["user"], if hash_names { "#7" } else { "al\nice\u{1b}" });
        }
    }
}
