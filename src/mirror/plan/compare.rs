//! Comparisons of typed columns in SQL (see [`crate::mirror::schema::ColumnType`]).

use std::cmp::Ordering;

use jiff::civil::Date;
use rusqlite::types::Value;

use super::sql::Sql;
use crate::{
    alyx::{
        filterset::{
            QueryError,
            compare::{Comparison, TextTest, upper},
            json_lookup::JsonPredicate,
            scalar::{Scalar, Transform},
        },
        model::ColumnKind,
    },
    mirror::ingest::{days, micros},
};

/// Whether a column compares so; null where the column is null and that is not asked.
pub(super) fn predicate(column: &str, kind: ColumnKind, comparison: &Comparison) -> Result<Sql, QueryError> {
    let plain = |text: String| Ok(Sql::new(text));
    match comparison {
        Comparison::Null(true) => plain(format!("{column} IS NULL")),
        Comparison::Null(false) => plain(format!("{column} IS NOT NULL")),
        Comparison::Order(scalar, fulfils, transform) => {
            Ok(ordered(column, kind, operator(*fulfils), scalar, *transform))
        }
        Comparison::Any(scalars, _) if scalars.is_empty() => plain("0".to_owned()),
        Comparison::Any(scalars, Transform::None) => {
            let values = scalars.iter().map(|scalar| value(kind, scalar));
            Ok(Sql::new(format!("{column} IN (")).sql(Sql::values(values)).text(")"))
        }
        Comparison::Any(scalars, transform) => {
            let each = scalars.iter().map(|scalar| ordered(column, kind, "=", scalar, *transform));
            Ok(Sql::new("(").sql(Sql::join(each, " OR ")).text(")"))
        }
        Comparison::Between(from, until, transform) => {
            let from = ordered(column, kind, ">=", from, *transform);
            let until = ordered(column, kind, "<=", until, *transform);
            Ok(Sql::new("(").sql(from).text(" AND ").sql(until).text(")"))
        }
        Comparison::Text(how, text, true) => {
            let function = match how {
                TextTest::Is => return Ok(Sql::new(format!("{column} = ")).bind(Value::Text(text.clone()))),
                TextTest::Contains => "text_contains",
                TextTest::Starts => "text_starts",
                TextTest::Ends => "text_ends",
            };
            Ok(Sql::new(format!("{function}({column}, ")).bind(Value::Text(text.clone())).text(")"))
        }
        Comparison::Text(how, text, false) => {
            let function = match how {
                // An index may know it: [`crate::mirror::schema::EndpointTables::folded`].
                TextTest::Is => {
                    return Ok(Sql::new(format!("upper_of({column}) = ")).bind(Value::Text(upper(text))));
                }
                TextTest::Contains => "upper_contains",
                TextTest::Starts => "upper_starts",
                TextTest::Ends => "upper_ends",
            };
            Ok(Sql::new(format!("{function}({column}, ")).bind(Value::Text(upper(text))).text(")"))
        }
        Comparison::Matches(pattern) => Ok(Sql::new(format!("text_matches({column}, "))
            .bind(Value::Text(pattern.text.clone()))
            .text(&format!(", {})", i32::from(pattern.ascii)))),
        Comparison::Json(test) => json_predicate(column, test),
        Comparison::Length(length) => {
            let length = i64::try_from(*length).unwrap_or(i64::MAX);
            Ok(Sql::new(format!("array_length({column}) = ")).bind(Value::Integer(length)))
        }
        Comparison::Holds(wanted) => {
            let wanted = serde_json::to_string(wanted).unwrap_or_default();
            Ok(Sql::new(format!("array_holds({column}, ")).bind(Value::Text(wanted)).text(")"))
        }
    }
}

fn json_predicate(column: &str, test: &JsonPredicate) -> Result<Sql, QueryError> {
    let spec =
        serde_json::to_string(test).map_err(|_| QueryError::beyond("write down such a test on JSON"))?;
    Ok(Sql::new("json_holds(").bind(Value::Text(spec)).text(&format!(", {column})")))
}

/// The operator that is fulfilled by the same orders.
fn operator(fulfils: fn(Ordering) -> bool) -> &'static str {
    match (fulfils(Ordering::Less), fulfils(Ordering::Equal), fulfils(Ordering::Greater)) {
        (false, true, false) => "=",
        (false, false, true) => ">",
        (false, true, true) => ">=",
        (true, false, false) => "<",
        (true, true, false) => "<=",
        (true, _, true) | (false, false, false) => "IS NOT",
    }
}

/// A scalar as the column stores it.
fn value(kind: ColumnKind, scalar: &Scalar) -> Value {
    match (kind, scalar) {
        (ColumnKind::Uuid, Scalar::Text(text)) => match uuid::Uuid::parse_str(text) {
            Ok(id) => Value::Blob(id.as_bytes().to_vec()),
            Err(_) => Value::Text(text.clone()),
        },
        (_, Scalar::Text(text)) => Value::Text(text.clone()),
        (_, Scalar::Number(number)) if number.is_nan() => Value::Text("NaN".to_owned()),
        (_, Scalar::Number(number)) => Value::Real(*number),
        (_, Scalar::Bool(truth)) => Value::Integer((*truth).into()),
        (_, Scalar::Time(time)) => Value::Integer(micros(*time)),
        (_, Scalar::Day(day)) => Value::Integer(days(*day)),
    }
}

fn ordered(column: &str, kind: ColumnKind, operator: &str, scalar: &Scalar, transform: Transform) -> Sql {
    match (kind, transform, scalar) {
        (ColumnKind::DateTime, Transform::Date, Scalar::Day(day)) => of_day(column, operator, *day),
        (_, Transform::None | Transform::Date, _) => {
            Sql::new(format!("{column} {operator} ")).bind(value(kind, scalar))
        }
        (_, Transform::Item(index), _) => {
            Sql::new(format!("array_item({column}, {index}) {operator} ")).bind(value(kind, scalar))
        }
        (_, Transform::Time, Scalar::Time(time)) => {
            let part = part_of(kind);
            let micros = micros(*time) - micros(Date::MIN.to_datetime(jiff::civil::Time::midnight()));
            Sql::new(format!("{part}({column}, 'time') {operator} ")).bind(Value::Integer(micros))
        }
        _ => {
            let part = part_of(kind);
            let name = match transform {
                Transform::Year => "year",
                Transform::Month => "month",
                Transform::Day => "day",
                Transform::Hour => "hour",
                Transform::Minute => "minute",
                Transform::Second => "second",
                _ => "week_day",
            };
            Sql::new(format!("{part}({column}, '{name}') {operator} ")).bind(value(kind, scalar))
        }
    }
}

fn part_of(kind: ColumnKind) -> &'static str {
    if matches!(kind, ColumnKind::Date) { "part_of_day" } else { "part_of_time" }
}

/// A time compared with a day, so that an index on the column can be used.
fn of_day(column: &str, operator: &str, day: Date) -> Sql {
    let start = days(day) * 86_400_000_000;
    let end = start + 86_400_000_000;
    let (start, end) = (Value::Integer(start), Value::Integer(end));
    match operator {
        "=" => Sql::new(format!("({column} >= "))
            .bind(start)
            .text(&format!(" AND {column} < "))
            .bind(end)
            .text(")"),
        ">" => Sql::new(format!("{column} >= ")).bind(end),
        ">=" => Sql::new(format!("{column} >= ")).bind(start),
        "<" => Sql::new(format!("{column} < ")).bind(start),
        _ => Sql::new(format!("{column} < ")).bind(end),
    }
}
