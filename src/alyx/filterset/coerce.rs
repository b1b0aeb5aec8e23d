//! The value of a pair as what the column holds, or Django's message that it can't be (ALYX.md 2.2).

use std::cmp::Ordering;

use jiff::civil::Date;

use super::{
    QueryError, QueryResult,
    compare::{Comparison, TextTest, bad_uuid, unsupported},
    digits,
    parse::{self, Parsed, is_space},
    python_literal::Python,
    regex::Pattern,
    scalar::{Scalar, Transform},
};
use crate::alyx::model::ColumnKind;

/// A column with what is taken of its values.
pub(crate) struct Typed {
    pub(crate) name: &'static str,
    pub(crate) kind: ColumnKind,
    pub(crate) transform: Transform,
}

impl Typed {
    pub(crate) fn single(&self, lookup: &str, value: &Python) -> QueryResult<Comparison> {
        let text_test = match lookup {
            "contains" | "icontains" => Some(TextTest::Contains),
            "startswith" | "istartswith" => Some(TextTest::Starts),
            "endswith" | "iendswith" => Some(TextTest::Ends),
            "iexact" => Some(TextTest::Is),
            _ => None,
        };
        let has_text = self.transform == Transform::None && has_text(self.kind);
        if has_text && matches!(lookup, "iexact" | "regex" | "iregex") && !matches!(value, Python::Text(_)) {
            return Err(QueryError::beyond(&format!("compare with such a value by {lookup}")));
        }
        if let (Some(test), true) = (text_test, has_text) {
            return Ok(Comparison::Text(test, value.text()?, !lookup.starts_with('i')));
        }
        if let (ColumnKind::Array, Transform::None) = (self.kind, self.transform) {
            return self.array(lookup, value);
        }
        let fulfils: fn(Ordering) -> bool = match lookup {
            "exact" => Ordering::is_eq,
            "gt" => Ordering::is_gt,
            "gte" => Ordering::is_ge,
            "lt" => Ordering::is_lt,
            "lte" => Ordering::is_le,
            "regex" | "iregex" if has_text => {
                return Pattern::new(&value.text()?, lookup == "iregex").map(Comparison::Matches);
            }
            _ if self.transform == Transform::None => return Err(unsupported(lookup)),
            _ => return Err(QueryError::beyond(&format!("know the lookup {lookup} after a transform"))),
        };
        let up = matches!(lookup, "gte" | "lt");
        Ok(Comparison::Order(self.convert(value, up)?, fulfils, self.transform))
    }

    fn array(&self, lookup: &str, value: &Python) -> QueryResult<Comparison> {
        match (lookup, value) {
            ("len", Python::Float(length)) if length.fract() == 0.0 => {
                Ok(Comparison::Length(truncated(*length)))
            }
            ("contains", Python::List(items)) => {
                let number = |item: &Python| match item {
                    Python::Float(number) if self.is_whole_array() && number.fract() != 0.0 => {
                        Err(QueryError::beyond("compare whole numbers with a fraction"))
                    }
                    Python::Float(number) => Ok(*number),
                    Python::Int(number) => Ok(as_float(*number)),
                    _ => Err(QueryError::beyond("compare arrays with such a value")),
                };
                items.iter().map(number).collect::<QueryResult<_>>().map(Comparison::Holds)
            }
            _ => Err(QueryError::beyond(&format!("know the lookup {lookup} of the array {}", self.name))),
        }
    }

    pub(crate) fn several(&self, lookup: &str, value: &Python) -> QueryResult<Comparison> {
        let items: Vec<Python> = match value {
            Python::List(items) => items.clone(),
            // A text is taken as its characters.
            Python::Text(text) => text.chars().map(|c| Python::Text(c.to_string())).collect(),
            Python::Dict(items) => items.iter().map(|(key, _)| Python::Text(key.clone())).collect(),
            scalar => {
                let kind = scalar.scalar_type().unwrap_or_default();
                return Err(QueryError::failed(&format!("'{kind}' object is not iterable")));
            }
        };
        let known = items.iter().filter(|item| **item != Python::None);
        let scalars = known.map(|item| self.convert(item, false)).collect::<QueryResult<Vec<_>>>()?;
        match (lookup, scalars.as_slice()) {
            ("in", _) => Ok(Comparison::Any(scalars, self.transform)),
            ("range", [from, until]) => Ok(Comparison::Between(from.clone(), until.clone(), self.transform)),
            _ => Err(QueryError::beyond("know such a range")),
        }
    }

    /// The value as what the column holds. Fractions on whole numbers are cut, or rounded `up`.
    fn convert(&self, value: &Python, up: bool) -> QueryResult<Scalar> {
        match (self.kind, self.transform) {
            (_, Transform::Date) | (ColumnKind::Date, Transform::None) => day(written(value)?),
            (_, Transform::Time) => match parse::clock(written(value)?) {
                Some(time) => Ok(Scalar::Time(Date::MIN.to_datetime(time))),
                None => Err(QueryError::beyond("read such a time of day")),
            },
            (ColumnKind::DateTime, Transform::None) => match parse::time(written(value)?) {
                Parsed::Is(time) => Ok(Scalar::Time(time)),
                Parsed::Not => Err(bad_time(written(value)?)),
                Parsed::Unsure => Err(QueryError::beyond("read such a time")),
            },
            (ColumnKind::Integer | ColumnKind::Labels(_), Transform::None)
            | (
                _,
                Transform::Year
                | Transform::Month
                | Transform::Day
                | Transform::Hour
                | Transform::Minute
                | Transform::Second
                | Transform::WeekDay
                | Transform::IsoWeekDay
                | Transform::IsoYear
                | Transform::Week
                | Transform::Quarter,
            ) => self.whole(value, up).map(Scalar::Number),
            (ColumnKind::Float, _) | (ColumnKind::Array, Transform::Item(_)) => {
                self.float(value).map(Scalar::Number)
            }
            (ColumnKind::Uuid, _) => match value {
                // A whole number is taken for the UUID's own; Python's truths are numbers.
                Python::Int(number) => number_as_uuid(*number),
                Python::Bool(truth) => number_as_uuid(i128::from(*truth)),
                _ => uuid(&value.text()?),
            },
            (ColumnKind::Boolean, _) => match value {
                Python::Bool(truth) => Ok(Scalar::Bool(*truth)),
                Python::Float(number) if [0.0, 1.0].contains(number) => Ok(Scalar::Bool(*number > 0.5)),
                _ => Err(QueryError::beyond("take such a value for true or false")),
            },
            (ColumnKind::Text, _) => value.text().map(Scalar::Text),
            (
                ColumnKind::Json
                | ColumnKind::Array
                | ColumnKind::Date
                | ColumnKind::Integer
                | ColumnKind::Labels(_)
                | ColumnKind::DateTime,
                _,
            ) => Err(QueryError::beyond("compare such values")),
        }
    }

    /// A whole number, within what the column can hold: of others Django knows the answer without asking the
    /// database, and gives records whose column is null with it.
    fn whole(&self, value: &Python, up: bool) -> QueryResult<f64> {
        let number = match value {
            // Years are compared as the days between which they lie.
            Python::Float(number) if self.is_of_year() && number.fract() != 0.0 => {
                return Err(QueryError::beyond("compare a year with a fraction"));
            }
            Python::Float(number) if up => number.ceil(),
            Python::Float(number) => number.trunc(),
            Python::Int(number) => as_float(*number),
            Python::Bool(truth) if !self.is_of_year() => f64::from(u8::from(*truth)),
            Python::Text(text) => match parse::whole(text) {
                Parsed::Is(number) => as_float(number),
                Parsed::Not => return Err(self.expected_number(text)),
                Parsed::Unsure => return Err(QueryError::beyond(&format!("read {text} as a number"))),
            },
            _ => return Err(QueryError::beyond("take such a value for a number")),
        };
        let greatest = match (self.transform, self.name) {
            (Transform::Year | Transform::IsoYear, _) => 9999.0,
            (Transform::None, name) if SMALL.contains(&name) => 32_767.0,
            // Beyond this a number is not read digit by digit.
            (Transform::None, "file_size") => 9_007_199_254_740_991.0,
            _ => 2_147_483_647.0,
        };
        let least = if self.is_of_year() { 1.0 } else { -greatest - 1.0 };
        if (least..=greatest).contains(&number) {
            return Ok(number);
        }
        Err(QueryError::beyond(&format!("compare {} with numbers beyond its own", self.name)))
    }

    /// Whether it is a year: they are compared by the days between which they lie.
    fn is_of_year(&self) -> bool {
        matches!(self.transform, Transform::Year | Transform::IsoYear)
    }

    fn float(&self, value: &Python) -> QueryResult<f64> {
        let number = match value {
            Python::Float(number) => *number,
            Python::Int(number) => as_float(*number),
            Python::Bool(truth) => f64::from(u8::from(*truth)),
            Python::Text(text) if text.contains('_') => {
                return Err(QueryError::beyond(&format!("read {text} as a number")));
            }
            Python::Text(text) => {
                let text = digits::in_ascii(text);
                text.trim_matches(is_space).parse().map_err(|_| self.expected_number(&text))?
            }
            _ => return Err(QueryError::beyond("take such a value for a number")),
        };
        if self.is_whole_array() && number.fract() != 0.0 {
            return Err(QueryError::beyond("compare whole numbers with a fraction"));
        }
        Ok(number)
    }

    /// Whether it is an array of whole numbers: all others are of fractions.
    fn is_whole_array(&self) -> bool {
        matches!(self.kind, ColumnKind::Array) && self.name == "n_xyz"
    }

    /// Django's message for a text that is no number. What is taken of a column has no name in it.
    fn expected_number(&self, text: &str) -> QueryError {
        if !matches!(self.transform, Transform::None | Transform::Item(_)) {
            return QueryError::beyond("know Django's name for what is taken of a column");
        }
        let name = self.name;
        QueryError::failed_on(text, &format!("Field '{name}' expected a number but got '{text}'."))
    }
}

/// Whether PostgreSQL's text of such a column is known.
fn has_text(kind: ColumnKind) -> bool {
    !matches!(kind, ColumnKind::Json | ColumnKind::Array)
}

/// Columns that hold numbers of two bytes; `file_size` has eight, all others four.
const SMALL: [&str; 7] = ["priority", "io_charge", "level", "gpu", "cpu", "ram", "time_out_secs"];

fn day(text: &str) -> QueryResult<Scalar> {
    match parse::day(text) {
        Parsed::Is(day) => Ok(Scalar::Day(day)),
        Parsed::Not => Err(bad_day(text)),
        Parsed::Unsure => Err(QueryError::beyond(&format!("read {text} as a day"))),
    }
}

fn uuid(text: &str) -> QueryResult<Scalar> {
    match parse::uuid(text) {
        Parsed::Is(uuid) => Ok(Scalar::Text(uuid)),
        Parsed::Not => Err(bad_uuid(text)),
        Parsed::Unsure => Err(QueryError::beyond(&format!("read {text} as a UUID"))),
    }
}

fn number_as_uuid(number: i128) -> QueryResult<Scalar> {
    let number = u128::try_from(number).map_err(|_| bad_uuid(&number.to_string()))?;
    Ok(Scalar::Text(uuid::Uuid::from_u128(number).to_string()))
}

/// The text of a value that must be one: days and times are read from no other.
fn written(value: &Python) -> QueryResult<&str> {
    match value {
        Python::Text(text) => Ok(text),
        _ => Err(QueryError::beyond("read such a value as a day or time")),
    }
}

/// Django's message for a time that is none.
fn bad_time(text: &str) -> QueryError {
    let form = "YYYY-MM-DD HH:MM[:ss[.uuuuuu]][TZ]";
    let reason = if parse::is_beyond_clocks(text) {
        format!("value has the correct format ({form}) but it is an invalid date/time.")
    } else {
        format!("value has an invalid format. It must be in {form} format.")
    };
    QueryError::failed_on(text, &format!("['“{text}” {reason}']"))
}

/// Django's message for a day that is none.
pub(crate) fn bad_day(text: &str) -> QueryError {
    let reason = "value has an invalid date format. It must be in YYYY-MM-DD format.";
    QueryError::failed_on(text, &format!("['“{text}” {reason}']"))
}

#[allow(clippy::cast_precision_loss, reason = "numbers of records are small")]
pub(crate) fn as_float(number: i128) -> f64 {
    number as f64
}

#[allow(clippy::cast_possible_truncation, reason = "it is whole")]
fn truncated(number: f64) -> i128 {
    number as i128
}
