//! Stored answers as they travel in a snapshot: with their questions, without what belongs to one proxy.

use std::sync::Arc;

use bytes::Bytes;
use http::{StatusCode, Uri};
use rusqlite::Connection;
use serde::{Deserialize, Serialize};

use super::{
    Entry, JsonVariant, Question,
    entry::Parts,
    row::{Raw, raw, unpack},
};
use crate::{
    alyx::{Route, links::Base, query_string, route::classify},
    clock::Millis,
    http::stored_fields,
    storage::{seal::SecretSeal, types::CacheKey},
};

/// A stored answer and its question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportedEntry {
    /// The path, in the canonical spelling.
    pub path: String,
    /// The query as it was asked.
    pub query: String,
    /// The form of JSON that was asked for ([`JsonVariant`]).
    pub media: String,
    /// 200 or 404.
    pub status: u16,
    /// Alyx's header fields.
    pub headers: Vec<(String, String)>,
    /// When the question left.
    pub asked_at: Millis,
    /// When the answer was here.
    pub received_at: Millis,
    /// Pages of the same list that were asked before this time belong to an older generation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pages_since: Option<Millis>,
    /// The body as Alyx sent it, with Alyx's own links.
    pub body: String,
}

/// Why a stored answer does not travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stays {
    /// It is kept apart for a single user.
    OneUsers,
    /// It is not known in which form it was asked for.
    UnknownForm,
    /// It is damaged.
    Damaged,
}

/// An answer that came with a snapshot, ready to be stored.
#[derive(Debug)]
pub struct Arrived {
    pub(super) question: Question,
    pub(super) entry: Arc<Entry>,
    pub(super) pages_since: Option<Millis>,
}

/// Why what came with a snapshot is no answer.
#[derive(Debug, thiserror::Error)]
#[error("the answer to {question} can't be kept: {why}")]
pub struct NoAnswer {
    question: String,
    why: &'static str,
}

/// Shows every stored answer, or why it stays.
pub fn for_each<E: From<rusqlite::Error>>(
    connection: &Connection,
    seal: &SecretSeal,
    mut show: impl FnMut(Result<ExportedEntry, Stays>) -> Result<(), E>,
) -> Result<(), E> {
    let sql = "SELECT status, headers, body, length, checksum, query, asked_at, received_at,
                      key, owner IS NOT NULL, path, media, since
               FROM responses LEFT JOIN families USING (family) ORDER BY path, query";
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        if row.get(9)? {
            show(Err(Stays::OneUsers))?;
            continue;
        }
        let key: CacheKey = row.get(8)?;
        let (path, media): (String, String) = (row.get(10)?, row.get(11)?);
        show(carried(&key, raw(row)?, seal, path, media, row.get(12)?))?;
    }
    Ok(())
}

fn carried(
    key: &CacheKey,
    raw: Raw,
    seal: &SecretSeal,
    path: String,
    media: String,
    pages_since: Option<Millis>,
) -> Result<ExportedEntry, Stays> {
    let Parts { status, headers, body, query, asked_at, received_at } =
        unpack(key, raw, seal).ok_or(Stays::Damaged)?;
    let media = if media.is_empty() { JsonVariant::plain().0 } else { media };
    let question = question(&path, &query, &media).map_err(|_| Stays::UnknownForm)?;
    if question.key != *key {
        return Err(Stays::UnknownForm);
    }
    let fields =
        headers.iter().filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())));
    Ok(ExportedEntry {
        path,
        query,
        media,
        status: status.as_u16(),
        headers: fields.collect(),
        asked_at,
        received_at,
        pages_since,
        body: String::from_utf8(body.into()).map_err(|_| Stays::Damaged)?,
    })
}

impl ExportedEntry {
    /// What it addresses.
    pub fn route(&self) -> Route {
        route_of(&self.path)
    }

    /// The answer, if it is one that a proxy before the Alyx at `base` may keep.
    pub fn import(self, base: &Base) -> Result<Arrived, NoAnswer> {
        let no = |why| NoAnswer { question: shown(&self.path, &self.query), why };
        let question = question(&self.path, &self.query, &self.media).map_err(no)?;
        if question.path != self.path {
            return Err(no("its path is not written as it is kept"));
        }
        if !matches!(self.status, 200 | 404) {
            return Err(no("only 200 and 404 are kept"));
        }
        let fields = serde_json::to_string(&self.headers).unwrap_or_default();
        let headers = super::read_headers(&fields).ok_or_else(|| no("its header fields are none"))?;
        // What another says of its fields is not worth more than what Alyx itself says.
        let headers = stored_fields::of_answer(&headers);
        // That Alyx has no such description is said by a page.
        let may_be_a_page = question.route.is_description() && self.status == 404;
        if !(may_be_a_page || stored_fields::is_json(&headers)) {
            return Err(no("its content type is not JSON's"));
        }
        let parts = Parts {
            status: StatusCode::from_u16(self.status).map_err(|_| no("its status is none"))?,
            headers,
            body: Bytes::from(self.body.clone()),
            query: self.query.clone(),
            asked_at: self.asked_at,
            received_at: self.received_at,
        };
        let entry = Entry::from_parts(parts, base).ok_or_else(|| no("its body is not JSON"))?;
        Ok(Arrived { question, entry: Arc::new(entry), pages_since: self.pages_since })
    }
}

fn shown(path: &str, query: &str) -> String {
    format!("{path}?{query}").chars().take(200).flat_map(char::escape_debug).collect()
}

fn route_of(path: &str) -> Route {
    let segments = query_string::segments(path);
    classify(&segments.iter().map(String::as_str).collect::<Vec<_>>())
}

fn question(path: &str, query: &str, media: &str) -> Result<Question, &'static str> {
    let route = route_of(path);
    let class = route.class().ok_or("Alyx's answers to it are never kept")?;
    let uri = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
    let uri: Uri = uri.parse().map_err(|_| "its path and query are none")?;
    Ok(Question::new(route, class, &uri, &JsonVariant(media.to_owned()), None))
}

#[cfg(test)]
impl ExportedEntry {
    /// One that may be kept.
    pub(super) fn some() -> Self {
        Self {
            path: "/sessions".to_owned(),
            query: "lab=a".to_owned(),
            media: "json".to_owned(),
            status: 200,
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            asked_at: 1,
            received_at: 2,
            pages_since: None,
            body: "[]".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_kept_may_arrive() {
        let base = Base::new("http://alyx");
        assert!(ExportedEntry::some().import(&base).is_ok());
        for wrong in [
            ExportedEntry { path: "/admin/".to_owned(), ..ExportedEntry::some() },
            ExportedEntry { path: "/auth-token".to_owned(), ..ExportedEntry::some() },
            ExportedEntry { path: "//sessions".to_owned(), ..ExportedEntry::some() },
            ExportedEntry { path: "http://other/sessions".to_owned(), ..ExportedEntry::some() },
            ExportedEntry { query: "a b\r\n".to_owned(), ..ExportedEntry::some() },
            ExportedEntry { status: 500, ..ExportedEntry::some() },
            ExportedEntry { headers: vec![("a b".to_owned(), String::new())], ..ExportedEntry::some() },
            ExportedEntry {
                headers: vec![("a".to_owned(), "x\r\ny: z".to_owned())],
                ..ExportedEntry::some()
            },
            ExportedEntry { body: "<html>".to_owned(), ..ExportedEntry::some() },
            ExportedEntry {
                headers: vec![("content-type".to_owned(), "text/html".to_owned())],
                ..ExportedEntry::some()
            },
            ExportedEntry { headers: Vec::new(), ..ExportedEntry::some() },
        ] {
            let told = wrong.clone().import(&base).unwrap_err().to_string();
            assert!(!told.contains('\n'), "{told}");
        }
    }
}
