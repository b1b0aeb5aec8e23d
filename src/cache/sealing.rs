//! Answers that may hold secrets ([`redact`]) lie on disk sealed, body and all. What earlier versions have stored in clear is
//! sealed at the first start.

use rusqlite::Connection;

use crate::{
    alyx::{Route, query_string, redact, route::classify},
    storage::seal::SecretSeal,
};

/// Whether answers of this route may hold secrets.
pub(super) fn may_hold_secrets(route: &Route) -> bool {
    let (Route::List(endpoint) | Route::Detail(endpoint, _)) = route else { return false };
    redact::ENDPOINTS.contains(&endpoint.name)
}

/// A body sealed; an error where that fails: it is not written in clear instead.
pub(super) fn sealed(seal: &SecretSeal, packed: &[u8]) -> rusqlite::Result<Vec<u8>> {
    let failed = || rusqlite::Error::ToSqlConversionFailure("a body could not be sealed".into());
    seal.seal_body(packed).ok_or_else(failed)
}

/// Seals the answers that are stored in clear though they may hold secrets; how many they were.
pub fn seal_stored(connection: &Connection, seal: &SecretSeal) -> rusqlite::Result<usize> {
    let mut clear: Vec<i64> = Vec::new();
    let mut rows = connection.prepare("SELECT id, path, body FROM responses WHERE path GLOB '/data-rep*'")?;
    let mut rows = rows.query([])?;
    while let Some(row) = rows.next()? {
        let path: String = row.get(1)?;
        let segments = query_string::segments(&path);
        let route = classify(&segments.iter().map(String::as_str).collect::<Vec<_>>());
        if may_hold_secrets(&route) && !SecretSeal::is_sealed(row.get_ref(2)?.as_blob()?) {
            clear.push(row.get(0)?);
        }
    }
    for id in &clear {
        let body: Vec<u8> =
            connection.query_row("SELECT body FROM responses WHERE id = ?1", [id], |row| row.get(0))?;
        let body = sealed(seal, &body)?;
        connection.execute("UPDATE responses SET body = ?2 WHERE id = ?1", (id, body))?;
    }
    Ok(clear.len())
}
