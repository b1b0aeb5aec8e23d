//! A stored answer as a row of the database: packed, with a checksum over all that it is made of.

use std::{cell::RefCell, io, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use rusqlite::{Connection, OptionalExtension, Row};

use super::{Entry, Question, entry::Parts, eviction::Totals, sealing};
use crate::{
    alyx::links::Base,
    clock::Millis,
    http::stored_fields,
    storage::{seal::SecretSeal, types::CacheKey},
};

/// zstd's own default: 80 µs for 100 KB, and four fifths or more of a body saved.
const LEVEL: i32 = 3;
/// What a row costs besides its body and text.
const OVERHEAD: usize = 400;

/// A row before its body is unpacked.
pub(super) struct Raw {
    status: u16,
    headers: String,
    body: Vec<u8>,
    pub(super) length: usize,
    checksum: [u8; 32],
    query: String,
    asked_at: Millis,
    received_at: Millis,
}

pub(super) fn select(connection: &Connection, key: &CacheKey) -> rusqlite::Result<Option<Raw>> {
    let sql = "SELECT status, headers, body, length, checksum, query, asked_at, received_at
               FROM responses WHERE key = ?1";
    connection.prepare_cached(sql)?.query_row([key], raw).optional()
}

pub(super) fn raw(row: &Row<'_>) -> rusqlite::Result<Raw> {
    Ok(Raw {
        status: row.get(0)?,
        headers: row.get(1)?,
        body: row.get(2)?,
        // One that is none fits no body.
        length: usize::try_from(row.get::<_, i64>(3)?).unwrap_or(usize::MAX),
        checksum: row.get(4)?,
        query: row.get(5)?,
        asked_at: row.get(6)?,
        received_at: row.get(7)?,
    })
}

/// What must be as it was stored: all that an answer and its freshness are made of.
fn checksum(
    key: &CacheKey,
    (status, headers, query, asked_at, received_at): (u16, &str, &str, Millis, Millis),
    body: &[u8],
) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(key).update(&status.to_le_bytes());
    hasher.update(&asked_at.to_le_bytes()).update(&received_at.to_le_bytes());
    for text in [headers, query] {
        hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
    }
    *hasher.update(body).finalize().as_bytes()
}

/// The entry of a row, if it is what was once stored.
pub(super) fn entry_of(key: &CacheKey, raw: Raw, base: &Base, seal: &SecretSeal) -> Option<Entry> {
    unpack(key, raw, seal).and_then(|parts| Entry::from_parts(parts, base))
}

/// A row's parts, if they are what was once stored.
pub(super) fn unpack(key: &CacheKey, raw: Raw, seal: &SecretSeal) -> Option<Parts> {
    let body = unpacked(&seal.open_body(&raw.body)?, raw.length)?;
    let row = (raw.status, raw.headers.as_str(), raw.query.as_str(), raw.asked_at, raw.received_at);
    if checksum(key, row, &body) != raw.checksum || raw.asked_at < 0 || raw.received_at < 0 {
        return None;
    }
    Some(Parts {
        status: StatusCode::from_u16(raw.status).ok()?,
        // Earlier revisions stored more, and took over what snapshots said.
        headers: stored_fields::of_answer(&read_headers(&raw.headers)?),
        body: Bytes::from(body),
        query: raw.query,
        asked_at: raw.asked_at,
        received_at: raw.received_at,
    })
}

/// A body, if it is of this length. A length that a disk got wrong may be any: nothing is made room for before what the
/// compressor noted says the same (RFC 8878, section 3.1.1.1.4).
fn unpacked(packed: &[u8], length: usize) -> Option<Vec<u8>> {
    let noted = zstd::zstd_safe::get_frame_content_size(packed).ok()??;
    if usize::try_from(noted) != Ok(length) {
        return None;
    }
    let mut body = Vec::new();
    body.try_reserve_exact(length).ok()?;
    zstd::bulk::Decompressor::new().ok()?.decompress_to_buffer(packed, &mut body).ok()?;
    Some(body)
}

/// Header fields of disk; none where that is no JSON of ours.
pub(crate) fn read_headers(text: &str) -> Option<HeaderMap> {
    let fields: Vec<(String, String)> = serde_json::from_str(text).ok()?;
    let field = |(name, value): (String, String)| {
        Some((HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?))
    };
    fields.into_iter().map(field).collect()
}

/// Header fields as they lie on disk, in JSON; one that is no text (none of Alyx's) is left out.
pub(crate) fn write_headers(headers: &HeaderMap) -> String {
    let fields: Vec<(&str, &str)> =
        headers.iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?))).collect();
    serde_json::to_string(&fields).unwrap_or_else(|_| "[]".to_owned())
}

/// Packs a body. What the compressor needs is kept by the thread: to make it takes longer than to pack a record.
fn pack(body: &[u8]) -> io::Result<Vec<u8>> {
    thread_local! {
        static COMPRESSOR: RefCell<Option<zstd::bulk::Compressor<'static>>> = const { RefCell::new(None) };
    }
    COMPRESSOR.with_borrow_mut(|kept| {
        let compressor = match kept {
            Some(compressor) => compressor,
            None => kept.insert(zstd::bulk::Compressor::new(LEVEL)?),
        };
        compressor.compress(body)
    })
}

/// An entry on its way to disk.
pub(super) struct NewRow {
    key: CacheKey,
    family: CacheKey,
    page_offset: i64,
    owner: Option<[u8; 32]>,
    path: String,
    query: String,
    media: String,
    entry: Arc<Entry>,
    /// What seals the body, where it may hold secrets.
    seal: Option<Arc<SecretSeal>>,
}

impl NewRow {
    pub(super) fn of(question: &Question, entry: Arc<Entry>, seal: &Arc<SecretSeal>) -> Self {
        Self {
            seal: sealing::may_hold_secrets(&question.route).then(|| seal.clone()),
            key: question.key,
            family: question.family,
            page_offset: i64::try_from(question.offset()).unwrap_or(i64::MAX),
            owner: question.owner.map(|owner| owner.0),
            path: question.path.clone(),
            query: question.query().to_owned(),
            media: question.media.0.clone(),
            entry,
        }
    }

    /// Packs and writes the row, unless a newer one is there; whether it did. One that was asked after `latest` says so of the
    /// future, and is none. Runs on the writer's thread.
    pub(super) fn insert(
        self,
        connection: &Connection,
        totals: &Totals,
        latest: Millis,
    ) -> rusqlite::Result<bool> {
        let entry = &self.entry;
        let mut packed =
            pack(&entry.body).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
        if let Some(seal) = &self.seal {
            packed = sealing::sealed(seal, &packed)?;
        }
        let headers = write_headers(&entry.headers);
        let row =
            (entry.status.as_u16(), headers.as_str(), self.query.as_str(), entry.asked_at, entry.received_at);
        let checksum = checksum(&self.key, row, &entry.body);
        let size = packed.len() + headers.len() + self.path.len() + self.query.len() + OVERHEAD;
        let old = connection
            .prepare_cached(
                "DELETE FROM responses WHERE key = ?1 AND (asked_at <= ?2 OR asked_at > ?3) RETURNING size",
            )?
            .query_row((self.key, entry.asked_at, latest), |row| row.get(0))
            .optional()?;
        totals.removed(old);
        let sql =
            "INSERT INTO responses (key, family, page_offset, count, owner, path, query, status, headers,
                     body, length, checksum, asked_at, received_at, used_at, size, media)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, max(?13, ?14), ?15, ?16)
                   ON CONFLICT (key) DO NOTHING";
        let inserted = connection.prepare_cached(sql)?.execute(rusqlite::params![
            self.key,
            self.family,
            self.page_offset,
            entry.count(),
            self.owner,
            self.path,
            self.query,
            entry.status.as_u16(),
            headers,
            packed,
            entry.body.len(),
            checksum,
            entry.asked_at,
            entry.received_at,
            size,
            self.media,
        ])?;
        if inserted == 1 {
            totals.added(size as u64);
        }
        Ok(inserted == 1)
    }
}
