//! The plan of a question: which tables it needs, and the SQL that answers it.

use std::collections::BTreeSet;

use jiff::civil::Date;
use rusqlite::Connection;
use serde::Serialize;

use super::state::States;
use crate::alyx::{
    Endpoint,
    ask::{Refusal, Unanswered, Undecided},
    paging::Window,
    query::Pairs,
};

/// Why a question has no answer from the tables.
#[derive(Debug)]
pub enum Failed {
    /// Alyx refuses it, or it can't be decided here.
    Unanswered(Unanswered),
    /// SQLite's word.
    Sqlite(rusqlite::Error),
}

impl From<Unanswered> for Failed {
    fn from(unanswered: Unanswered) -> Self {
        Self::Unanswered(unanswered)
    }
}

impl From<Refusal> for Failed {
    fn from(refusal: Refusal) -> Self {
        Self::Unanswered(refusal.into())
    }
}

impl From<Undecided> for Failed {
    fn from(undecided: Undecided) -> Self {
        Self::Unanswered(undecided.into())
    }
}

impl From<rusqlite::Error> for Failed {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// How a list is answered.
#[derive(Debug, Clone, Serialize)]
pub struct Plan {
    /// The tables that it needs, and of which also the details.
    pub needs: BTreeSet<(&'static str, bool)>,
    /// The parameters that took effect.
    pub used: Vec<String>,
    /// The SQL that counts the rows.
    pub count: String,
    /// The SQL that gives the numbers of a page's records.
    pub page: String,
}

/// The plan of a list.
pub fn list(
    _connection: &Connection,
    _states: &States,
    endpoint: &'static Endpoint,
    _pairs: &Pairs,
    _today: Date,
) -> Result<Plan, Failed> {
    Err(Undecided::Missing { endpoint: endpoint.name, details: false }.into())
}

/// The text of a detail.
pub fn detail(
    _connection: &Connection,
    _states: &States,
    endpoint: &'static Endpoint,
    _key: &str,
) -> Result<String, Failed> {
    Err(Undecided::Missing { endpoint: endpoint.name, details: true }.into())
}

impl Plan {
    /// The number of rows.
    pub fn count(&self, _connection: &Connection) -> Result<u64, Failed> {
        Ok(0)
    }

    /// The texts of a page's records.
    pub fn page(&self, _connection: &Connection, _window: Window) -> Result<Vec<String>, Failed> {
        Ok(Vec::new())
    }
}
