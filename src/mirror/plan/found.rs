//! The rows of a list: how many there are, and which are on a page.

use std::{collections::BTreeSet, iter::repeat_n, sync::Arc};

use rusqlite::{Connection, types::Value};

use super::{
    ListPlan, PlanError, PlannedRow, always_grouped,
    condition::BASE,
    repeated,
    sql::{Sql, quoted},
};
use crate::{
    alyx::pagination::Window,
    mirror::{
        kept::{KeptList, KeptLists, ListBuilder, ListKey},
        schema::Schema,
        state::States,
    },
};

/// From this row on it costs something to pass over so many rows.
const DEEP: u64 = 10_000;
/// A list of which so many pages were asked for is found as a whole with the next: that costs as much as some pages.
const PAGES: u32 = 3;
/// So many rows of a list that is not kept are brought into their order in memory.
const UNKEPT: usize = 1_000_000;
/// Where more than one of so many records is among the found ones, it costs less to look at all in their order than to bring
/// the found ones into it.
const MANY: u64 = 4;

/// The place where is kept what a plan finds.
#[derive(Debug, Clone)]
pub(super) struct ListShelf {
    lists: KeptLists,
    key: ListKey,
}

impl ListShelf {
    /// The place of what this SQL finds; none where that is up to anything but rows of the tables that it names.
    pub(super) fn of(states: &States, sql: &Sql) -> Option<Self> {
        let tables = tables_of(&sql.text)?;
        let changes = tables.into_iter().map(|table| (table, states.change_of(table)));
        let lists = states.kept()?.clone();
        Some(Self { key: lists.key(&sql.text, &sql.values, changes), lists })
    }

    /// Whether there is room for the numbers of a list's records.
    fn fits(&self, list: &KeptList) -> bool {
        self.lists.fits(list)
    }

    pub(super) fn get(&self) -> Option<Arc<KeptList>> {
        self.lists.get(&self.key)
    }

    pub(super) fn put(&self, list: KeptList) {
        self.lists.put(self.key, list);
    }
}

/// The endpoints whose rows this SQL reads; none where it reads a table that is none of theirs, or is not named in quotation
/// marks.
fn tables_of(sql: &str) -> Option<BTreeSet<&'static str>> {
    let table = |name: &str| Schema::get().table(&name.split("__").next()?.replace('_', "-"));
    let is_theirs = |word: &str| {
        sql.match_indices(word).all(|(at, _)| match sql[at + word.len()..].split_once('"') {
            Some(("", rest)) => rest.split('"').next().and_then(table).is_some(),
            // A subquery, or what a subquery was called.
            _ => matches!(sql.as_bytes().get(at + word.len()), Some(b'(' | b'x')),
        })
    };
    if !is_theirs(" FROM ") || !is_theirs(" JOIN ") {
        return None;
    }
    let names = sql.split('"').skip(1).step_by(2);
    Some(names.filter_map(table).map(|table| table.endpoint.name).collect())
}

/// What finds the numbers of just those records for which this holds; none where that takes a look at the records.
fn among(holds: &Sql) -> Option<Sql> {
    let inner = holds.text.strip_prefix(&format!("({BASE}.n IN ("))?.strip_suffix("))")?;
    let mut depth = 0_i32;
    for byte in inner.bytes() {
        depth += match byte {
            b'(' => 1,
            b')' => -1,
            // Who knows what is in a text.
            b'\'' => return None,
            _ => 0,
        };
        if depth < 0 {
            return None;
        }
    }
    inner.starts_with("SELECT ").then(|| Sql { text: inner.to_owned(), values: holds.values.clone() })
}

impl ListPlan {
    /// The number of rows, and the texts of a page's records, with commas between them.
    pub fn answer(&self, connection: &Connection, window: Window) -> Result<(u64, String), PlanError> {
        if self.order.join.is_empty() {
            let (count, numbers) = self.found(connection, window)?;
            return Ok((count, self.texts(connection, &self.repeating(connection, numbers)?)?));
        }
        let count = self.count(connection)?;
        // Where more is joined for the order there are more rows than count; no page begins among those
        // (ALYX.md 2.1, rule 7).
        if count == 0 || window.offset > count {
            return Ok((count, String::new()));
        }
        Ok((count, self.repeated(connection, window, count)?))
    }

    /// The number of rows, and the records of a page by their numbers.
    fn found(&self, connection: &Connection, window: Window) -> Result<(u64, Vec<i64>), PlanError> {
        let kept = self.shelf.as_ref().and_then(ListShelf::get);
        if let Some(list) = &kept
            && let Some(page) = list.page(window.offset, window.limit)
        {
            return Ok((list.count, page.iter().map(|n| i64::from(*n)).collect()));
        }
        // What it takes to find the records is done once, not for the count and for the page, and not for each of many pages.
        let searches = self.holds.text.contains("SELECT");
        let counts_pages = !self.holds.text.is_empty() || window.offset >= DEEP;
        let pages = kept.as_ref().map_or(0, |list| list.pages);
        let fits = |list: &Arc<KeptList>| self.shelf.as_ref().is_some_and(|shelf| shelf.fits(list));
        if searches || (counts_pages && pages >= PAGES && kept.as_ref().is_some_and(fits)) {
            return self.at_once(connection, window);
        }
        let count = match &kept {
            Some(list) => list.count,
            None => self.count(connection)?,
        };
        if count == 0 || window.offset > count {
            return Ok((count, Vec::new()));
        }
        if let Some(numbers) = self.without_gaps(connection, window)? {
            return Ok((count, numbers));
        }
        if counts_pages {
            self.keep(KeptList::of_pages(count, pages + 1));
        }
        let rows = self.rows_of(connection, window)?;
        Ok((count, rows.iter().map(|row| row.n).collect()))
    }

    /// All rows, of which those are shown that are on the page.
    fn at_once(&self, connection: &Connection, window: Window) -> Result<(u64, Vec<i64>), PlanError> {
        if let Some(list) = self.by_number(connection)? {
            let page = list.page(window.offset, window.limit).unwrap_or_default();
            let (count, page) = (list.count, page.iter().map(|n| i64::from(*n)).collect());
            self.keep(list);
            return Ok((count, page));
        }
        let sql = self.looking(connection)?;
        let mut statement = connection.prepare_cached(&sql.text)?;
        let mut found = statement.query(rusqlite::params_from_iter(&sql.values))?;
        let (mut list, mut page) = (self.list_builder(), Vec::new());
        let end = window.offset.saturating_add(window.limit);
        while let Some(row) = found.next()? {
            let n = row.get(0)?;
            let times: u64 = if self.multiplies() { row.get(1)? } else { 1 };
            let count = list.count();
            let within = end.min(count + times).saturating_sub(count.max(window.offset));
            page.extend(repeat_n(n, usize::try_from(within).unwrap_or_default()));
            list.add(n, times);
        }
        let count = list.count();
        self.keep(list.list());
        Ok((count, page))
    }

    /// An empty list, with room for as many rows as may be kept.
    fn list_builder(&self) -> ListBuilder {
        ListBuilder::new(self.shelf.as_ref().map_or(UNKEPT, |shelf| shelf.lists.most_rows()))
    }

    fn keep(&self, list: KeptList) {
        if let Some(place) = &self.shelf {
            place.put(list);
        }
    }

    /// All rows of a list that stands in the order of its records' numbers: found in whatever order costs least. None for
    /// another list, and where there is no room for so many.
    fn by_number(&self, connection: &Connection) -> Result<Option<KeptList>, PlanError> {
        if !self.is_by_number() || self.multiplies() {
            return Ok(None);
        }
        let sql = among(&self.holds).unwrap_or_else(|| {
            Sql::new(format!("SELECT {BASE}.n FROM {} {BASE}", quoted(&self.table.name)))
                .sql(self.condition())
        });
        let mut statement = connection.prepare_cached(&sql.text)?;
        let mut found = statement.query(rusqlite::params_from_iter(&sql.values))?;
        let mut list = self.list_builder();
        while let Some(row) = found.next()? {
            list.add(row.get(0)?, 1);
            if list.is_full() {
                return Ok(None);
            }
        }
        Ok(Some(list.sorted()))
    }

    fn is_by_number(&self) -> bool {
        self.order.join.is_empty() && self.order.by == format!("{BASE}.n")
    }

    /// What finds all rows in their order, in the way that costs least.
    fn looking(&self, connection: &Connection) -> Result<Sql, PlanError> {
        let mut sql = self.numbers_listed();
        let Some(among) = among(&self.holds).filter(|_| !self.is_by_number()) else { return Ok(sql) };
        let counted = Sql::new("SELECT count(*) FROM (SELECT DISTINCT * FROM (").sql(among).text("))");
        let mut statement = connection.prepare_cached(&counted.text)?;
        let found: u64 =
            statement.query_row(rusqlite::params_from_iter(&counted.values), |row| row.get(0))?;
        if found.saturating_mul(MANY) > self.records {
            sql.text = sql.text.replacen(&format!("({BASE}.n IN ("), &format!("(+{BASE}.n IN ("), 1);
        }
        Ok(sql)
    }

    /// All rows in their order: the numbers of their records, and how often each stands there if not once.
    pub(super) fn numbers_listed(&self) -> Sql {
        if self.multiplies() {
            return self.listing();
        }
        Sql::new(format!("SELECT {BASE}.n FROM {} {BASE}", quoted(&self.table.name)))
            .sql(self.condition())
            .text(&format!(" ORDER BY {}", self.order.by))
    }

    /// The records of a page of all records, where these stand in the order of their numbers and no number between the first
    /// and the last is free.
    fn without_gaps(&self, connection: &Connection, window: Window) -> Result<Option<Vec<i64>>, PlanError> {
        let is_plain = self.holds.text.is_empty() && self.repeats.is_none() && window.offset >= DEEP;
        let Some(rows) = self.rows.filter(|_| is_plain && self.is_by_number()) else {
            return Ok(None);
        };
        let name = quoted(&self.table.name);
        let sql = format!("SELECT (SELECT min(n) FROM {name}), (SELECT max(n) FROM {name})");
        let mut statement = connection.prepare_cached(&sql)?;
        let (first, last): (Option<i64>, Option<i64>) =
            statement.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let (Some(first), Some(last)) = (first, last) else { return Ok(None) };
        let has_gaps = last.checked_sub(first).is_none_or(|span| span.unsigned_abs() + 1 != rows);
        let Ok(offset) = i64::try_from(window.offset) else { return Ok(None) };
        if has_gaps {
            return Ok(None);
        }
        let from = first.saturating_add(offset);
        let limit = i64::try_from(window.limit).unwrap_or(i64::MAX);
        Ok(Some((from..=last.min(from.saturating_add(limit).saturating_sub(1))).collect()))
    }

    /// Rows of these records, and how often what is joined repeats each.
    fn repeating(&self, connection: &Connection, numbers: Vec<i64>) -> Result<Vec<PlannedRow>, PlanError> {
        let repeats = self.repeats.as_ref().filter(|_| self.distinct && always_grouped(self.endpoint));
        let Some(repeats) = repeats else {
            return Ok(numbers.into_iter().map(|n| PlannedRow { n, repeats: 1, rank: 0 }).collect());
        };
        let sql = Sql::new("SELECT ")
            .sql(repeats.clone())
            .text(&format!(" FROM {} {BASE} WHERE {BASE}.n = ?", quoted(&self.table.name)));
        let mut statement = connection.prepare_cached(&sql.text)?;
        let mut rows = Vec::with_capacity(numbers.len());
        for n in numbers {
            let values = sql.values.iter().cloned().chain([Value::Integer(n)]);
            let repeats = statement.query_row(rusqlite::params_from_iter(values), |row| row.get(0))?;
            rows.push(PlannedRow { n, repeats, rank: 0 });
        }
        Ok(rows)
    }

    /// The rows of a page where a record stands there several times ([`repeated`]).
    fn repeated(&self, connection: &Connection, window: Window, count: u64) -> Result<String, PlanError> {
        let one_more = Window { limit: window.limit + 1, ..window };
        let mut rows = self.rows_of(connection, one_more)?;
        let limit = usize::try_from(window.limit).unwrap_or(usize::MAX);
        if window.offset.saturating_add(window.limit) >= count {
            let ranks: Vec<i64> = rows.iter().map(|row| row.rank).collect();
            repeated::check_cut(&ranks, limit)?;
        }
        rows.truncate(limit);
        self.texts(connection, &rows)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::{
        alyx::Endpoint,
        mirror::{plan, sql_functions, state::TableState},
    };

    /// The plan of all projects of a database that has so many.
    fn projects(connection: &Connection, rows: u64) -> ListPlan {
        let state = TableState {
            synced_at: 0,
            counted_at: 0,
            rows,
            details: true,
            scope: Vec::new(),
            ambiguous: BTreeSet::new(),
            distrusted: BTreeSet::new(),
            unreadable: <_>::default(),
        };
        let states = States::new(1, HashMap::from([("projects", state)])).keeping(KeptLists::new(1 << 20));
        let endpoint = Endpoint::named("projects").unwrap();
        plan::list(connection, &states, endpoint, &Vec::new(), jiff::civil::date(2026, 1, 1)).unwrap()
    }

    #[test]
    fn a_deep_page_is_the_same_however_it_is_found() {
        let connection = Connection::open_in_memory().unwrap();
        sql_functions::register(&connection).unwrap();
        connection.execute_batch(&Schema::get().table("projects").unwrap().create("")).unwrap();
        let all = DEEP + 50;
        let fill = "INSERT INTO projects(n) WITH RECURSIVE c(n) AS \
                    (VALUES(3) UNION ALL SELECT n + 1 FROM c WHERE n < ?1 + 2) SELECT n FROM c";
        connection.execute(fill, [all]).unwrap();
        for gaps in 0..2 {
            let plan = projects(&connection, all - gaps);
            let page = |offset, limit| Window { limit, offset };
            for window in
                [page(DEEP + 10, 5), page(DEEP, 1), page(all - 3, 9), page(all - gaps, 5), page(0, 3)]
            {
                let expected: Vec<i64> =
                    plan.rows_of(&connection, window).unwrap().iter().map(|row| row.n).collect();
                for _ in 0..=PAGES {
                    let (count, found) = plan.found(&connection, window).unwrap();
                    assert_eq!((count, found), (all - gaps, expected.clone()), "{window:?}");
                }
            }
            let is_kept =
                plan.shelf.as_ref().and_then(ListShelf::get).is_some_and(|list| list.numbers.is_some());
            assert_eq!(is_kept, gaps > 0, "what has gaps is looked through once");
            connection.execute("DELETE FROM projects WHERE n = 9", []).unwrap();
        }
    }

    #[test]
    fn the_tables_that_sql_reads_are_those_that_it_names() {
        let sql = "SELECT t.n FROM \"datasets\" t WHERE t.n IN (SELECT m.n FROM \"fov_location__brain_region\" m) \
                   AND t.\"session__number\" = 1";
        assert_eq!(tables_of(sql), Some(BTreeSet::from(["datasets", "fov-location"])));
        assert_eq!(tables_of("SELECT 1 FROM \"subjects__body\" b"), Some(BTreeSet::from(["subjects"])));
        assert_eq!(tables_of("SELECT 1 FROM \"subjects\" t, (SELECT 1 FROM meta)"), None);
        assert_eq!(tables_of("SELECT 1 FROM \"subjects\" t JOIN \"due\" d"), None);
    }

    #[test]
    fn what_is_asked_besides_is_not_left_out() {
        let text = |text: &str| among(&Sql::new(text)).map(|sql| sql.text);
        assert_eq!(text("(t.n IN (SELECT m.n FROM (x) m))").as_deref(), Some("SELECT m.n FROM (x) m"));
        for other in
            ["(t.n IN (SELECT 1) OR (2))", "(t.n IN (SELECT 1)) AND (t.n IN (SELECT 2))", "(t.n IN (1))"]
        {
            assert_eq!(text(other), None, "{other}");
        }
    }
}
