//! One record, fetched again after it was written through the proxy.

use super::{SyncError, Synchroniser, apply, source};
use crate::{
    alyx::{DetailKey, Endpoint},
    mirror::{generation, schema::Schema},
};

impl Synchroniser {
    /// Fetches one record again, its detail too, after it was written through the proxy.
    pub async fn touch(&self, endpoint: &'static Endpoint, key: &str) -> Result<(), SyncError> {
        let Some(table) = Schema::get().table(endpoint.name) else { return Ok(()) };
        if self.mirror.states().of(endpoint.name).is_none() || endpoint.filter("django").is_none() {
            return Ok(());
        }
        let column = match endpoint.detail.map(|detail| detail.key) {
            Some(DetailKey::Name(name)) => name,
            _ => "id",
        };
        let asked = self.clock().stamp();
        let parameters = source::with_django(&self.scope(table), &format!("{column},{key}"));
        let records = self.source.page(endpoint, &parameters, source::PAGE, 0).await?.records;
        let records = self.with_details(table, records).await?;
        self.mirror
            .write(move |connection| {
                for (list, detail) in &records {
                    // The place of a new record among others is known when all are listed.
                    if source::by_ranges(table) || apply::place(connection, table, list)?.is_some() {
                        apply::put(connection, table, None, list, detail, asked)?;
                    }
                }
                Ok(generation::recount(connection, table)?)
            })
            .await?;
        Ok(())
    }
}
