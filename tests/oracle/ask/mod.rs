//! Which records a list is asked for: the filters of [`crate::alyx::filter`], evaluated record by
//! record in the plainest way (ALYX.md 2).
//!
//! What the records of the sample can't decide is refused; no answer is ever guessed.

mod compare;
mod datasets;
mod django;
pub(crate) mod naive;
mod path;
mod region;
mod scalar;
mod special;

use crate::{
    alyx::{
        AlyxSpec, Endpoint,
        filter::{Predicate, RowEffect},
        filterset::{
            QueryError,
            form::{self, ActiveFilter, CleanedValue, KeyLookup},
        },
        model::Model,
        query_string::Pairs,
    },
    miniature::{data::Data, sample},
};
use special::RecordCondition;

/// In how many ways a record fulfils a condition: the rows that the joined tables give for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ways(usize);

/// A row of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row {
    /// Where the record is.
    pub(super) place: usize,
    /// How often joined tables repeat it, though the list has it once: numbers that Alyx counts over
    /// the joined tables are multiplied by this.
    pub(super) repeats: usize,
}

impl KeyLookup for Data {
    fn exists(&self, endpoint: &'static str, key: &str) -> Result<bool, QueryError> {
        let column = Model::of(endpoint).and_then(|model| model.column("id"));
        let column = column.ok_or_else(|| QueryError::beyond("know the keys of such records"))?;
        Ok(self.index(endpoint, column.at, false).contains_key(key))
    }
}

/// The rows of a list that this query asks for, in the table's order.
pub(super) fn rows(data: &Data, endpoint: &'static Endpoint, pairs: &Pairs) -> Result<Vec<Row>, QueryError> {
    let used = form::read(data, endpoint, pairs, AlyxSpec::newest().rules()?)?;
    let all = data.table(endpoint).records().len();
    if used.is_empty() {
        return Ok((0..all).map(|place| Row { place, repeats: 1 }).collect());
    }
    let query = Query { data, endpoint, pairs, used: &used };
    let conditions = used
        .iter()
        .map(|(filter, asked)| Ok((*filter, RecordCondition::new(&query, filter, asked)?)))
        .collect::<Result<Vec<_>, QueryError>>()?;
    if let Some(lineage) = region::lineage(&query)? {
        return Ok(lineage.into_iter().map(|place| Row { place, repeats: 1 }).collect());
    }
    // Datasets are grouped always; elsewhere a filter must ask for it.
    let distinct =
        endpoint.name == "datasets" || used.iter().any(|(filter, _)| filter.rows == RowEffect::Distinct);
    let mut rows = Vec::new();
    'records: for place in 0..all {
        let (mut repeats, mut users) = (1, None);
        for (filter, condition) in &conditions {
            let Ways(ways) = condition.ways(&query, place)?;
            if ways == 0 {
                continue 'records;
            }
            if let Predicate::Users = filter.test {
                users = Some(ways);
            }
            if condition.multiplies(filter) {
                repeats *= ways;
            }
        }
        if let Some(found) = users
            && !query.enough_users(found, repeats)?
        {
            continue;
        }
        let times = if distinct { 1 } else { repeats };
        rows.extend((0..times).map(|_| Row { place, repeats }));
    }
    Ok(rows)
}

/// A query as its conditions see it.
struct Query<'q> {
    data: &'q Data,
    endpoint: &'static Endpoint,
    pairs: &'q Pairs,
    used: &'q [ActiveFilter],
}

impl Query<'_> {
    /// The raw text of a parameter, if it is present; the last counts.
    fn raw(&self, name: &str) -> Option<&str> {
        self.pairs.iter().rev().find(|(known, _)| known == name).map(|(_, text)| text.as_str())
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.used.iter().find_map(|(filter, asked)| match asked {
            CleanedValue::Text(text) if filter.name == name => Some(text.as_str()),
            _ => None,
        })
    }

    /// The day that the server's clock stands at.
    fn today() -> jiff::civil::Date {
        sample::TODAY
    }

    /// Alyx counts the users of every joined row, so that another filter with several matches can
    /// make up for one who is missing (ALYX.md 2.6).
    fn enough_users(&self, found: usize, repeats: usize) -> Result<bool, QueryError> {
        let wanted = self.text("users").map_or(0, |users| users.split(',').count());
        let subqueries = ["datasets", "histology"].iter().any(|name| self.raw(name).is_some());
        if found < wanted && subqueries {
            return Err(QueryError::beyond("count users beside this filter"));
        }
        Ok(found * repeats >= wanted)
    }
}
