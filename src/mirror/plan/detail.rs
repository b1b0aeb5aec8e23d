//! A detail from the tables: one record, by its key.

use rusqlite::Connection;

use super::{PlanError, asked, keys, lacking, sql::quoted};
use crate::{
    alyx::{
        DetailKey, DetailShape, Endpoint,
        filterset::{AlyxError, QueryError, Undecidable},
        record::Record,
    },
    mirror::{checksum, ingest, schema::Schema, state::States},
};

/// The text of a detail.
pub fn detail(
    connection: &Connection,
    states: &States,
    endpoint: &'static Endpoint,
    key: &str,
) -> Result<String, PlanError> {
    states.spec().rules()?;
    let Some(findings) = states.spec().findings() else {
        return as_known(connection, states, endpoint, key);
    };
    let name = endpoint.name;
    if !endpoint.has_own_details() {
        match findings.detail(name) {
            Some(true) => {}
            Some(false) => {
                let what = format!("what else a single record of /{name} has");
                return Err(Undecidable::Hidden(what).into());
            }
            None => {
                let difference = format!("has not shown a single record of /{name}");
                return Err(Undecidable::OtherAlyx { difference }.into());
            }
        }
    }
    match as_known(connection, states, endpoint, key) {
        Err(PlanError::Unanswered(QueryError::Refused(AlyxError { status: 404, .. }))) => {
            // What it does not list it may have.
            Err(Undecidable::Hidden(format!("whether there is a record of /{name} that no list has")).into())
        }
        said => said,
    }
}

/// The same of an Alyx that shows single records as the known ones do.
pub(in crate::mirror) fn as_known(
    connection: &Connection,
    states: &States,
    endpoint: &'static Endpoint,
    key: &str,
) -> Result<String, PlanError> {
    let missing = |details| Undecidable::Missing { endpoint: endpoint.name, details };
    let (Some(table), Some(state), Some(detail)) =
        (Schema::get().table(endpoint.name), states.of(endpoint.name), endpoint.detail)
    else {
        return Err(missing(false).into());
    };
    asked::trusted(states, endpoint, &[])?;
    let by_id = states.spec().details_by_id(endpoint)?;
    let column = match detail.key {
        DetailKey::Name(field) if !by_id => field,
        _ => "id",
    };
    let known = table.column(column).ok_or_else(|| missing(false))?;
    let Some(value) = ingest::store(known.kind, &known.kind.json_of(key)) else {
        if by_id {
            // There is no such route then, and who says so is Django.
            return Err(Undecidable::unsupported("write Alyx's page of what is not found").into());
        }
        return Err(AlyxError::not_found(endpoint.model).into());
    };
    let (name, body) = (quoted(&table.name), quoted(&format!("{}__body", table.name)));
    let sql = format!(
        "SELECT b.n, b.list, b.detail, b.list_sum, b.detail_sum FROM {name} t JOIN {body} b ON b.n = t.n WHERE t.{} = ?1 LIMIT 1000",
        quoted(column)
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let found: Vec<(String, Option<String>)> = statement
        .query_map([value], |row| {
            let (n, list, own): (i64, String, Option<String>) = (row.get(0)?, row.get(1)?, row.get(2)?);
            checksum::check(n, &list, row.get(3)?)?;
            if let Some(own) = &own {
                checksum::check(n, own, row.get(4)?)?;
            }
            Ok((list, own))
        })?
        .collect::<rusqlite::Result<_>>()?;
    match found.as_slice() {
        [] if !state.scope.is_empty() => {
            Err(Undecidable::OutOfScope { endpoint: endpoint.name, scope: state.scope.clone() }.into())
        }
        [] if state.unreadable.lists > 0 => Err(lacking::unlisted(state).into()),
        [] => Err(AlyxError::not_found(endpoint.model).into()),
        [(list, own)] => {
            keys::whole(endpoint, own.as_deref().unwrap_or(list))?;
            one(connection, endpoint, detail.shape, list, own.as_deref())
        }
        several => {
            let (model, count) = (endpoint.model, several.len());
            let text = format!("get() returned more than one {model} -- it returned {count}!");
            Err(AlyxError::failed(&text).into())
        }
    }
}

/// The detail of one record.
fn one(
    connection: &Connection,
    endpoint: &'static Endpoint,
    shape: DetailShape,
    list: &str,
    own: Option<&str>,
) -> Result<String, PlanError> {
    match shape {
        DetailShape::AsListed => Ok(list.to_owned()),
        DetailShape::Without(fields) => Ok(Record::new(list).without(fields).text().to_owned()),
        DetailShape::Own => match own.filter(|own| *own != ingest::DETAIL_UNAVAILABLE) {
            Some(own) => Ok(own.to_owned()),
            None => Err(lacking::detail(connection, endpoint, list)?.into()),
        },
    }
}
