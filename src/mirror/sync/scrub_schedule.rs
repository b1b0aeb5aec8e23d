//! Mending what a disk got wrong: while Alyx can be asked, damaged tables are fetched anew.
//!
//! While it can't, what is left goes on answering: a record whose text is not the one that was stored is refused, the
//! others are given.

use super::{Synchroniser, generation};
use crate::mirror::database::MirrorError;

/// The whole mirror is looked through so often, in milliseconds, as a disk tells nobody what it has lost.
const EVERY: i64 = 7 * 86_400_000;

impl Synchroniser {
    /// Looks through the mirror where something was met that only a damaged file shows, and once a week; forgets what
    /// is damaged, so that it is fetched anew.
    pub(super) async fn look_through(&self) {
        self.mirror.damage().settle(&self.mirror.states());
        let suspect = self.mirror.damage().take_suspicion();
        if !suspect && !self.is_due().await {
            return;
        }
        let start = self.clock().instant();
        let mended = match self.mirror.look_through().await {
            Ok(tables) => {
                for table in &tables {
                    let endpoint = table.endpoint.name;
                    tracing::error!(endpoint, "the mirror's table is damaged; it is fetched anew");
                    let table = *table;
                    self.forgive(Some(endpoint));
                    let forgotten =
                        self.mirror.write(move |connection| Ok(generation::forget(connection, table)?));
                    if let Err(error) = forgotten.await {
                        self.replace(&error).await;
                        return;
                    }
                }
                self.mirror.damage().found(tables.iter().map(|table| table.endpoint.name));
                tracing::info!(
                    damaged = tables.len(),
                    seconds = start.elapsed().as_secs(),
                    "the mirror was looked through for what a disk may have got wrong"
                );
                self.note().await
            }
            Err(error) => Err(error),
        };
        if let Err(error) = mended {
            self.replace(&error).await;
        }
    }

    /// Begins a fresh database where the file can't be read or changed.
    async fn replace(&self, error: &MirrorError) {
        if !error.is_corruption() {
            tracing::warn!(%error, "the mirror was not looked through");
            return;
        }
        self.forgive(None);
        if let Err(error) = self.mirror.renew().await {
            tracing::error!(%error, "the mirror is damaged, and no fresh one can be made");
        }
    }

    async fn is_due(&self) -> bool {
        let sql = "SELECT value FROM meta WHERE key = 'scrubbed_at'";
        let looked = self.mirror.read(|connection, _| {
            rusqlite::OptionalExtension::optional(connection.query_row(sql, [], |row| row.get::<_, i64>(0)))
        });
        match looked.await {
            // By a clock that was set back it is due, too.
            Ok(Some(at)) => !(0..EVERY).contains(&(self.clock().now() - at)),
            Ok(None) => {
                // A mirror is whole when it is begun.
                if let Err(error) = self.note().await {
                    tracing::debug!(%error, "the time is not noted");
                }
                false
            }
            Err(_) => true,
        }
    }

    async fn note(&self) -> Result<(), MirrorError> {
        let now = self.clock().now();
        let note = move |connection: &rusqlite::Connection| {
            connection.execute("INSERT OR REPLACE INTO meta VALUES('scrubbed_at', ?1)", [now])?;
            Ok(())
        };
        self.mirror.write(note).await
    }
}
