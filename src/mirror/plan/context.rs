//! What a plan is made in: the tables that are here, and what it turns out to need of them.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
};

use jiff::civil::Date;
use rusqlite::{Connection, OptionalExtension, types::Value};

use super::{
    PlanError,
    lacking::{self, Lacking},
    sql::Sql,
};
use crate::{
    alyx::{
        Endpoint,
        filterset::{
            QueryError, Undecidable,
            form::{ActiveFilter, CleanedValue, KeyLookup},
            path::Path,
        },
        query_string::Pairs,
    },
    mirror::{
        schema::{EndpointTables, Schema},
        state::{self, States},
    },
};

/// A plan has no more parts: where names are not unique each relation that is followed doubles them.
const MOST_ALIASES: u32 = 4_000;

/// A question while its plan is made.
pub(super) struct Context<'c> {
    pub(super) connection: &'c Connection,
    pub(super) states: &'c States,
    pub(super) endpoint: &'static Endpoint,
    pub(super) pairs: &'c Pairs,
    pub(super) today: Date,
    needs: RefCell<BTreeSet<(&'static str, bool)>>,
    aliases: Cell<u32>,
    guards: RefCell<Vec<Guard>>,
    /// What is needed of details that are not all here.
    pub(super) lacking: Lacking,
}

/// A query that must find nothing, or the question can't be decided.
pub(super) struct Guard {
    pub(super) sql: Sql,
    pub(super) otherwise: Undecidable,
}

impl<'c> Context<'c> {
    pub(super) fn new(
        connection: &'c Connection,
        states: &'c States,
        endpoint: &'static Endpoint,
        pairs: &'c Pairs,
        today: Date,
    ) -> Self {
        let (needs, aliases, guards, lacking) = <_>::default();
        Self { connection, states, endpoint, pairs, today, needs, aliases, guards, lacking }
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
        self.guards.borrow_mut().push(Guard { sql, otherwise });
    }

    /// Whether values of a column of an endpoint's records, by which others name them, are not unique; or what else is noted
    /// of the table ([`state::IN_ONE_ORDER`]).
    pub(super) fn is_ambiguous(&self, endpoint: &str, column: &str) -> bool {
        self.states.of(endpoint).is_some_and(|state| state.ambiguous.contains(column))
    }

    /// Whether some table shows that Alyx's database orders texts by their bytes, as this one does.
    pub(super) fn orders_by_bytes(&self) -> bool {
        self.states.iter().any(|(_, state)| state.ambiguous.contains(state::BY_BYTES))
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
        let mut statement = self.connection.prepare_cached(&format!("SELECT EXISTS({})", sql.text))?;
        Ok(statement.query_row(rusqlite::params_from_iter(&sql.values), |row| row.get(0))?)
    }

    /// Refuses where a guard finds something.
    pub(super) fn check_guards(&self) -> Result<(), PlanError> {
        for guard in self.guards.take() {
            if self.finds(&guard.sql)? {
                return Err(guard.otherwise.into());
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
