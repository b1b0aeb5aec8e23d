//! Details that are not here: what surely doesn't depend on them is answered all the same, and the rest is refused with the
//! records that are missing by name.
//!
//! Conditions stand side by side, and a record is listed where all of them hold. So a record without its detail changes
//! nothing where a condition that needs no such detail leaves it out. That holds only of conditions that look at the
//! record's own detail; one that reaches the table again by a relation, or another table, needs all details of it.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
};

use rusqlite::Connection;

use super::{
    PlanError,
    condition::{BASE, Condition, ConditionEffect},
    context::Context,
    sql::{Sql, quoted},
};
use crate::{
    alyx::{
        Endpoint,
        filter::{Filter, Predicate},
        filterset::{Undecidable, path::Path},
    },
    mirror::{
        schema::{EndpointTables, Schema},
        state::TableState,
        unreadable,
    },
};

/// Records that a refusal names.
const NAMED: usize = 3;
/// So few details may be fetched for one question.
const FEW: usize = 20;

type Endpoints = BTreeSet<&'static str>;

/// What a plan needs of details that are not all here, while it is made.
#[derive(Debug, Default)]
pub(super) struct Lacking {
    /// Since the last condition ended.
    current: RefCell<Endpoints>,
    /// Of each condition, and whether it looks at the record's own detail alone.
    conditions: RefCell<Vec<(Endpoints, bool)>>,
    /// How many conditions there were before this filter.
    before: Cell<usize>,
}

impl Lacking {
    /// Details of this table are needed.
    pub(super) fn note(&self, endpoint: &'static str) {
        self.current.borrow_mut().insert(endpoint);
    }

    /// One of several conditions of a filter is made.
    pub(super) fn end_condition(&self, of_record: bool) {
        self.conditions.borrow_mut().push((self.current.take(), of_record));
    }

    /// A filter's conditions are made: so many.
    pub(super) fn end_filter(&self, of_record: bool, made: usize) {
        let ended = self.conditions.borrow().len() - self.before.get();
        if ended != made || made == 0 || !self.current.borrow().is_empty() {
            let current = self.current.take();
            let mut conditions = self.conditions.borrow_mut();
            conditions.truncate(self.before.get());
            conditions.extend((0..made.max(1)).map(|_| (current.clone(), of_record)));
        }
        self.before.set(self.conditions.borrow().len());
    }

    /// What all conditions together need.
    pub(super) fn of(&self, conditions: &[Condition], endpoint: &'static str) -> Needed {
        let lacks = self.conditions.borrow();
        // Where one takes the place of others it is not known which of them count.
        let aligned = lacks.len() == conditions.len()
            && conditions.iter().all(|condition| condition.kind != ConditionEffect::Lineage);
        let mut needed = Needed { endpoint, own: false, whole: Endpoints::new(), sure: Vec::new() };
        for (at, (lacks, of_record)) in lacks.iter().enumerate() {
            for lacked in lacks {
                if aligned && *of_record && *lacked == endpoint {
                    needed.own = true;
                } else {
                    needed.whole.insert(lacked);
                }
            }
            if lacks.is_empty() && aligned {
                needed.sure.extend(conditions.get(at).map(|condition| condition.holds.clone()));
            }
        }
        needed
    }
}

/// What a plan needs of details that are not all here.
#[derive(Debug)]
pub(super) struct Needed {
    endpoint: &'static str,
    /// Those of the records that may be listed.
    own: bool,
    /// All of these tables.
    whole: Endpoints,
    /// Conditions that need none of them.
    sure: Vec<Sql>,
}

impl Needed {
    /// Refuses where a detail that is missing may change the answer.
    pub(super) fn check(mut self, context: &Context<'_>, table: &EndpointTables) -> Result<(), PlanError> {
        for lacked in context.lacking.current.take() {
            if lacked == self.endpoint {
                self.own = true;
            } else {
                self.whole.insert(lacked);
            }
        }
        for endpoint in &self.whole {
            let Some(table) = Schema::get().table(endpoint) else { continue };
            refuse(context, table, missing(table))?;
        }
        if self.own && !self.whole.contains(self.endpoint) {
            let sql = self
                .sure
                .into_iter()
                .fold(missing(table), |sql, sure| sql.text(" AND (").sql(sure).text(")"));
            refuse(context, table, sql)?;
        }
        Ok(())
    }
}

/// The records of a table whose details are not here.
fn missing(table: &EndpointTables) -> Sql {
    let (name, body) = (quoted(&table.name), quoted(&format!("{}__body", table.name)));
    Sql::new(format!(
        "SELECT b.list FROM {name} {BASE} JOIN {body} b ON b.n = {BASE}.n WHERE b.detail IS NULL"
    ))
}

fn refuse(context: &Context<'_>, table: &EndpointTables, missing: Sql) -> Result<(), PlanError> {
    let sql = missing.text(&format!(" LIMIT {}", FEW + 1));
    let mut statement = context.connection.prepare_cached(&sql.text)?;
    let lists = statement.query_map(rusqlite::params_from_iter(&sql.values), |row| row.get(0))?;
    let lists: Vec<String> = lists.collect::<rusqlite::Result<_>>()?;
    if lists.is_empty() {
        return Ok(());
    }
    Err(why(context.connection, table.endpoint, &lists)?.into())
}

/// Why the details of these records are not here: Alyx could not give them, or they were never asked for.
fn why(
    connection: &Connection,
    endpoint: &'static Endpoint,
    lists: &[String],
) -> rusqlite::Result<Undecidable> {
    let mut records = Vec::new();
    for list in lists {
        let noted = unreadable::find(connection, endpoint.name, &unreadable::name_of(endpoint, list))?;
        records.extend(noted.map(|noted| noted.for_people()));
    }
    records.truncate(NAMED);
    if records.is_empty() && lists.len() <= FEW {
        let paths = lists.iter().map(|list| unreadable::name_of(endpoint, list)).collect();
        return Ok(Undecidable::Lacking { endpoint: endpoint.name, records: paths });
    }
    if records.is_empty() {
        return Ok(Undecidable::Missing { endpoint: endpoint.name, details: true });
    }
    if lists.len() > NAMED {
        records.push("and others".to_owned());
    }
    Ok(Undecidable::Unreadable { records })
}

/// Why the detail of this record is not here.
pub(super) fn detail(
    connection: &Connection,
    endpoint: &'static Endpoint,
    list: &str,
) -> rusqlite::Result<Undecidable> {
    why(connection, endpoint, &[list.to_owned()])
}

/// Why no list of a table can be told: records of it are not here at all.
pub(super) fn unlisted(state: &TableState) -> Undecidable {
    let lists = state.unreadable.told.iter().filter(|record| record.list);
    let mut records: Vec<String> = lists.take(NAMED).map(unreadable::Unreadable::for_people).collect();
    if state.unreadable.lists > NAMED {
        records.push("and others".to_owned());
    }
    Undecidable::Unreadable { records }
}

/// Whether a filter of this kind looks at the record's own detail alone. That Alyx may divide by zero counts for all.
pub(super) fn is_by_record(endpoint: &'static str, filter: &Filter) -> bool {
    let path = match filter.test {
        Predicate::Column(path, _) | Predicate::JsonKeys(path) => path,
        Predicate::Users => "users__username",
        _ => return false,
    };
    Path::resolve(endpoint, path).is_ok_and(|path| is_of_record(endpoint, &path))
}

/// Whether a path does not come back to the table that it begins at.
pub(super) fn is_of_record(endpoint: &'static str, path: &Path) -> bool {
    path.endpoint == endpoint && path.hops.iter().all(|hop| hop.to != endpoint)
}
