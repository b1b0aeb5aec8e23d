//! Which record of one reading of a table is which of another.

use std::collections::HashSet;

use super::source;
use crate::{
    alyx::{endpoint::DetailKey, record},
    mirror::schema::EndpointTables,
};

/// What tells records apart: the id; where they show none the name that their details are asked for by, if no two have the
/// same one; else the whole text.
pub(super) struct RecordIdentity {
    table: &'static EndpointTables,
    field: Option<&'static str>,
    /// Names that stand twice in one of the lists.
    ambiguous: HashSet<String>,
}

impl RecordIdentity {
    /// For these texts of records: those that are here, and those of Alyx.
    pub(super) fn of(table: &'static EndpointTables, lists: [Vec<&String>; 2]) -> Self {
        let field = match table.endpoint.detail.map(|detail| detail.key) {
            Some(DetailKey::Name(field)) => Some(field),
            _ => None,
        };
        let mut keys = Self { table, field, ambiguous: HashSet::new() };
        for list in lists {
            let mut seen = HashSet::new();
            for name in list.into_iter().filter_map(|text| keys.name(text)).collect::<Vec<_>>() {
                if let Some(twice) = seen.replace(name) {
                    keys.ambiguous.insert(twice);
                }
            }
        }
        keys
    }

    fn name(&self, text: &str) -> Option<String> {
        let record = record::Record::new(text);
        self.field.and_then(|field| record.field(field).map(str::to_owned))
    }

    pub(super) fn key(&self, text: &str) -> String {
        source::identity(self.table, text)
            .or_else(|| self.name(text).filter(|name| !self.ambiguous.contains(name)))
            .unwrap_or_else(|| text.to_owned())
    }
}
