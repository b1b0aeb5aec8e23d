//! Lists: how Alyx counts them, and the texts of their rows (ALYX.md 2.5, 3.3).

use std::{borrow::Cow, collections::HashSet, sync::Arc};

use super::ask::Row;
use crate::{
    alyx::{Endpoint, record::Record},
    miniature::data::id,
};

/// The number that Alyx gives: it counts a stack once, though it lists it once for each of its slices.
pub(super) fn count(endpoint: &Endpoint, records: &[Arc<Record>], rows: &[Row]) -> u64 {
    if endpoint.name != "imaging-stack" {
        return rows.len() as u64;
    }
    let ids: HashSet<Option<&str>> = rows.iter().map(|row| id(&records[row.place])).collect();
    ids.len() as u64
}

/// The text of a row. Alyx counts the tags of a dataset over all joined tables (ALYX.md 3.3).
pub(super) fn text<'r>(endpoint: &Endpoint, records: &'r [Arc<Record>], row: Row) -> Cow<'r, str> {
    let record = &records[row.place];
    if endpoint.name != "datasets" || row.repeats == 1 {
        return Cow::Borrowed(record.text());
    }
    let counted = |record: &Record, field: &str| {
        let own: usize = record.plain(field).and_then(|number| number.parse().ok()).unwrap_or_default();
        record.with(field, &(own * row.repeats).to_string())
    };
    Cow::Owned(counted(&counted(record, "protected"), "public").text().to_owned())
}
