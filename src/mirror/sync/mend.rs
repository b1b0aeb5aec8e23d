//! Finds where a table has other records than Alyx, by counts of ranges of keys (ALYX.md 6.3, 6.4).

use rusqlite::Connection;

use super::{
    SyncError, Synchroniser,
    relist::RANGE,
    source::{self, Range},
};
use crate::mirror::{generation::TableScope, schema::EndpointTables};

impl Synchroniser {
    /// Whether Alyx has the records that are here and no others, as its count says, after what is needed for that was read.
    pub(super) async fn compare_count(
        &self,
        table: &'static EndpointTables,
        scope: &TableScope,
    ) -> Result<bool, SyncError> {
        let count = self.source.count(table.endpoint, scope).await?;
        let whole = self.mend(table, scope, count).await?;
        if whole {
            self.settle_unlisted(table, count).await?;
        }
        Ok(whole)
    }

    /// Finds the ranges of keys in which Alyx has another number of records than there are here, and reads them; whether that
    /// was all, and not only as much as may be asked now. What was read is right, and so not read again.
    pub(super) async fn mend(
        &self,
        table: &'static EndpointTables,
        scope: &TableScope,
        count: u64,
    ) -> Result<bool, SyncError> {
        let all: Range = (0, None);
        let here = self.mirror.read(move |connection, _| count_here(connection, table, all)).await?;
        let ranges = source::split(count);
        if is_spread(here.abs_diff(count), ranges.len()) {
            for range in ranges {
                let Some(_room) = self.budget.reserve_for_now(1) else { return Ok(false) };
                self.reread(table, scope, range).await?;
            }
            return Ok(true);
        }
        let mut open: Vec<(Range, u64)> = vec![(all, count)];
        while let Some((range, count)) = open.pop() {
            let here = self.mirror.read(move |connection, _| count_here(connection, table, range)).await?;
            if here == count {
                continue;
            }
            let Some(_room) = self.budget.reserve_for_now(1) else { return Ok(false) };
            if count <= source::PAGE as u64 {
                self.reread(table, scope, range).await?;
                continue;
            }
            let middle = range.0 + (range.1.unwrap_or(u128::MAX) - range.0) / 2;
            let (left, right) = ((range.0, Some(middle)), (middle, range.1));
            let parameters = source::with_django(scope, &source::within("", left));
            let of_left = self.source.count(table.endpoint, &parameters).await?;
            open.extend([(left, of_left), (right, count.saturating_sub(of_left))]);
        }
        Ok(true)
    }
}

/// Whether so many records are likely in so many of the ranges that to halve these until each is found costs more than to read
/// all of them.
fn is_spread(records: u64, ranges: usize) -> bool {
    let halvings = u64::from(usize::BITS - ranges.leading_zeros());
    records.saturating_mul(halvings + 1) > ranges as u64
}

fn count_here(
    connection: &Connection,
    table: &EndpointTables,
    (first, after): Range,
) -> rusqlite::Result<u64> {
    let sql = format!("SELECT count(*) FROM \"{}\" WHERE {RANGE}", table.name);
    let bounds = (first.to_be_bytes(), after.map(u128::to_be_bytes));
    connection.prepare_cached(&sql)?.query_row(bounds, |row| row.get::<_, i64>(0)).map(i64::unsigned_abs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_spread_is_read_as_a_whole() {
        for (records, ranges, spread) in [
            (0, 1, false),
            (1, 1, true),
            (1, 18, false),
            (3, 18, false),
            (4, 18, true),
            (100, 2000, false),
            (200, 2000, true),
        ] {
            assert_eq!(is_spread(records, ranges), spread, "{records} of {ranges}");
        }
    }
}
