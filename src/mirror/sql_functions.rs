//! Functions that the mirror's SQL calls: what PostgreSQL does with text, JSON, arrays and times.
//!
//! Each is deterministic, and null where its column is null unless it says otherwise.

use jiff::{
    civil::{Date, DateTime},
    tz::TimeZone,
};
use rusqlite::{
    Connection, Error, Result,
    functions::{Context, FunctionFlags},
    types::{Value as SqlValue, ValueRef},
};
use serde_json::Value;

use super::{
    connection_clock,
    ingest::{days, micros},
};
use crate::alyx::{
    collation::{self, Collations},
    filterset::{
        QueryError, Undecidable,
        compare::upper,
        float_text,
        json_lookup::JsonPredicate,
        regex as pattern,
        scalar::{self, Scalar, Transform},
    },
    record,
};
use crate::clock::{SharedClock, SystemClock};

/// What an error of SQLite begins with where a row can't be decided; the reason follows.
pub const UNDECIDED: &str = "undecided: ";

/// The order of two texts by some collations, as -1, 0 or 1; null where it is not certain, or one of them is null.
pub(super) const TEXT_ORDER: &str = "text_order";

/// The same, where the question is undecided that needs an order which is not certain.
pub(super) const SURE_TEXT_ORDER: &str = "sure_text_order";

/// What orders a text as a collation does.
pub(super) const COLLATION_KEY: &str = "collation_key";

/// Makes the functions known to a connection.
pub fn register(connection: &Connection) -> Result<()> {
    text(connection, "text_contains", |own, wanted| contains(own.as_bytes(), wanted))?;
    text(connection, "text_starts", |own, wanted| own.as_bytes().starts_with(wanted))?;
    text(connection, "text_ends", |own, wanted| own.as_bytes().ends_with(wanted))?;
    text_orders(connection)?;
    text_forms(connection)?;
    connection.create_scalar_function("upper_of", 1, FLAGS, |context| {
        Ok(match context.get_raw(0) {
            ValueRef::Null => None,
            own => Some(upper(own.as_str()?)),
        })
    })?;
    text(connection, "upper_contains", |own, wanted| in_upper(own, wanted, contains))?;
    text(connection, "upper_starts", |own, wanted| in_upper(own, wanted, <[u8]>::starts_with))?;
    text(connection, "upper_ends", |own, wanted| in_upper(own, wanted, <[u8]>::ends_with))?;
    matches(connection)?;
    connection_clock::give(connection, &(std::sync::Arc::new(SystemClock) as SharedClock))?;
    json(connection, "json_holds", JsonPredicate::holds)?;
    json(connection, "json_leaves", JsonPredicate::leaves)?;
    array(connection)?;
    parts(connection)
}

const FLAGS: FunctionFlags = FunctionFlags::SQLITE_UTF8.union(FunctionFlags::SQLITE_DETERMINISTIC);

/// What is wanted stays bytes: a question may bring 32 KiB of it, and each row would look whether it is UTF-8.
fn text(connection: &Connection, name: &str, holds: fn(&str, &[u8]) -> bool) -> Result<()> {
    connection.create_scalar_function(name, 2, FLAGS, move |context| {
        Ok(match (context.get_raw(0), context.get_raw(1)) {
            (ValueRef::Null, _) => None,
            (own, wanted) => Some(holds(own.as_str()?, wanted.as_bytes()?)),
        })
    })
}

/// Compares a text in upper case with one that is so already.
fn in_upper(own: &str, wanted: &[u8], holds: fn(&[u8], &[u8]) -> bool) -> bool {
    const SHORT: usize = 256;
    if own.is_ascii() && own.len() <= SHORT {
        let mut upper = [0; SHORT];
        let upper = &mut upper[..own.len()];
        upper.copy_from_slice(own.as_bytes());
        upper.make_ascii_uppercase();
        return holds(upper, wanted);
    }
    holds(upper(own).as_bytes(), wanted)
}

fn contains(own: &[u8], wanted: &[u8]) -> bool {
    own.len() >= wanted.len() && memchr::memmem::find(own, wanted).is_some()
}

fn text_orders(connection: &Connection) -> Result<()> {
    let order = |context: &Context<'_>| -> Result<Option<Option<i64>>> {
        let (ValueRef::Text(_), ValueRef::Text(_)) = (context.get_raw(0), context.get_raw(1)) else {
            return Ok(None);
        };
        let collations = Collations::of_number(context.get(2)?);
        let order = collations.order(context.get_raw(0).as_str()?, context.get_raw(1).as_str()?);
        Ok(Some(order.map(|order| order as i64)))
    };
    connection.create_scalar_function(TEXT_ORDER, 3, FLAGS, move |context| Ok(order(context)?.flatten()))?;
    connection.create_scalar_function(SURE_TEXT_ORDER, 3, FLAGS, move |context| {
        let unknown = || undecided(QueryError::beyond("know the order of text in Alyx's database"));
        order(context)?.map(|order| order.ok_or_else(unknown)).transpose()
    })?;
    connection.create_scalar_function(COLLATION_KEY, 2, FLAGS, |context| {
        let ValueRef::Text(_) = context.get_raw(0) else { return context.get::<SqlValue>(0) };
        let collation = Collations::of_number(context.get(1)?);
        Ok(SqlValue::Blob(collation::key(context.get_raw(0).as_str()?, collation)))
    })
}

/// Values as PostgreSQL casts them to text.
fn text_forms(connection: &Connection) -> Result<()> {
    connection.create_scalar_function("uuid_text", 1, FLAGS, |context| {
        let id = context.get_raw(0).as_blob().ok().and_then(|bytes| uuid::Uuid::from_slice(bytes).ok());
        Ok(id.map(|id| id.to_string()))
    })?;
    connection.create_scalar_function("float_text", 1, FLAGS, |context| {
        #[allow(clippy::cast_precision_loss, reason = "it came as a floating-point number")]
        Ok(match context.get_raw(0) {
            ValueRef::Real(number) => Some(float_text::postgresql(number)),
            ValueRef::Integer(number) => Some(float_text::postgresql(number as f64)),
            ValueRef::Text(text) => Some(String::from_utf8_lossy(text).into_owned()),
            ValueRef::Null | ValueRef::Blob(_) => None,
        })
    })?;
    connection.create_scalar_function("time_text", 2, FLAGS, |context| {
        let zone = context.get_or_create_aux(1, |name| {
            TimeZone::get(name.as_str()?).map_err(|error| Error::UserFunctionError(error.into()))
        })?;
        let ValueRef::Integer(at) = context.get_raw(0) else { return Ok(None) };
        time(at).map(|time| time_text(time, &zone)).transpose()
    })?;
    connection.create_scalar_function("day_text", 1, FLAGS, |context| {
        let ValueRef::Integer(at) = context.get_raw(0) else { return Ok(None) };
        Ok(day(at).map(|day| day.to_string()))
    })
}

/// A time as PostgreSQL writes it in a session of this zone.
fn time_text(time: DateTime, zone: &TimeZone) -> Result<String> {
    let at = zone.to_ambiguous_timestamp(time);
    let offset = match at.offset() {
        jiff::tz::AmbiguousOffset::Unambiguous { offset } => offset.seconds(),
        _ => return Err(undecided(QueryError::beyond("know a time of the hour that clocks are set back"))),
    };
    let sign = if offset < 0 { '-' } else { '+' };
    let (hours, minutes) = (offset.abs() / 3600, offset.abs() / 60 % 60);
    let minutes = if minutes == 0 { String::new() } else { format!(":{minutes:02}") };
    Ok(format!("{} {}{sign}{hours:02}{minutes}", time.date(), time.time()))
}

fn matches(connection: &Connection) -> Result<()> {
    connection.create_scalar_function("text_matches", 3, FLAGS, |context| {
        let expression = context.get_or_create_aux(1, |expression| {
            regex::bytes::Regex::new(expression.as_str()?)
                .map_err(|error| Error::UserFunctionError(error.into()))
        })?;
        Ok(match context.get_raw(0) {
            ValueRef::Null => None,
            own => {
                let ascii = context.get(2)?;
                Some(pattern::is_in(&expression, ascii, own.as_str()?).map_err(undecided)?)
            }
        })
    })
}

fn json(
    connection: &Connection,
    name: &str,
    judge: fn(&JsonPredicate, Option<&Value>) -> std::result::Result<bool, QueryError>,
) -> Result<()> {
    connection.create_scalar_function(name, 2, FLAGS, move |context| {
        let test = context.get_or_create_aux(0, |spec| {
            serde_json::from_str::<JsonPredicate>(spec.as_str()?)
                .map_err(|error| Error::UserFunctionError(error.into()))
        })?;
        let judged = match context.get_raw(1) {
            ValueRef::Null => judge(&test, None),
            own => judge(&test, Some(&record::parse(own.as_str()?))),
        };
        judged.map_err(undecided)
    })
}

/// What a row that can't be decided makes of the whole question.
fn undecided(unanswered: QueryError) -> Error {
    let reason = match unanswered {
        QueryError::Undecided(Undecidable::Beyond(what) | Undecidable::Hidden(what)) => what,
        QueryError::Undecided(other) => other.to_string(),
        QueryError::Refused(refusal) => refusal.body,
    };
    Error::UserFunctionError(format!("{UNDECIDED}{reason}").into())
}

fn items(context: &Context<'_>) -> Result<Option<Vec<f64>>> {
    Ok(match context.get_raw(0) {
        ValueRef::Null => None,
        own => {
            let value = record::parse(own.as_str()?);
            value.as_array().map(|items| items.iter().filter_map(Value::as_f64).collect())
        }
    })
}

fn array(connection: &Connection) -> Result<()> {
    // An empty array has no length for PostgreSQL.
    connection.create_scalar_function("array_length", 1, FLAGS, |context| {
        let length = items(context)?.map(|items| items.len()).filter(|length| *length > 0);
        Ok(length.and_then(|length| i64::try_from(length).ok()))
    })?;
    connection.create_scalar_function("array_item", 2, FLAGS, |context| {
        let at: i64 = context.get(1)?;
        Ok(items(context)?.and_then(|items| items.get(usize::try_from(at).ok()?).copied()))
    })?;
    connection.create_scalar_function("array_holds", 2, FLAGS, |context| {
        let wanted = context.get_or_create_aux(1, |wanted| {
            serde_json::from_str::<Vec<f64>>(wanted.as_str()?)
                .map_err(|error| Error::UserFunctionError(error.into()))
        })?;
        Ok(items(context)?.map(|items| wanted.iter().all(|one| items.contains(one))))
    })
}

fn parts(connection: &Connection) -> Result<()> {
    connection.create_scalar_function("part_of_time", 2, FLAGS, |context| {
        let ValueRef::Integer(at) = context.get_raw(0) else { return Ok(None) };
        let transform = transform(context.get_raw(1).as_str()?);
        let of_day = at.rem_euclid(86_400_000_000);
        if transform == Transform::Time {
            return Ok(Some(of_day));
        }
        Ok(time(at).and_then(|time| number(&scalar::taken_of_time(time, transform))))
    })?;
    connection.create_scalar_function("part_of_day", 2, FLAGS, |context| {
        let ValueRef::Integer(at) = context.get_raw(0) else { return Ok(None) };
        let transform = transform(context.get_raw(1).as_str()?);
        Ok(day(at).and_then(|day| number(&scalar::taken(day, transform))))
    })
}

fn transform(name: &str) -> Transform {
    Transform::of_day(name).or_else(|| Transform::of_clock(name)).unwrap_or(Transform::Time)
}

fn day(at: i64) -> Option<Date> {
    jiff::civil::date(1970, 1, 1).checked_add(jiff::Span::new().try_days(at).ok()?).ok()
}

fn time(at: i64) -> Option<DateTime> {
    let day = day(at.div_euclid(86_400_000_000))?;
    day.at(0, 0, 0, 0)
        .checked_add(jiff::Span::new().try_microseconds(at.rem_euclid(86_400_000_000)).ok()?)
        .ok()
}

#[allow(clippy::cast_possible_truncation, reason = "parts of days are small whole numbers")]
fn number(scalar: &Scalar) -> Option<i64> {
    match scalar {
        Scalar::Number(number) => Some(*number as i64),
        Scalar::Day(day) => Some(days(*day)),
        Scalar::Time(time) => Some(micros(*time)),
        Scalar::Text(_) | Scalar::Bool(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_as_postgresql_compares_it() {
        let connection = Connection::open_in_memory().unwrap();
        register(&connection).unwrap();
        let one = |sql: &str| {
            connection.query_row(&format!("SELECT {sql}"), [], |row| row.get::<_, Option<i64>>(0)).unwrap()
        };
        assert_eq!(one("upper_contains('Bürste_ks', 'ÜRSTE_K')"), Some(1));
        assert_eq!(one("upper_of('straße') = 'STRASSE'"), Some(0));
        assert_eq!(one("upper_of(NULL) = 'A'"), None);
        assert_eq!(one("text_contains('a%b', '%')"), Some(1));
        assert_eq!(one("part_of_time(0, 'year')"), Some(1970));
        assert_eq!(one("part_of_time(-1, 'hour')"), Some(23));
        assert_eq!(one("part_of_day(0, 'week_day')"), Some(5));
        assert_eq!(one("array_length('[]')"), None);
        assert_eq!(one("array_length('[1,2]')"), Some(2));
    }
}
