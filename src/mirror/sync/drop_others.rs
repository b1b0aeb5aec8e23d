//! Removing what the settings no longer name.

use super::Synchroniser;
use crate::mirror::{generation, schema::Schema};

impl Synchroniser {
    /// Removes the tables that the settings no longer name, and what was begun of them.
    pub(super) async fn drop_others(&self) {
        let settings = self.settings.load_full();
        let here = self.mirror.read(|connection, _| generation::endpoints(connection)).await;
        let here = here.unwrap_or_else(|error| {
            tracing::warn!(%error, "what is no longer mirrored is not removed");
            Vec::new()
        });
        let others = here.iter().filter_map(|endpoint| Schema::get().table(endpoint));
        for table in others.filter(|table| !settings.mirror.keeps(table.endpoint)) {
            let dropped =
                self.mirror.write(move |connection| Ok(generation::forget(connection, table)?)).await;
            if let Err(error) = dropped {
                tracing::warn!(%error, endpoint = table.endpoint.name, "not removed from the mirror");
            }
        }
    }
}
