//! The plan of a question: which tables it needs, and the SQL that answers it.

mod asked;
mod combine;
mod compare;
mod condition;
mod context;
mod datasets;
mod detail;
mod error;
mod found;
mod json_exclusion;
mod keys;
mod lacking;
mod link;
mod namesakes;
mod order;
mod path;
mod readings;
mod region;
mod repeated;
mod shown;
mod sql;

use std::{borrow::Cow, collections::BTreeSet};

use rusqlite::Connection;

pub use context::Today;
pub(super) use detail::as_known;
pub use detail::detail;
pub use error::PlanError;

use condition::{BASE, ConditionEffect};
use context::Context;
use found::ListShelf;
use order::RowOrder;
use sql::{Sql, quoted};

use super::{checksum, schema::EndpointTables, state::States, values};
use crate::alyx::{
    DetailShape, Endpoint,
    filter::RowEffect,
    filterset::{Undecidable, form},
    pagination::{self, Window},
    query_string::Pairs,
    record::Record,
    spec::reading::Reading,
};

/// How a list is answered.
#[derive(Debug, Clone)]
pub struct ListPlan {
    /// The tables that it needs, and of which also the details.
    pub needs: BTreeSet<(&'static str, bool)>,
    /// The parameters that took effect.
    pub used: Vec<&'static str>,
    endpoint: &'static Endpoint,
    table: &'static EndpointTables,
    /// The number of rows, where it is known beforehand.
    rows: Option<u64>,
    /// The number of all records, fulfil they the conditions or not.
    records: u64,
    holds: Sql,
    /// How often a record stands in the list, or in what it counts; none where that is once.
    repeats: Option<Sql>,
    order: RowOrder,
    /// Whether repeated rows show as such.
    distinct: bool,
    /// Where it is kept which rows there are.
    shelf: Option<ListShelf>,
}

/// A row of a page.
#[derive(Debug, Clone, Copy)]
struct PlannedRow {
    n: i64,
    repeats: u64,
    /// Among all rows of the list, where some may be alike in what orders them.
    rank: i64,
}

/// The plan of a list.
pub fn list(
    connection: &Connection,
    states: &States,
    endpoint: &'static Endpoint,
    pairs: &Pairs,
    today: impl Into<Today>,
) -> Result<ListPlan, PlanError> {
    if !pagination::is_readable(pairs) {
        return Err(Undecidable::unsupported("read such a limit or offset as Python does").into());
    }
    let asked = asked::taken(states, endpoint, pairs)?;
    asked::related(states, endpoint, &asked)?;
    let question = ListQuestion { endpoint, pairs: &asked, today: today.into() };
    match states.spec().readings(endpoint, &asked)? {
        None => list_as(connection, states, &question, &Reading::by(states.spec().rules()?)),
        Some(readings) => readings::agreed(connection, states, &question, &readings),
    }
}

/// What of a list's parameters asks anything of this Alyx.
pub(super) fn asks<'p>(
    states: &States,
    endpoint: &'static Endpoint,
    pairs: &'p Pairs,
) -> Result<Cow<'p, Pairs>, Undecidable> {
    asked::taken(states, endpoint, pairs)
}

/// What a list is asked for.
#[derive(Debug)]
pub(super) struct ListQuestion<'q> {
    pub(super) endpoint: &'static Endpoint,
    /// What of its parameters asks anything.
    pub(super) pairs: &'q Pairs,
    pub(super) today: Today,
}

/// The plan of a list that is understood so.
pub(super) fn list_as(
    connection: &Connection,
    states: &States,
    question: &ListQuestion<'_>,
    reading: &Reading,
) -> Result<ListPlan, PlanError> {
    let ListQuestion { endpoint, pairs, today } = question;
    let context = Context::new(connection, states, endpoint, pairs, today.clone(), reading);
    let table = context.table(endpoint.name, false)?;
    let used = form::read(&context, endpoint, pairs, reading.rules)?;
    asked::trusted(states, endpoint, &used)?;
    let mut conditions = Vec::new();
    for (filter, asked) in &used {
        let made = condition::of(&context, filter, asked, &used)?;
        context.lacking.end_filter(lacking::is_by_record(endpoint.name, filter), made.len());
        for condition in made {
            if condition.kind == ConditionEffect::Lineage {
                conditions.clear();
            }
            conditions.push(condition);
        }
        context.made(conditions.len());
    }
    context.end(&used)?;
    let needed = context.lacking.of(&conditions, endpoint.name);
    if let Some(last) = conditions.iter().rposition(|condition| condition.kind == ConditionEffect::Lineage) {
        // What was asked before and after it is asked in vain.
        conditions = conditions.drain(last..=last).collect();
    }
    let mut order = RowOrder::of(&context, table)?;
    context.check_guards(table, &conditions)?;
    needed.check(&context, table)?;
    let distinct =
        always_grouped(endpoint) || used.iter().any(|(filter, _)| filter.rows == RowEffect::Distinct);
    repeated::order(&mut order, &conditions, distinct);
    let (holds, repeats) = combine::joined(&context, table, &used, conditions)?;
    order.check(&context, table, &holds)?;
    let records = states.of(endpoint.name).map(|state| state.rows);
    let rows = records.filter(|_| holds.text.is_empty());
    let used = used.iter().map(|(filter, _)| filter.name).collect();
    let (needs, records, shelf) = (context.needs(), records.unwrap_or_default(), None);
    let plan =
        ListPlan { needs, used, endpoint, table, rows, records, holds, repeats, order, distinct, shelf };
    let shelf = ListShelf::of(states, &plan.numbers_listed());
    Ok(ListPlan { shelf, ..plan })
}

/// Alyx counts the tags of datasets, and so groups them in every query (ALYX.md 2.5).
fn always_grouped(endpoint: &Endpoint) -> bool {
    !counted_fields(endpoint).is_empty()
}

/// Fields that hold numbers of joined rows: those that the detail lacks.
fn counted_fields(endpoint: &Endpoint) -> &'static [&'static str] {
    match endpoint.detail.map(|detail| detail.shape) {
        Some(DetailShape::Without(fields)) => fields,
        _ => &[],
    }
}

impl ListPlan {
    /// The numbers of all records that are listed, in ascending order.
    pub fn numbers(&self, connection: &Connection) -> rusqlite::Result<Vec<i64>> {
        let sql = Sql::new(format!("SELECT {BASE}.n FROM {} {BASE}", quoted(&self.table.name)))
            .sql(self.condition())
            .text(&format!(" ORDER BY {BASE}.n"));
        let mut statement = connection.prepare(&sql.text)?;
        statement.query_map(rusqlite::params_from_iter(&sql.values), |row| row.get(0))?.collect()
    }

    /// How many of the listed records share a value in a column, the most frequent first.
    pub fn counts(
        &self,
        connection: &Connection,
        column: &str,
        most: usize,
    ) -> rusqlite::Result<Vec<(String, u64)>> {
        let column = format!("{BASE}.{}", quoted(column));
        let sql = Sql::new(format!("SELECT {column}, count(*) FROM {} {BASE}", quoted(&self.table.name)))
            .sql(self.condition())
            .text(&format!(" GROUP BY 1 HAVING {column} IS NOT NULL ORDER BY 2 DESC, 1 LIMIT {most}"));
        let mut statement = connection.prepare(&sql.text)?;
        let row = |row: &rusqlite::Row<'_>| Ok((values::shown(row.get(0)?), row.get(1)?));
        statement.query_map(rusqlite::params_from_iter(&sql.values), row)?.collect()
    }

    /// The number of rows.
    pub fn count(&self, connection: &Connection) -> Result<u64, PlanError> {
        if let Some(rows) = self.rows {
            return Ok(rows);
        }
        let sql = self.count_sql();
        let mut statement = connection.prepare_cached(&sql.text)?;
        Ok(statement.query_row(rusqlite::params_from_iter(&sql.values), |row| row.get(0))?)
    }

    /// The texts of a page's records, with commas between them.
    pub fn page(&self, connection: &Connection, window: Window) -> Result<String, PlanError> {
        self.texts(connection, &self.rows_of(connection, window)?)
    }

    fn texts(&self, connection: &Connection, rows: &[PlannedRow]) -> Result<String, PlanError> {
        let sql = format!(
            "SELECT list, list_sum FROM {} WHERE n = ?1",
            quoted(&format!("{}__body", self.table.name))
        );
        let mut statement = connection.prepare_cached(&sql)?;
        let mut texts = String::new();
        for row in rows {
            if !texts.is_empty() {
                texts.push(',');
            }
            statement.query_row([row.n], |found| {
                let text = found.get_ref(0)?.as_str()?;
                checksum::check(row.n, text, found.get(1)?)?;
                if let Err(left_out) = keys::whole(self.endpoint, text) {
                    return Ok(Err(left_out));
                }
                match row.repeats {
                    1 => texts.push_str(text),
                    repeats => texts.push_str(&self.multiplied(text.to_owned(), repeats)),
                }
                Ok(Ok(()))
            })??;
        }
        Ok(texts)
    }

    /// The SQL that counts the rows and the SQL that gives a page's, values in their places.
    pub fn shown(&self, window: Window) -> (String, String) {
        (self.count_sql().shown(), self.page_sql(window).shown())
    }

    /// Whether a record stands in the list once for each of those that order it.
    pub(super) fn repeats_in_order(&self) -> bool {
        !self.order.join.is_empty()
    }

    /// Whether records stand in the list as often as they fulfil the conditions.
    fn multiplies(&self) -> bool {
        self.repeats.is_some() && !self.distinct
    }

    fn condition(&self) -> Sql {
        if self.holds.text.is_empty() { Sql::default() } else { Sql::new(" WHERE ").sql(self.holds.clone()) }
    }

    fn count_sql(&self) -> Sql {
        let counted = match &self.repeats {
            Some(repeats) if self.multiplies() => {
                Sql::new("coalesce(sum(").sql(repeats.clone()).text("), 0)")
            }
            _ => Sql::new("count(*)"),
        };
        Sql::new("SELECT ")
            .sql(counted)
            .text(&format!(" FROM {} {BASE}", quoted(&self.table.name)))
            .sql(self.condition())
    }

    /// All rows in their order.
    fn listing(&self) -> Sql {
        let order = &self.order;
        let repeats = match (&order.repeats, &self.repeats) {
            (Some(repeats), _) => repeats.clone(),
            (None, Some(repeats)) if !self.distinct || always_grouped(self.endpoint) => repeats.clone(),
            _ => Sql::new("1"),
        };
        let mut sql = Sql::new(format!("SELECT {BASE}.n, ")).sql(repeats);
        if !order.join.is_empty() {
            sql = sql.text(&format!(", dense_rank() OVER (ORDER BY {})", order.key));
        }
        sql = sql.text(&format!(" FROM {} {BASE}{}", quoted(&self.table.name), order.join));
        let conditions = [Some(&self.holds).filter(|holds| !holds.text.is_empty()), order.condition.as_ref()];
        let conditions: Vec<Sql> =
            conditions.into_iter().flatten().map(|one| Sql::new("(").sql(one.clone()).text(")")).collect();
        if !conditions.is_empty() {
            sql = sql.text(" WHERE ").sql(Sql::join(conditions, " AND "));
        }
        if order.group {
            sql = sql.text(&format!(" GROUP BY {BASE}.n, {}", order.key));
        }
        sql.text(&format!(" ORDER BY {}", order.by))
    }

    fn page_sql(&self, window: Window) -> Sql {
        let sql = self.listing();
        if self.multiplies() {
            return sql;
        }
        let number = |number: u64| rusqlite::types::Value::Integer(i64::try_from(number).unwrap_or(i64::MAX));
        sql.text(" LIMIT ").bind(number(window.limit)).text(" OFFSET ").bind(number(window.offset))
    }

    fn rows_of(&self, connection: &Connection, window: Window) -> Result<Vec<PlannedRow>, PlanError> {
        let sql = self.page_sql(window);
        let mut statement = connection.prepare_cached(&sql.text)?;
        let mut found = statement.query(rusqlite::params_from_iter(&sql.values))?;
        let (mut rows, mut skip) = (Vec::new(), window.offset);
        while let Some(row) = found.next()? {
            let rank = if self.order.join.is_empty() { 0 } else { row.get(2)? };
            let row = PlannedRow { n: row.get(0)?, repeats: row.get(1)?, rank };
            if !self.multiplies() {
                rows.push(row);
                continue;
            }
            for _ in 0..row.repeats {
                if skip > 0 {
                    skip -= 1;
                } else if (rows.len() as u64) < window.limit {
                    rows.push(PlannedRow { repeats: 1, ..row });
                } else {
                    return Ok(rows);
                }
            }
        }
        Ok(rows)
    }

    /// A record whose numbers of rows are multiplied by the joined tables (ALYX.md 3.3).
    fn multiplied(&self, text: String, repeats: u64) -> String {
        let mut record = Record::new(text);
        for field in counted_fields(self.endpoint) {
            let own: u64 = record.plain(field).and_then(|number| number.parse().ok()).unwrap_or_default();
            record = record.with(field, &(own * repeats).to_string());
        }
        record.text().to_owned()
    }
}
