//! Lists: which records, and which page of them (REST.md 2.1).

use std::{collections::HashSet, sync::Arc};

use http::StatusCode;

use super::{
    answer::Answer,
    data::{Data, id},
    record::Record,
    respond::Ask,
    sample,
};
use crate::alyx::{Endpoint, paging::Window};

/// One page of the records that the request asks for.
pub(super) fn answer(data: &Data, endpoint: &'static Endpoint, ask: &Ask) -> Answer {
    let filter = ask.pairs.iter().find(|(name, _)| !matches!(name.as_str(), "limit" | "offset" | "format"));
    if let Some((name, _)) = filter {
        return Answer::beyond(&format!("evaluate {name} on /{}", endpoint.name));
    }
    let records = data.table(endpoint).records();
    let count = count(endpoint, records);
    let window = Window::of(&ask.pairs);
    let url = format!("{}{}", sample::BASE, ask.path);
    let (next, previous) = window.links(&url, &ask.pairs, count);
    let start = usize::try_from(window.offset).unwrap_or(usize::MAX).min(records.len());
    let end = start.saturating_add(usize::try_from(window.limit).unwrap_or(usize::MAX)).min(records.len());
    let page: Vec<&str> = records[start..end].iter().map(|record| record.text()).collect();
    let text = format!(
        r#"{{"count":{count},"next":{},"previous":{},"results":[{}]}}"#,
        link(next),
        link(previous),
        page.join(",")
    );
    Answer::records(StatusCode::OK, text)
}

/// The number that Alyx gives: it counts a stack once, though it lists it once for each of its slices.
fn count(endpoint: &Endpoint, records: &[Arc<Record>]) -> u64 {
    if endpoint.name != "imaging-stack" {
        return records.len() as u64;
    }
    let ids: HashSet<Option<&str>> = records.iter().map(|record| id(record)).collect();
    ids.len() as u64
}

fn link(url: Option<String>) -> String {
    // Links are percent-encoded: nothing in them needs an escape in JSON.
    url.map_or_else(|| "null".to_owned(), |url| format!("\"{url}\""))
}
