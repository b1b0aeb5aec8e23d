//! Why a question has no answer from the tables.

use crate::{
    alyx::filterset::{AlyxError, QueryError, Undecidable},
    mirror::sql_functions,
};

/// Why a question has no answer from the tables.
#[derive(Debug)]
pub enum PlanError {
    /// Alyx refuses it, or it can't be decided here.
    Unanswered(QueryError),
    /// SQLite's word.
    Sqlite(rusqlite::Error),
}

impl From<QueryError> for PlanError {
    fn from(unanswered: QueryError) -> Self {
        Self::Unanswered(unanswered)
    }
}

impl From<AlyxError> for PlanError {
    fn from(refusal: AlyxError) -> Self {
        Self::Unanswered(refusal.into())
    }
}

impl From<Undecidable> for PlanError {
    fn from(undecided: Undecidable) -> Self {
        Self::Unanswered(undecided.into())
    }
}

impl From<rusqlite::Error> for PlanError {
    /// A row that can't be decided makes the whole question undecided (see [`sql_functions::UNDECIDED`]).
    fn from(error: rusqlite::Error) -> Self {
        if let rusqlite::Error::SqliteFailure(_, Some(words)) = &error
            && let Some(what) = words.strip_prefix(sql_functions::UNDECIDED)
        {
            return Undecidable::unsupported(what).into();
        }
        Self::Sqlite(error)
    }
}
