//! Lists: which records, and which page of them (REST.md 2.1).

use std::{borrow::Cow, collections::HashSet, sync::Arc};

use http::StatusCode;

use super::{
    answer::Answer,
    ask::{self, Row},
    data::{Data, id},
    respond::Ask,
    sample,
};
use crate::alyx::{Endpoint, paging::Window, record::Record};

/// One page of the records that the request asks for.
pub(super) fn answer(data: &Data, endpoint: &'static Endpoint, request: &Ask) -> Answer {
    let rows = match ask::rows(data, endpoint, &request.pairs) {
        Ok(rows) => rows,
        Err(unanswered) => return unanswered.into(),
    };
    let records = data.table(endpoint).records();
    let count = count(endpoint, records, &rows);
    let window = Window::of(&request.pairs);
    let url = format!("{}{}", sample::BASE, request.path);
    let (next, previous) = window.links(&url, &request.pairs, count);
    let start = usize::try_from(window.offset).unwrap_or(usize::MAX).min(rows.len());
    let end = start.saturating_add(usize::try_from(window.limit).unwrap_or(usize::MAX)).min(rows.len());
    let page: Vec<Cow<'_, str>> = rows[start..end].iter().map(|row| text(endpoint, records, *row)).collect();
    let text = format!(
        r#"{{"count":{count},"next":{},"previous":{},"results":[{}]}}"#,
        link(next),
        link(previous),
        page.join(",")
    );
    Answer::records(StatusCode::OK, text)
}

/// The number that Alyx gives: it counts a stack once, though it lists it once for each of its slices.
fn count(endpoint: &Endpoint, records: &[Arc<Record>], rows: &[Row]) -> u64 {
    if endpoint.name != "imaging-stack" {
        return rows.len() as u64;
    }
    let ids: HashSet<Option<&str>> = rows.iter().map(|row| id(&records[row.place])).collect();
    ids.len() as u64
}

/// The text of a row. Alyx counts the tags of a dataset over all joined tables (REST.md 3.3).
fn text<'r>(endpoint: &Endpoint, records: &'r [Arc<Record>], row: Row) -> Cow<'r, str> {
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

fn link(url: Option<String>) -> String {
    // Links are percent-encoded: nothing in them needs an escape in JSON.
    url.map_or_else(|| "null".to_owned(), |url| format!("\"{url}\""))
}
