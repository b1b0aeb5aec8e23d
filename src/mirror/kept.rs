//! Lists that were found lately: how many rows they have, and of which records, in their order. The pages of a search, which are
//! asked for one after the other, come from one look through the tables.
//!
//! A list is known by the SQL that finds it, the values in that, and how often each table has changed that it reads
//! ([`super::change_log`]): after a change nothing is found that was kept before.

use std::sync::Arc;

use foldhash::fast::RandomState;
use moka::{policy::EvictionPolicy, sync::Cache};
use rusqlite::types::Value;

/// What a list weighs besides its numbers, in bytes: its key, and what the cache notes of it.
const BESIDES: usize = 256;

/// What a list is known by.
pub(super) type ListKey = [u8; 32];

/// Lists that were found lately, in one file of the database. A clone keeps what this keeps.
#[derive(Debug, Clone)]
pub(super) struct KeptLists {
    lists: Cache<ListKey, Arc<KeptList>, RandomState>,
    /// Of one list no more rows than these are kept.
    most_rows: usize,
    /// Another for each file that has taken the database's place.
    file: u64,
}

/// A list.
#[derive(Debug)]
pub(super) struct KeptList {
    /// How many rows it has.
    pub(super) count: u64,
    /// The numbers of their records; none where these are too many, or were not looked for.
    pub(super) numbers: Option<Box<[u32]>>,
    /// How often a page of it was found alone.
    pub(super) pages: u32,
}

/// Two states are the same whatever was found in them.
impl PartialEq for KeptLists {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for KeptLists {}

impl KeptList {
    /// A list of so many rows, of whatever records.
    pub(super) fn of_count(count: u64) -> Self {
        Self { count, numbers: None, pages: 0 }
    }

    /// A list of so many rows of which so many pages were found.
    pub(super) fn of_pages(count: u64, pages: u32) -> Self {
        Self { pages, ..Self::of_count(count) }
    }

    /// The numbers of the records on a page.
    pub(super) fn page(&self, offset: u64, limit: u64) -> Option<&[u32]> {
        let numbers = self.numbers.as_deref()?;
        let at = |row: u64| usize::try_from(row).unwrap_or(usize::MAX).min(numbers.len());
        Some(&numbers[at(offset)..at(offset.saturating_add(limit))])
    }

    fn weight(&self) -> usize {
        BESIDES + self.numbers.as_ref().map_or(0, |numbers| numbers.len() * size_of::<u32>())
    }
}

/// A list while its rows are found.
#[derive(Debug)]
pub(super) struct ListBuilder {
    count: u64,
    /// None once there is no room for more.
    numbers: Option<Vec<u32>>,
    most_rows: usize,
}

impl ListBuilder {
    /// An empty list, of which no more rows are noted than these.
    pub(super) fn new(most_rows: usize) -> Self {
        Self { count: 0, numbers: Some(Vec::new()), most_rows }
    }

    /// The number of rows so far.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// So many rows of a record.
    pub(super) fn add(&mut self, n: i64, times: u64) {
        self.count = self.count.saturating_add(times);
        let fits = usize::try_from(self.count).is_ok_and(|count| count <= self.most_rows);
        match (&mut self.numbers, u32::try_from(n), usize::try_from(times)) {
            (Some(numbers), Ok(n), Ok(times)) if fits => numbers.extend(std::iter::repeat_n(n, times)),
            _ => self.numbers = None,
        }
    }

    /// Whether there is no room for more.
    pub(super) fn is_full(&self) -> bool {
        self.numbers.is_none()
    }

    /// The list as it is kept, each record once and in the order of their numbers, whatever order they came in.
    pub(super) fn sorted(self) -> KeptList {
        let Some(mut numbers) = self.numbers else { return KeptList::of_count(self.count) };
        if !numbers.is_sorted() {
            numbers.sort_unstable();
        }
        numbers.dedup();
        let count = numbers.len() as u64;
        KeptList { numbers: Some(numbers.into_boxed_slice()), ..KeptList::of_count(count) }
    }

    /// The list as it is kept.
    pub(super) fn list(self) -> KeptList {
        KeptList { numbers: self.numbers.map(Vec::into_boxed_slice), ..KeptList::of_count(self.count) }
    }
}

impl KeptLists {
    /// Keeps lists that weigh no more than so many bytes.
    pub(super) fn new(bytes: u64) -> Self {
        let weight = |_: &ListKey, list: &Arc<KeptList>| u32::try_from(list.weight()).unwrap_or(u32::MAX);
        let lists = Cache::builder()
            .max_capacity(bytes)
            .weigher(weight)
            .eviction_policy(EvictionPolicy::lru())
            .build_with_hasher(RandomState::default());
        let most_rows = usize::try_from(bytes / 2).unwrap_or(usize::MAX) / size_of::<u32>();
        Self { lists, most_rows, file: 0 }
    }

    /// The same for what is found in another file.
    #[must_use]
    pub(super) fn of_file(&self, file: u64) -> Self {
        Self { file, ..self.clone() }
    }

    /// Of one list no more rows than these are kept.
    pub(super) fn most_rows(&self) -> usize {
        self.most_rows
    }

    /// Whether there is room for the numbers of a list's records.
    pub(super) fn fits(&self, list: &KeptList) -> bool {
        usize::try_from(list.count).is_ok_and(|count| count <= self.most_rows)
    }

    pub(super) fn get(&self, key: &ListKey) -> Option<Arc<KeptList>> {
        self.lists.get(key)
    }

    pub(super) fn put(&self, key: ListKey, list: KeptList) {
        self.lists.insert(key, Arc::new(list));
        // A list may weigh as much as half of all: what has to go for it goes at once.
        self.lists.run_pending_tasks();
    }

    /// What a list is known by; `changes` say how often each table has changed that it reads.
    pub(super) fn key(
        &self,
        sql: &str,
        values: &[Value],
        changes: impl IntoIterator<Item = (&'static str, i64)>,
    ) -> ListKey {
        let mut hash = blake3::Hasher::new();
        let mut put = |kind: u8, bytes: &[u8]| {
            hash.update(&[kind]).update(&bytes.len().to_le_bytes()).update(bytes);
        };
        put(0, sql.as_bytes());
        for value in values {
            match value {
                Value::Null => put(1, &[]),
                Value::Integer(number) => put(2, &number.to_le_bytes()),
                Value::Real(number) => put(3, &number.to_bits().to_le_bytes()),
                Value::Text(text) => put(4, text.as_bytes()),
                Value::Blob(bytes) => put(5, bytes),
            }
        }
        for (table, change) in changes {
            put(6, table.as_bytes());
            put(7, &change.to_le_bytes());
        }
        put(8, &self.file.to_le_bytes());
        *hash.finalize().as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        alyx::{Endpoint, pagination::Window},
        mirror::{
            Mirror, MirrorError, generation,
            ingest::{self, IncomingRecord},
            plan,
            schema::Schema,
        },
    };

    const TAG: &str =
        r#"{"id":"07813450-f550-4862-ac5c-8eb5e0a962f3","name":"t","protected":false,"public":false}"#;

    /// What the mirror says to `tags?name=t`: how many there are, and on the second page of one.
    async fn asked(mirror: &Mirror) -> (u64, usize) {
        let look = |connection: &rusqlite::Connection, states: &Arc<crate::mirror::state::States>| {
            let pairs = vec![("name".to_owned(), "t".to_owned())];
            let tags = Endpoint::named("tags").unwrap();
            let plan = plan::list(connection, states, tags, &pairs, jiff::civil::date(2026, 1, 1)).unwrap();
            let (count, texts) = plan.answer(connection, Window { limit: 1, offset: 1 }).unwrap();
            Ok((count, texts.matches("07813450").count()))
        };
        mirror.read(look).await.unwrap()
    }

    fn put(connection: &rusqlite::Connection, prefix: &str, n: i64) -> Result<(), MirrorError> {
        let table = Schema::get().table("tags").unwrap();
        Ok(ingest::put(connection, table, prefix, n, IncomingRecord { list: TAG, detail: None })?)
    }

    #[tokio::test]
    async fn a_list_is_kept_until_its_table_changes() {
        let folder = tempfile::tempdir().unwrap();
        let mirror = Mirror::open(folder.path()).unwrap();
        let table = Schema::get().table("tags").unwrap();
        let fill = move |connection: &rusqlite::Connection| {
            generation::begin(connection, table, 5, &Vec::new(), 0, 1)?;
            put(connection, generation::NEXT, 1)?;
            Ok(generation::publish(connection, table)?)
        };
        mirror.write(fill).await.unwrap();
        let change = |states: &crate::mirror::state::States| states.change_of("tags");
        let before = change(&mirror.states());
        for _ in 0..3 {
            assert_eq!(asked(&mirror).await, (1, 0));
        }
        let kept = || {
            let lists = mirror.states().kept().unwrap().lists.clone();
            lists.run_pending_tasks();
            lists.entry_count()
        };
        let lists = kept();
        assert!(lists > 0);
        // Another table's change leaves it.
        mirror.write(|connection| Ok(generation::bump(connection)?)).await.unwrap();
        assert_eq!((asked(&mirror).await, kept(), change(&mirror.states())), ((1, 0), lists, before));
        let undone = |connection: &rusqlite::Connection| {
            put(connection, "", 2)?;
            generation::recount(connection, Schema::get().table("tags").unwrap())?;
            Err::<(), _>(MirrorError::Closed)
        };
        assert!(mirror.write(undone).await.is_err());
        assert_eq!(asked(&mirror).await, (1, 0));
        let one_more = |connection: &rusqlite::Connection| {
            put(connection, "", 2)?;
            Ok(generation::recount(connection, Schema::get().table("tags").unwrap())?)
        };
        mirror.write(one_more).await.unwrap();
        assert_eq!(asked(&mirror).await, (2, 1));
        assert!(change(&mirror.states()) > before);
        // Not all that changes a row counts rows anew.
        let renamed = |connection: &rusqlite::Connection| {
            let list = TAG.replace("\"t\"", "\"u\"");
            let table = Schema::get().table("tags").unwrap();
            ingest::put(connection, table, "", 2, IncomingRecord { list: &list, detail: None })?;
            Ok(generation::bump(connection)?)
        };
        mirror.write(renamed).await.unwrap();
        assert_eq!(asked(&mirror).await, (1, 0));
        mirror.write(fill).await.unwrap();
        assert_eq!(asked(&mirror).await, (1, 0));
        mirror.close();
    }

    fn of(numbers: impl IntoIterator<Item = i64>) -> KeptList {
        let mut list = ListBuilder::new(2_000_000);
        numbers.into_iter().for_each(|n| list.add(n, 1));
        list.list()
    }

    #[test]
    fn a_list_is_another_after_a_change_and_with_other_values() {
        let lists = KeptLists::new(1 << 20);
        let of = |value: i64, change| lists.key("x = ?", &[Value::Integer(value)], [("tags", change)]);
        assert_eq!(of(1, 1), of(1, 1));
        assert_ne!(of(1, 1), of(1, 2));
        assert_ne!(of(1, 1), of(2, 1));
        assert_ne!(of(1, 1), lists.key("x = ?", &[Value::Real(f64::from_bits(1))], [("tags", 1)]));
        // In another file the same numbers of changes say nothing.
        assert_ne!(of(1, 1), lists.of_file(1).key("x = ?", &[Value::Integer(1)], [("tags", 1)]));
    }

    #[test]
    fn what_was_used_longest_ago_makes_room() {
        const ROOM: u64 = 16 << 20;
        let lists = KeptLists::new(ROOM);
        for name in 0..4_u8 {
            lists.put([name; 32], of(0..1_100_000));
            assert!(lists.get(&[0; 32]).is_some());
        }
        // Four of 4.4 MB are too much.
        assert!(lists.get(&[1; 32]).is_none() && lists.get(&[3; 32]).is_some());
        assert!(lists.lists.weighted_size() <= ROOM);
        assert!(of(0..3_000_000).numbers.is_none() && !lists.fits(&KeptList::of_count(3_000_000)));
        assert!(of([i64::MAX, 1]).numbers.is_none());
        for name in 0..100_000_u32 {
            let mut key = [9; 32];
            key[..4].copy_from_slice(&name.to_le_bytes());
            lists.put(key, KeptList::of_count(1));
        }
        assert!(lists.lists.weighted_size() <= ROOM && lists.lists.entry_count() > 1_000);
    }

    #[test]
    fn a_page_begins_and_ends_within_the_list() {
        let list = of([5, 4, 6]);
        assert_eq!(list.page(1, 1), Some(&[4][..]));
        assert_eq!(list.page(2, u64::MAX), Some(&[6][..]));
        assert_eq!(list.page(u64::MAX, 1), Some(&[][..]));
        assert_eq!(KeptList::of_count(3).page(0, 1), None);
        let mut unsorted = ListBuilder::new(9);
        for n in [5, 4, 5, 6] {
            unsorted.add(n, 1);
        }
        let sorted = unsorted.sorted();
        assert_eq!((sorted.count, sorted.page(0, 9)), (3, Some(&[4, 5, 6][..])));
    }
}
