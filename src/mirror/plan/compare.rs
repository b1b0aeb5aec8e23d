//! Comparisons of typed columns in SQL (see [`crate::mirror::schema::ColumnType`]).

use std::cmp::Ordering;

use jiff::{civil::Date, tz::TimeZone};
use rusqlite::types::Value;

use super::sql::Sql;
use crate::{
    alyx::{
        collation::Collations,
        filterset::{
            QueryError,
            compare::{Comparison, TextTest, upper},
            json_lookup::JsonPredicate,
            scalar::{Scalar, Transform},
        },
        model::ColumnKind,
    },
    mirror::{
        ingest::{days, micros},
        sql_functions::SURE_TEXT_ORDER,
    },
};

/// What is up to the database of Alyx.
pub(super) struct AlyxDatabase<'c> {
    pub(super) collations: Collations,
    /// The zone of its times, where it is known.
    pub(super) zone: Option<&'c TimeZone>,
}

/// Whether a column compares so; null where the column is null and that is not asked.
pub(super) fn predicate(
    column: &str,
    kind: ColumnKind,
    comparison: &Comparison,
    server: &AlyxDatabase<'_>,
) -> Result<Sql, QueryError> {
    let collations = server.collations;
    let ordered = |kind, operator, scalar: &Scalar, transform| match (kind, scalar) {
        (ColumnKind::Text, Scalar::Text(text)) if operator != "=" && !collations.is_by_bytes() => {
            by_collation(column, operator, text, collations)
        }
        _ => ordered(column, kind, operator, scalar, transform),
    };
    let plain = |text: String| Ok(Sql::new(text));
    match comparison {
        Comparison::Null(true) => plain(format!("{column} IS NULL")),
        Comparison::Null(false) => plain(format!("{column} IS NOT NULL")),
        Comparison::Order(scalar, fulfils, transform) => {
            Ok(ordered(kind, operator(*fulfils), scalar, *transform))
        }
        Comparison::Any(scalars, _) if scalars.is_empty() => plain("0".to_owned()),
        Comparison::Any(scalars, Transform::None) => {
            let values = scalars.iter().map(|scalar| value(kind, scalar));
            Ok(Sql::new(format!("{column} IN (")).sql(Sql::values(values)).text(")"))
        }
        Comparison::Any(scalars, transform) => {
            let each = scalars.iter().map(|scalar| ordered(kind, "=", scalar, *transform));
            Ok(Sql::new("(").sql(Sql::join(each, " OR ")).text(")"))
        }
        Comparison::Between(from, until, transform) => {
            let from = ordered(kind, ">=", from, *transform);
            let until = ordered(kind, "<=", until, *transform);
            Ok(Sql::new("(").sql(from).text(" AND ").sql(until).text(")"))
        }
        Comparison::Text(how, text, cased) => by_text(column, kind, server, (*how, text, *cased)),
        Comparison::Matches(pattern) => {
            Ok(Sql::new(format!("text_matches({}, ", shown(column, kind, server)?))
                .bind(Value::Text(pattern.text.clone()))
                .text(&format!(", {})", i32::from(pattern.ascii))))
        }
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

/// How a column's text relates to a text.
fn by_text(
    column: &str,
    kind: ColumnKind,
    server: &AlyxDatabase<'_>,
    (how, text, cased): (TextTest, &str, bool),
) -> Result<Sql, QueryError> {
    if let (ColumnKind::Uuid, TextTest::Starts, Some((from, until))) = (kind, how, uuids(text)) {
        return Ok(Sql::new(format!("({column} >= "))
            .bind(Value::Blob(from))
            .text(&format!(" AND {column} <= "))
            .bind(Value::Blob(until))
            .text(")"));
    }
    let own = shown(column, kind, server)?;
    let function = match (how, cased) {
        (TextTest::Is, true) => {
            return Ok(Sql::new(format!("{own} = ")).bind(Value::Text(text.to_owned())));
        }
        // An index may know it: [`crate::mirror::schema::EndpointTables::folded`].
        (TextTest::Is, false) => {
            return Ok(Sql::new(format!("upper_of({own}) = ")).bind(Value::Text(upper(text))));
        }
        (TextTest::Contains, true) => "text_contains",
        (TextTest::Starts, true) => "text_starts",
        (TextTest::Ends, true) => "text_ends",
        (TextTest::Contains, false) => "upper_contains",
        (TextTest::Starts, false) => "upper_starts",
        (TextTest::Ends, false) => "upper_ends",
    };
    let wanted = if cased { text.to_owned() } else { upper(text) };
    Ok(Sql::new(format!("{function}({own}, ")).bind(Value::Text(wanted)).text(")"))
}

/// A column as PostgreSQL casts it to text.
fn shown(column: &str, kind: ColumnKind, server: &AlyxDatabase<'_>) -> Result<String, QueryError> {
    Ok(match kind {
        ColumnKind::DateTime => {
            let zone = server.zone.and_then(TimeZone::iana_name);
            let zone = zone.ok_or_else(|| QueryError::beyond("know the zone of Alyx's times"))?;
            format!("time_text({column}, '{zone}')")
        }
        ColumnKind::Uuid => format!("uuid_text({column})"),
        ColumnKind::Integer | ColumnKind::Labels(_) => format!("CAST({column} AS TEXT)"),
        ColumnKind::Float => format!("float_text({column})"),
        ColumnKind::Boolean => format!("CASE {column} WHEN 1 THEN 'true' WHEN 0 THEN 'false' END"),
        ColumnKind::Date => format!("day_text({column})"),
        _ => column.to_owned(),
    })
}

/// The first and the last UUID whose text begins so, in small letters; none where no such does, or it is not this plain.
fn uuids(text: &str) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut digits = Vec::with_capacity(32);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'-' if matches!(at, 8 | 13 | 18 | 23) => {}
            b'0'..=b'9' | b'a'..=b'f' if !matches!(at, 8 | 13 | 18 | 23) => digits.push(byte),
            _ => return None,
        }
    }
    let filled = |with: char| {
        let digits: String = digits.iter().map(|digit| char::from(*digit)).collect();
        let text = format!("{digits}{}", with.to_string().repeat(32_usize.checked_sub(digits.len())?));
        uuid::Uuid::parse_str(&text).ok().map(|id| id.as_bytes().to_vec())
    };
    Some((filled('0')?, filled('f')?))
}

/// A text's order against this: undecided where it is not certain.
fn by_collation(column: &str, operator: &str, text: &str, collations: Collations) -> Sql {
    Sql::new(format!("{SURE_TEXT_ORDER}({column}, "))
        .bind(Value::Text(text.to_owned()))
        .text(&format!(", {}) {operator} 0", collations.number()))
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
            let name = transform.name();
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
