//! The value of a pair as what the column holds, or Django's message that it can't be (REST.md 2.2).

use std::cmp::Ordering;

use jiff::civil::Date;

use super::{
    Unanswered,
    compare::{Comparison, TextTest, unsupported},
    python::Python,
    read::{self, Read},
    scalar::{Scalar, Transform},
};
use crate::alyx::model::Kind;

type Result<T> = std::result::Result<T, Unanswered>;

/// A column with what is taken of its values.
pub(crate) struct Typed {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) transform: Transform,
}

impl Typed {
    pub(crate) fn single(&self, lookup: &str, value: &Python) -> Result<Comparison> {
        let text_test = match lookup {
            "contains" | "icontains" => Some(TextTest::Contains),
            "startswith" | "istartswith" => Some(TextTest::Starts),
            "endswith" | "iendswith" => Some(TextTest::Ends),
            "iexact" => Some(TextTest::Is),
            _ => None,
        };
        if let (Some(test), Kind::Text, Transform::None) = (text_test, self.kind, self.transform) {
            return Ok(Comparison::Text(test, value.text()?, !lookup.starts_with('i')));
        }
        if let (Kind::Array, Transform::None) = (self.kind, self.transform) {
            return self.array(lookup, value);
        }
        let fulfils: fn(Ordering) -> bool = match lookup {
            "exact" => Ordering::is_eq,
            "gt" => Ordering::is_gt,
            "gte" => Ordering::is_ge,
            "lt" => Ordering::is_lt,
            "lte" => Ordering::is_le,
            "regex" | "iregex" => return Err(Unanswered::beyond("match regular expressions")),
            _ if self.transform == Transform::None => return Err(unsupported(self.kind, lookup)),
            _ => return Err(Unanswered::beyond(&format!("know the lookup {lookup} after a transform"))),
        };
        if let (Kind::Text, false) = (self.kind, lookup == "exact") {
            return Err(Unanswered::beyond("know the order of text in Alyx's database"));
        }
        let up = matches!(lookup, "gte" | "lt");
        Ok(Comparison::Order(self.convert(value, up)?, fulfils, self.transform))
    }

    fn array(&self, lookup: &str, value: &Python) -> Result<Comparison> {
        match (lookup, value) {
            ("len", Python::Float(length)) if length.fract() == 0.0 => {
                Ok(Comparison::Length(truncated(*length)))
            }
            ("contains", Python::List(items)) => {
                let number = |item: &Python| match item {
                    Python::Float(number) => Ok(*number),
                    Python::Int(number) => Ok(as_float(*number)),
                    _ => Err(Unanswered::beyond("compare arrays with such a value")),
                };
                items.iter().map(number).collect::<Result<_>>().map(Comparison::Holds)
            }
            _ => Err(Unanswered::beyond(&format!("know the lookup {lookup} of the array {}", self.name))),
        }
    }

    pub(crate) fn several(&self, lookup: &str, value: &Python) -> Result<Comparison> {
        let items: Vec<Python> = match value {
            Python::List(items) => items.clone(),
            // A text is taken as its characters.
            Python::Text(text) => text.chars().map(|c| Python::Text(c.to_string())).collect(),
            Python::Dict(items) => items.iter().map(|(key, _)| Python::Text(key.clone())).collect(),
            scalar => {
                let kind = scalar.scalar_type().unwrap_or_default();
                return Err(Unanswered::failed(&format!("'{kind}' object is not iterable")));
            }
        };
        let known = items.iter().filter(|item| **item != Python::None);
        let scalars = known.map(|item| self.convert(item, false)).collect::<Result<Vec<_>>>()?;
        match (lookup, scalars.as_slice()) {
            ("in", _) => Ok(Comparison::Any(scalars, self.transform)),
            ("range", [from, until]) if !matches!(self.kind, Kind::Text) => {
                Ok(Comparison::Between(from.clone(), until.clone(), self.transform))
            }
            _ => Err(Unanswered::beyond("know such a range")),
        }
    }

    /// The value as what the column holds. Fractions on whole numbers are cut, or rounded `up`.
    fn convert(&self, value: &Python, up: bool) -> Result<Scalar> {
        let expected = |got: &str| {
            Unanswered::failed(&format!("Field '{}' expected a number but got {got}.", self.name))
        };
        match (self.kind, self.transform) {
            (_, Transform::Date) | (Kind::Date, Transform::None) => match read::day(&value.text()?) {
                Read::Is(day) => Ok(Scalar::Day(day)),
                Read::Not => Err(bad_day(&value.text()?)),
                Read::Unsure => Err(Unanswered::beyond(&format!("read {} as a day", value.text()?))),
            },
            (_, Transform::Time) => match read::clock(&value.text()?) {
                Some(time) => Ok(Scalar::Time(Date::MIN.to_datetime(time))),
                None => Err(Unanswered::beyond("read such a time of day")),
            },
            (Kind::DateTime, Transform::None) => match read::time(&value.text()?) {
                Read::Is(time) => Ok(Scalar::Time(time)),
                Read::Not if matches!(value, Python::Text(_)) => {
                    let form = "YYYY-MM-DD HH:MM[:ss[.uuuuuu]][TZ]";
                    let text = value.text()?;
                    let reason = format!("value has an invalid format. It must be in {form} format.");
                    Err(Unanswered::failed(&format!("['“{text}” {reason}']")))
                }
                Read::Not | Read::Unsure => Err(Unanswered::beyond("read such a time")),
            },
            (Kind::Integer | Kind::Labels(_), Transform::None)
            | (
                _,
                Transform::Year
                | Transform::Month
                | Transform::Day
                | Transform::Hour
                | Transform::Minute
                | Transform::Second
                | Transform::WeekDay,
            ) => match value {
                Python::Float(number) if up => Ok(Scalar::Number(number.ceil())),
                Python::Float(number) => Ok(Scalar::Number(number.trunc())),
                Python::Int(number) => Ok(Scalar::Number(as_float(*number))),
                Python::Bool(truth) => Ok(Scalar::Number(f64::from(u8::from(*truth)))),
                Python::Text(text) => match read::whole(text) {
                    Some(number) => Ok(Scalar::Number(as_float(number))),
                    None => Err(expected(&format!("'{text}'"))),
                },
                _ => Err(Unanswered::beyond("take such a value for a number")),
            },
            (Kind::Float, _) | (Kind::Array, Transform::Item(_)) => match value {
                Python::Float(number) => Ok(Scalar::Number(*number)),
                Python::Int(number) => Ok(Scalar::Number(as_float(*number))),
                Python::Bool(truth) => Ok(Scalar::Number(f64::from(u8::from(*truth)))),
                Python::Text(text) => match text.trim().replace('_', "").parse() {
                    Ok(number) => Ok(Scalar::Number(number)),
                    Err(_) => Err(expected(&format!("'{text}'"))),
                },
                _ => Err(Unanswered::beyond("take such a value for a number")),
            },
            (Kind::Uuid, _) => {
                let text = value.text()?;
                let bad = || Unanswered::failed(&format!("['“{text}” is not a valid UUID.']"));
                read::uuid(&text).map(Scalar::Text).ok_or_else(bad)
            }
            (Kind::Boolean, _) => match value {
                Python::Bool(truth) => Ok(Scalar::Bool(*truth)),
                Python::Float(number) if [0.0, 1.0].contains(number) => Ok(Scalar::Bool(*number > 0.5)),
                _ => Err(Unanswered::beyond("take such a value for true or false")),
            },
            (Kind::Text, _) => value.text().map(Scalar::Text),
            (Kind::Json | Kind::Array | Kind::Date | Kind::Integer | Kind::Labels(_) | Kind::DateTime, _) => {
                Err(Unanswered::beyond("compare such values"))
            }
        }
    }
}

/// Django's message for a day that is none.
pub(crate) fn bad_day(text: &str) -> Unanswered {
    let reason = "value has an invalid date format. It must be in YYYY-MM-DD format.";
    Unanswered::failed(&format!("['“{text}” {reason}']"))
}

#[allow(clippy::cast_precision_loss, reason = "numbers of records are small")]
pub(crate) fn as_float(number: i128) -> f64 {
    number as f64
}

#[allow(clippy::cast_possible_truncation, reason = "it is whole")]
fn truncated(number: f64) -> i128 {
    number as i128
}
