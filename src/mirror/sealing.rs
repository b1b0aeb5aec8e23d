//! Secrets in records ([`redact`]) lie in the mirror sealed, each in its place in the text: they are sealed as they come from
//! Alyx, and opened in what is given. All between, comparisons and checksums too, goes by the sealed text.

use std::sync::Arc;

use rusqlite::Connection;

use super::{
    Mirror, MirrorError, checksum,
    generation::NEXT,
    ingest::{self, IncomingRecord},
    schema::{EndpointTables, Schema},
};
use crate::{alyx::redact, storage::seal::SecretSeal, store::seal_once};

impl Mirror {
    /// Seals from now on; what an earlier version has stored in clear is sealed now.
    ///
    /// # Errors
    ///
    /// Of the database; it is tried again at the next start.
    pub async fn seal_with(&self, seal: Arc<SecretSeal>) -> Result<(), MirrorError> {
        let seal = self.seal.get_or_init(|| seal).clone();
        let mut connection = self.connection()?;
        let work = move || seal_once(&mut connection, |connection| seal_stored(connection, &seal));
        tokio::task::spawn_blocking(work).await.map_err(|_| MirrorError::Closed)?
    }

    /// What seals secrets, if they are to be.
    pub(super) fn seal(&self) -> Option<&Arc<SecretSeal>> {
        self.seal.get()
    }
}

/// Seals what is in clear; how many records that were.
fn seal_stored(connection: &Connection, seal: &SecretSeal) -> Result<usize, MirrorError> {
    let mut sealed = 0;
    for table in redact::ENDPOINTS.iter().filter_map(|endpoint| Schema::get().table(endpoint)) {
        for prefix in ["", NEXT] {
            let sql = "SELECT EXISTS(SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?1)";
            let name = format!("{prefix}{}__body", table.name);
            if connection.query_row(sql, [&name], |row| row.get(0))? {
                sealed += seal_table(connection, table, prefix, seal)?;
            }
        }
    }
    Ok(sealed)
}

fn seal_table(
    connection: &Connection,
    table: &EndpointTables,
    prefix: &str,
    seal: &SecretSeal,
) -> Result<usize, MirrorError> {
    let sql = format!("SELECT {} FROM \"{prefix}{}__body\"", checksum::TEXTS, table.name);
    let records: Vec<(i64, String, Option<String>)> =
        connection.prepare(&sql)?.query_map([], checksum::texts)?.collect::<Result<_, _>>()?;
    let mut sealed = 0;
    for (n, list, detail) in records {
        let of = |text: &String| seal.seal_text(text).unwrap_or_else(|| text.clone());
        let (new_list, new_detail) = (of(&list), detail.as_ref().map(of));
        if (&new_list, &new_detail) != (&list, &detail) {
            let record = IncomingRecord { list: &new_list, detail: new_detail.as_deref() };
            ingest::put(connection, table, prefix, n, record)?;
            sealed += 1;
        }
    }
    Ok(sealed)
}
