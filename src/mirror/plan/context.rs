//! What a plan is made in: the tables that are here, and what it turns out to need of them.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
};

use jiff::{civil::Date, tz::TimeZone};
use rusqlite::{Connection, OptionalExtension, types::Value};

use super::{
    PlanError,
    compare::AlyxDatabase,
    condition::{BASE, Condition, ConditionEffect},
    found::ListShelf,
    lacking::{self, Lacking},
    sql::Sql,
};
use crate::{
    alyx::{
        Endpoint,
        collation::Collations,
        filterset::{
            QueryError, Undecidable,
            form::{ActiveFilter, CleanedValue, KeyLookup},
            json_nulls::JsonNulls,
            lookups,
            path::Path,
        },
        query_string::Pairs,
        spec::reading::Reading,
    },
    mirror::{
        json_nulls,
        kept::KeptList,
        schema::{EndpointTables, Schema},
        state::States,
    },
};

/// A plan has no more parts: where names are not unique each relation that is followed doubles them.
const MOST_ALIASES: u32 = 4_000;

/// The day of Alyx's clock, and the zone of its times where that is known.
#[derive(Debug, Clone)]
pub struct Today {
    /// The day.
    pub date: Date,
    /// The zone.
    pub zone: Option<TimeZone>,
}

impl From<Date> for Today {
    fn from(date: Date) -> Self {
        Self { date, zone: None }
    }
}

/// A question while its plan is made.
pub(super) struct Context<'c> {
    pub(super) connection: &'c Connection,
    pub(super) states: &'c States,
    pub(super) endpoint: &'static Endpoint,
    pub(super) pairs: &'c Pairs,
    pub(super) today: Date,
    /// How the question is understood.
    pub(super) reading: &'c Reading,
    zone: Option<TimeZone>,
    needs: RefCell<BTreeSet<(&'static str, bool)>>,
    aliases: Cell<u32>,
    guards: RefCell<Vec<Guard>>,
    /// How many conditions are made.
    conditions: Cell<usize>,
    /// A refusal that comes after all others,
    last: RefCell<Option<QueryError>>,
    /// and whether a condition is certain to hold for nothing.
    nothing: Cell<bool>,
    /// What is needed of details that are not all here.
    pub(super) lacking: Lacking,
}

/// A query that must find nothing, or the question can't be decided.
pub(super) struct Guard {
    pub(super) sql: Sql,
    pub(super) otherwise: Undecidable,
    /// The column of the listed records whose values it finds, where only records with one of these are in doubt.
    pub(super) doubted: Option<&'static str>,
    /// The place of the condition that it stands by.
    condition: usize,
}

impl<'c> Context<'c> {
    pub(super) fn new(
        connection: &'c Connection,
        states: &'c States,
        endpoint: &'static Endpoint,
        pairs: &'c Pairs,
        day: Today,
        reading: &'c Reading,
    ) -> Self {
        let Today { date: today, zone } = day;
        let (needs, aliases, guards, lacking) = <_>::default();
        let (conditions, last, nothing) = <_>::default();
        Self {
            connection,
            states,
            endpoint,
            pairs,
            today,
            reading,
            zone,
            needs,
            aliases,
            guards,
            conditions,
            last,
            nothing,
            lacking,
        }
    }

    /// The table of an endpoint, if it is here for this question; from then on the plan needs it.
    pub(super) fn table(
        &self,
        endpoint: &'static str,
        details: bool,
    ) -> Result<&'static EndpointTables, QueryError> {
        if self.aliases.get() > MOST_ALIASES {
            return Err(Undecidable::TooCostly.into());
        }
        let missing = || QueryError::Undecided(Undecidable::Missing { endpoint, details: false });
        let table = Schema::get().table(endpoint).ok_or_else(missing)?;
        let state = self.states.of(endpoint).ok_or_else(missing)?;
        if state.unreadable.lists > 0 {
            return Err(lacking::unlisted(state).into());
        }
        if details && table.has_details() && !state.details {
            // Whether the answer depends on those that are missing is known when all conditions are.
            self.lacking.note(endpoint);
        }
        // What a question asks of one table says nothing of which records of another it needs.
        let within = state.scope.is_empty()
            || endpoint == self.endpoint.name && state.scope.iter().all(|pair| self.pairs.contains(pair));
        if !within {
            return Err(Undecidable::OutOfScope { endpoint, scope: state.scope.clone() }.into());
        }
        self.needs.borrow_mut().insert((endpoint, details));
        Ok(table)
    }

    /// Each way that a path leads is a row of Alyx's joined tables. Their number grows with each time that it goes through
    /// the same relation to many records, and so does what it costs to count them.
    pub(super) fn countable(path: &Path) -> Result<(), QueryError> {
        if path.repeats_many() { Err(Undecidable::TooCostly.into()) } else { Ok(()) }
    }

    /// A name that no other part of the SQL has.
    pub(super) fn alias(&self) -> String {
        let number = self.aliases.get();
        self.aliases.set(number + 1);
        format!("x{number}")
    }

    /// The plan holds only where this finds nothing.
    pub(super) fn guard(&self, sql: Sql, otherwise: Undecidable) {
        self.guard_records(sql, otherwise, None);
    }

    /// The same where only listed records are in doubt that have a value in a column which this finds.
    pub(super) fn guard_records(&self, sql: Sql, otherwise: Undecidable, doubted: Option<&'static str>) {
        let condition = self.conditions.get();
        self.guards.borrow_mut().push(Guard { sql, otherwise, doubted, condition });
    }

    /// So many conditions are made.
    pub(super) fn made(&self, conditions: usize) {
        self.conditions.set(conditions);
    }

    /// One more condition is made.
    pub(super) fn made_one(&self) {
        self.conditions.set(self.conditions.get() + 1);
    }

    /// Alyx refuses the question so, if nothing else is wrong with it.
    pub(super) fn refuse_at_last(&self, refusal: QueryError) {
        self.last.borrow_mut().get_or_insert(refusal);
    }

    /// A condition is certain to hold for nothing.
    pub(super) fn finds_nothing(&self) {
        self.nothing.set(true);
    }

    /// What is refused when all conditions are read.
    pub(super) fn end(&self, used: &[ActiveFilter]) -> Result<(), QueryError> {
        lookups::at_last(self.last.take(), used, self.nothing.get())
    }

    /// Whether values of a column of an endpoint's records, by which others name them, are not unique; or what else is noted
    /// of the table ([`state::IN_ONE_ORDER`]).
    pub(super) fn is_ambiguous(&self, endpoint: &str, column: &str) -> bool {
        self.states.of(endpoint).is_some_and(|state| state.ambiguous.contains(column))
    }

    /// Whether this Alyx is none that is known.
    pub(super) fn is_strange(&self) -> bool {
        self.states.spec().findings().is_some()
    }

    /// What a column of JSON holds where records show null, as far as that is known.
    pub(super) fn nulls(&self, endpoint: &str, column: &str) -> Option<JsonNulls> {
        self.states.of(endpoint).and_then(|state| json_nulls::of(&state.ambiguous, column))
    }

    /// What is up to the database of Alyx.
    pub(super) fn database(&self) -> AlyxDatabase<'_> {
        AlyxDatabase { collations: self.collations(), zone: self.zone.as_ref() }
    }

    /// The collations that Alyx's database may have.
    pub(super) fn collations(&self) -> Collations {
        self.states.collations()
    }

    /// Whether most values of a column stand in many records, as far as the statistics know.
    pub(super) fn repeats(&self, table: &str, column: &str) -> bool {
        const MANY: u64 = 20;
        let sql = "SELECT stat FROM sqlite_stat1 WHERE tbl = ?1 AND idx LIKE ?2 LIMIT 1";
        let stat = self.connection.prepare_cached(sql).and_then(|mut statement| {
            statement.query_row((table, format!("{table}.{column}.%")), |row| row.get::<_, String>(0))
        });
        // Without statistics nothing is known, and nothing is lost.
        let each = stat.ok().and_then(|stat| stat.split(' ').nth(1)?.parse::<u64>().ok());
        each.is_some_and(|each| each >= MANY)
    }

    /// Whether a query finds anything.
    pub(super) fn finds(&self, sql: &Sql) -> Result<bool, PlanError> {
        let sql = Sql::new("SELECT EXISTS(").sql(sql.clone()).text(")");
        let place = ListShelf::of(self.states, &sql);
        if let Some(kept) = place.as_ref().and_then(ListShelf::get) {
            return Ok(kept.count > 0);
        }
        let mut statement = self.connection.prepare_cached(&sql.text)?;
        let found = statement.query_row(rusqlite::params_from_iter(&sql.values), |row| row.get(0))?;
        if let Some(place) = place {
            place.put(KeptList::of_count(found));
        }
        Ok(found > 0)
    }

    /// Refuses where a guard finds something. What surely holds for no record in doubt settles it.
    pub(super) fn check_guards(
        &self,
        table: &EndpointTables,
        conditions: &[Condition],
    ) -> Result<(), PlanError> {
        let guards = self.guards.take();
        let is_sure = |(at, condition): &(usize, &Condition)| {
            condition.kind == ConditionEffect::Plain && guards.iter().all(|guard| guard.condition != *at)
        };
        let aligned = conditions.iter().all(|condition| condition.kind != ConditionEffect::Lineage);
        let sure = || conditions.iter().enumerate().filter(is_sure).map(|(_, condition)| &condition.holds);
        for guard in &guards {
            let found = match guard.doubted.filter(|_| aligned) {
                None => self.finds(&guard.sql)?,
                Some(column) => {
                    let doubted = Sql::new(format!(
                        "SELECT 1 FROM \"{}\" {BASE} WHERE {BASE}.\"{column}\" IN (",
                        table.name
                    ))
                    .sql(guard.sql.clone())
                    .text(")");
                    let add = |sql: Sql, holds: &Sql| sql.text(" AND (").sql(holds.clone()).text(")");
                    self.finds(&sure().fold(doubted, add))?
                }
            };
            if found {
                return Err(guard.otherwise.clone().into());
            }
        }
        Ok(())
    }

    pub(super) fn needs(&self) -> BTreeSet<(&'static str, bool)> {
        self.needs.borrow().clone()
    }

    /// The raw text of a parameter, if it is present; the last counts.
    pub(super) fn raw(&self, name: &str) -> Option<&str> {
        self.pairs.iter().rev().find(|(known, _)| known == name).map(|(_, text)| text.as_str())
    }
}

/// The text of a parameter that takes effect.
pub(super) fn text_of<'u>(used: &'u [ActiveFilter], name: &str) -> Option<&'u str> {
    used.iter().find_map(|(filter, asked)| match asked {
        CleanedValue::Text(text) if filter.name == name => Some(text.as_str()),
        _ => None,
    })
}

impl KeyLookup for Context<'_> {
    fn zone(&self) -> Option<&TimeZone> {
        self.zone.as_ref()
    }

    fn exists(&self, endpoint: &'static str, key: &str) -> Result<bool, QueryError> {
        let unknown = || QueryError::beyond("know the keys of such records");
        // Of a part of a table it can be told that a record is in it, not that there is none.
        let scope = self.states.of(endpoint).map(|state| state.scope.clone()).unwrap_or_default();
        if scope.is_empty() {
            self.table(endpoint, false)?;
        } else {
            self.needs.borrow_mut().insert((endpoint, false));
        }
        let table = Schema::get().table(endpoint).ok_or_else(unknown)?;
        let column = table.column("id").ok_or_else(unknown)?;
        let value = match uuid::Uuid::parse_str(key) {
            Ok(id) => Value::Blob(id.as_bytes().to_vec()),
            Err(_) => key.parse().map(Value::Integer).map_err(|_| unknown())?,
        };
        let sql = format!("SELECT 1 FROM \"{}\" WHERE \"{}\" = ?1 LIMIT 1", table.name, column.name);
        let found = self
            .connection
            .prepare_cached(&sql)
            .and_then(|mut statement| statement.query_row([value], |_| Ok(())).optional())
            .map_err(|error| QueryError::beyond(&format!("read its tables ({error})")))?;
        match (found, scope.is_empty()) {
            (None, false) => Err(Undecidable::OutOfScope { endpoint, scope }.into()),
            (found, _) => Ok(found.is_some()),
        }
    }
}
