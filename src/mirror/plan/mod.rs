//! The plan of a question: which tables it needs, and the SQL that answers it.

mod asked;
mod compare;
mod condition;
mod context;
mod datasets;
mod detail;
mod error;
mod keys;
mod lacking;
mod link;
mod namesakes;
mod order;
mod path;
mod region;
mod shown;
mod sql;

use std::collections::BTreeSet;

use jiff::civil::Date;
use rusqlite::Connection;

pub use detail::detail;
pub use error::PlanError;

use condition::{BASE, Condition, ConditionEffect};
use context::Context;
use order::RowOrder;
use sql::{Sql, quoted};

use super::{checksum, schema::EndpointTables, state::States};
use crate::alyx::{
    DetailShape, Endpoint,
    filter::RowEffect,
    filterset::{
        AlyxError, Undecidable,
        form::{self, ActiveFilter},
    },
    pagination::{self, Window},
    query_string::Pairs,
    record::Record,
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
    holds: Sql,
    /// How often a record stands in the list, or in what it counts; none where that is once.
    repeats: Option<Sql>,
    order: RowOrder,
    /// Whether repeated rows show as such.
    distinct: bool,
}

/// A row of a page.
#[derive(Debug, Clone, Copy)]
struct PlannedRow {
    n: i64,
    repeats: u64,
}

/// The plan of a list.
pub fn list(
    connection: &Connection,
    states: &States,
    endpoint: &'static Endpoint,
    pairs: &Pairs,
    today: Date,
) -> Result<ListPlan, PlanError> {
    if !pagination::is_plain(pairs) {
        return Err(Undecidable::unsupported("read such a limit or offset as Python does").into());
    }
    let rules = states.spec().rules()?;
    let asked = asked::taken(states, endpoint, pairs)?;
    let context = Context::new(connection, states, endpoint, &asked, today);
    let table = context.table(endpoint.name, false)?;
    let used = form::read(&context, endpoint, &asked, rules)?;
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
    }
    let needed = context.lacking.of(&conditions, endpoint.name);
    if let Some(last) = conditions.iter().rposition(|condition| condition.kind == ConditionEffect::Lineage) {
        // What was asked before and after it is asked in vain.
        conditions = conditions.drain(last..=last).collect();
    }
    let order = RowOrder::of(&context, table)?;
    context.check_guards()?;
    needed.check(&context, table)?;
    let distinct =
        always_grouped(endpoint) || used.iter().any(|(filter, _)| filter.rows == RowEffect::Distinct);
    if distinct && !order.join.is_empty() {
        // What is joined for the order, and may be so for the filter, is then among what must differ.
        return Err(Undecidable::unsupported("know how often Alyx lists a record then").into());
    }
    let (holds, repeats) = joined(&context, table, &used, conditions)?;
    order.check(&context, table, &holds)?;
    let rows = holds.text.is_empty().then(|| states.of(endpoint.name).map(|state| state.rows)).flatten();
    let used = used.iter().map(|(filter, _)| filter.name).collect();
    Ok(ListPlan { needs: context.needs(), used, endpoint, table, rows, holds, repeats, order, distinct })
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

/// All conditions together, and the product of their ways.
fn joined(
    context: &Context<'_>,
    table: &EndpointTables,
    used: &[ActiveFilter],
    conditions: Vec<Condition>,
) -> Result<(Sql, Option<Sql>), PlanError> {
    let (mut holds, mut ways, mut users, mut divides) = (Vec::new(), Vec::new(), None, false);
    let mut quotients = Vec::new();
    for condition in conditions {
        let test = Sql::new("(").sql(condition.holds).text(")");
        match condition.kind {
            ConditionEffect::Performance => {
                divides = true;
                quotients.push(test);
            }
            _ => holds.push(test),
        }
        match (condition.kind, condition.ways) {
            (ConditionEffect::Users, found) => users = found,
            (_, Some(found)) => ways.push(found),
            (_, None) => {}
        }
    }
    let repeats = (!ways.is_empty()).then(|| Sql::join(ways, " * "));
    if let Some(found) = users.clone() {
        let wanted = i64::try_from(condition::users_wanted(used)).unwrap_or(i64::MAX);
        // Alyx counts the users of every joined row, so that another filter with several matches can
        // make up for one who is missing (ALYX.md 2.6).
        let rows = match &repeats {
            Some(repeats) => found.clone().text(" * ").sql(repeats.clone()),
            None => found.clone(),
        };
        if ["datasets", "histology"].iter().any(|name| context.raw(name).is_some()) {
            let others = Sql::join(holds.iter().cloned(), " AND ");
            let few = Sql::new(format!("SELECT 1 FROM {} {BASE} WHERE ", quoted(&table.name)))
                .sql(others)
                .text(" AND ")
                .sql(found)
                .text(" < ")
                .bind(rusqlite::types::Value::Integer(wanted));
            if context.finds(&few)? {
                return Err(Undecidable::unsupported("count users beside this filter").into());
            }
        }
        holds.push(rows.text(" >= ").bind(rusqlite::types::Value::Integer(wanted)));
    }
    if divides {
        no_division_by_zero(context, table, &holds)?;
    }
    holds.extend(quotients);
    let repeats = match (repeats, users) {
        (Some(repeats), Some(found)) => Some(repeats.text(" * ").sql(found)),
        (repeats, found) => repeats.or(found),
    };
    Ok((Sql::join(holds, " AND "), repeats))
}

/// Alyx fails where it divides by a session's zero trials. Whether it comes to that for sessions which other
/// filters leave out is up to the plan of its database.
fn no_division_by_zero(
    context: &Context<'_>,
    table: &EndpointTables,
    others: &[Sql],
) -> Result<(), PlanError> {
    let zero = Sql::new(format!(
        "SELECT 1 FROM {} {BASE} WHERE {BASE}.n_trials = 0 AND {BASE}.n_correct_trials IS NOT NULL",
        quoted(&table.name)
    ));
    if !context.finds(&zero)? {
        return Ok(());
    }
    let certain = others.iter().fold(zero, |sql, other| sql.text(" AND ").sql(other.clone()));
    if context.finds(&certain)? {
        return Err(AlyxError::failed("division by zero\n").into());
    }
    Err(Undecidable::unsupported("know whether Alyx divides by the zero trials of a session").into())
}

impl ListPlan {
    /// The number of rows, and the texts of a page's records, with commas between them.
    pub fn answer(&self, connection: &Connection, window: Window) -> Result<(u64, String), PlanError> {
        let repeats = self.repeats.is_some() && always_grouped(self.endpoint) && self.distinct;
        let searches = self.holds.text.contains("SELECT") && !repeats;
        if searches && self.order.join.is_empty() {
            // What it takes to find the records is done once, not for the count and for the page.
            let (count, rows) = self.at_once(connection, window)?;
            return Ok((count, self.texts(connection, &rows)?));
        }
        let count = self.count(connection)?;
        // Where more is joined for the order there are more rows than count; no page begins among those
        // (ALYX.md 2.1, rule 7).
        let none = count == 0 || window.offset > count;
        Ok((count, if none { String::new() } else { self.page(connection, window)? }))
    }

    fn at_once(&self, connection: &Connection, window: Window) -> Result<(u64, Vec<PlannedRow>), PlanError> {
        let sql = self.listing();
        let mut statement = connection.prepare_cached(&sql.text)?;
        let mut found = statement.query(rusqlite::params_from_iter(&sql.values))?;
        let (mut count, mut rows) = (0, Vec::new());
        let end = window.offset.saturating_add(window.limit);
        while let Some(row) = found.next()? {
            let times: u64 = if self.multiplies() { row.get(1)? } else { 1 };
            let within = end.min(count + times).saturating_sub(count.max(window.offset));
            for _ in 0..within {
                rows.push(PlannedRow { n: row.get(0)?, repeats: 1 });
            }
            count += times;
        }
        Ok((count, rows))
    }

    /// The numbers of all records that are listed, in ascending order.
    pub fn numbers(&self, connection: &Connection) -> rusqlite::Result<Vec<i64>> {
        let sql = Sql::new(format!("SELECT {BASE}.n FROM {} {BASE}", quoted(&self.table.name)))
            .sql(self.condition())
            .text(&format!(" ORDER BY {BASE}.n"));
        let mut statement = connection.prepare(&sql.text)?;
        statement.query_map(rusqlite::params_from_iter(&sql.values), |row| row.get(0))?.collect()
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
        let repeats = match &self.repeats {
            Some(repeats) if !self.distinct || always_grouped(self.endpoint) => repeats.clone(),
            _ => Sql::new("1"),
        };
        Sql::new(format!("SELECT {BASE}.n, "))
            .sql(repeats)
            .text(&format!(" FROM {} {BASE}{}", quoted(&self.table.name), self.order.join))
            .sql(self.condition())
            .text(&format!(" ORDER BY {}", self.order.by))
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
            let row = PlannedRow { n: row.get(0)?, repeats: row.get(1)? };
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
