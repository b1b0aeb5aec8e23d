//! Comparing a cell with a value: Django's lookups on PostgreSQL's columns (REST.md 2.2).

use std::cmp::Ordering;

use serde_json::Value;

use super::{
    convert::Typed,
    json,
    path::{Cell, Leaf, Path},
    python::Python,
    read,
    scalar::{Scalar, Transform, order, scalar},
};
use crate::{alyx::model::Kind, demo::answer::Answer};

/// A comparison, its value converted to what the column holds.
#[derive(Debug)]
pub(super) enum Comparison {
    /// Is, or is not, null.
    Null(bool),
    /// A value's order against this: which orders fulfil it.
    Order(Scalar, fn(Ordering) -> bool, Transform),
    /// Equal to any of these.
    Any(Vec<Scalar>, Transform),
    /// Between these, both included.
    Between(Scalar, Scalar, Transform),
    /// A text's relation to a text; the second says whether case counts.
    Text(TextTest, String, bool),
    /// A test on free-form JSON.
    Json(json::Test),
    /// As many items in an array.
    Length(i128),
    /// All these numbers in an array.
    Holds(Vec<f64>),
}

/// How one text relates to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TextTest {
    Is,
    Contains,
    Starts,
    Ends,
}

type Result<T> = std::result::Result<T, Answer>;

impl Comparison {
    /// Reads what is left of a path, its transforms and lookup, and the value.
    pub(super) fn new(path: &Path, value: &Python) -> Result<Self> {
        let rest: Vec<&str> = path.rest.iter().map(String::as_str).collect();
        let Leaf::Value { name, kind, .. } = path.leaf else {
            return match rest.as_slice() {
                [] if *value == Python::None => Ok(Self::Null(true)),
                ["isnull"] => is_null(value),
                _ => Err(Answer::beyond("know the key of such a record")),
            };
        };
        if let Kind::Json = kind {
            return json::Test::new(&rest, value).map(Self::Json);
        }
        let (transform, lookup) = transform(kind, &rest)?;
        let column = Typed { name, kind, transform };
        match (lookup, value) {
            ("isnull", _) => is_null(value),
            ("exact" | "iexact", Python::None) => Ok(Self::Null(true)),
            ("in" | "range", _) => column.several(lookup, value),
            (_, Python::None) => Err(Answer::failed("Cannot use None as a query value")),
            _ => column.single(lookup, value),
        }
    }

    /// Whether excluding what fulfils it leaves a record with these cells.
    pub(super) fn leaves(&self, leaf: Leaf, cells: &[Cell<'_>]) -> Result<bool> {
        if let (Self::Json(test), [cell]) = (self, cells) {
            return test.leaves(match cell {
                Cell::Value(value) => Some(value.as_ref()),
                _ => None,
            });
        }
        for cell in cells {
            if self.holds(leaf, cell)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether a cell fulfils it. Null fulfils nothing but the question whether it is null.
    pub(super) fn holds(&self, leaf: Leaf, cell: &Cell<'_>) -> Result<bool> {
        let value = match (self, cell) {
            (Self::Json(test), Cell::Null) => return test.holds(None),
            (Self::Null(wanted), cell) => return Ok(matches!(cell, Cell::Null) == *wanted),
            (_, Cell::Null) => return Ok(false),
            (_, Cell::Exists) => return Ok(true),
            (_, Cell::Value(value)) => value.as_ref(),
        };
        match self {
            Self::Json(test) => test.holds(Some(value)),
            Self::Text(relation, text, cased) => Ok(text_holds(*relation, &shown(value), text, *cased)),
            Self::Length(length) => {
                Ok(value.as_array().is_some_and(|items| items.len() as i128 == *length && !items.is_empty()))
            }
            Self::Holds(wanted) => {
                let items: Vec<f64> =
                    value.as_array().into_iter().flatten().filter_map(Value::as_f64).collect();
                Ok(wanted.iter().all(|one| items.contains(one)))
            }
            Self::Order(wanted, fulfils, transform) => {
                if is_other_label(leaf, value, std::slice::from_ref(wanted)) && is_equality(*fulfils) {
                    return Ok(false);
                }
                Ok(scalar(leaf, value, *transform)?
                    .is_some_and(|own| order(&own, wanted).is_some_and(fulfils)))
            }
            Self::Any(wanted, _) if is_other_label(leaf, value, wanted) => Ok(false),
            Self::Any(wanted, transform) => {
                let Some(own) = scalar(leaf, value, *transform)? else { return Ok(false) };
                Ok(wanted.iter().any(|one| order(&own, one) == Some(Ordering::Equal)))
            }
            Self::Between(from, until, transform) => {
                let Some(own) = scalar(leaf, value, *transform)? else { return Ok(false) };
                let (low, high) = (order(&own, from), order(&own, until));
                Ok(low.is_some_and(Ordering::is_ge) && high.is_some_and(Ordering::is_le))
            }
            Self::Null(_) => Ok(false),
        }
    }
}

/// Whether this is a label whose number is not known, but can't be one of these: they are others'.
fn is_other_label(leaf: Leaf, value: &Value, wanted: &[Scalar]) -> bool {
    let Leaf::Value { kind: Kind::Labels(labels), .. } = leaf else { return false };
    let numbers = labels.labels.iter().filter_map(|(number, _)| *number);
    #[allow(clippy::cast_precision_loss, reason = "codes are small")]
    let numbers: Vec<Scalar> = numbers.map(|number| Scalar::Number(number as f64)).collect();
    labels.number(value.as_str().unwrap_or_default()).is_none()
        && wanted.iter().all(|one| numbers.contains(one))
}

fn is_equality(fulfils: fn(Ordering) -> bool) -> bool {
    fulfils(Ordering::Equal) && !fulfils(Ordering::Less) && !fulfils(Ordering::Greater)
}

fn is_null(value: &Python) -> Result<Comparison> {
    match value {
        Python::Bool(wanted) => Ok(Comparison::Null(*wanted)),
        Python::None => Err(Answer::failed("Cannot use None as a query value")),
        _ => Err(Answer::failed("The QuerySet value for an isnull lookup must be True or False.")),
    }
}

/// The transform and the lookup that are left of a path.
fn transform<'p>(kind: Kind, rest: &[&'p str]) -> Result<(Transform, &'p str)> {
    let [first, others @ ..] = rest else { return Ok((Transform::None, "exact")) };
    let transform = match (kind, *first) {
        (Kind::DateTime, "date") => Transform::Date,
        (Kind::DateTime, "time") => Transform::Time,
        (Kind::DateTime, "hour") => Transform::Hour,
        (Kind::DateTime, "minute") => Transform::Minute,
        (Kind::DateTime, "second") => Transform::Second,
        (Kind::DateTime | Kind::Date, "year") => Transform::Year,
        (Kind::DateTime | Kind::Date, "month") => Transform::Month,
        (Kind::DateTime | Kind::Date, "day") => Transform::Day,
        (Kind::DateTime | Kind::Date, "week_day") => Transform::WeekDay,
        (Kind::Array, index) if read::whole(index).is_some() => {
            Transform::Item(index.parse().map_err(|_| unsupported(kind, index))?)
        }
        _ => Transform::None,
    };
    match (transform, others, rest) {
        (Transform::None, [], [lookup]) | (_, [lookup], [_, _])
            if transform != Transform::None || rest.len() == 1 =>
        {
            Ok((transform, lookup))
        }
        (_, [], _) => Ok((transform, "exact")),
        _ => Err(unsupported(kind, first)),
    }
}

pub(super) fn unsupported(kind: Kind, lookup: &str) -> Answer {
    let field = match kind {
        Kind::Integer => "IntegerField",
        Kind::Uuid => "UUIDField",
        _ => return Answer::beyond(&format!("know the lookup {lookup}")),
    };
    let reason = "or join on the field not permitted.";
    Answer::failed(&format!("Unsupported lookup '{lookup}' for {field} {reason}"))
}

/// The text of a value as its column holds it.
fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

pub(super) fn text_holds(test: TextTest, own: &str, wanted: &str, cased: bool) -> bool {
    if !cased {
        return text_holds(test, &upper(own), &upper(wanted), true);
    }
    match test {
        TextTest::Is => own == wanted,
        TextTest::Contains => own.contains(wanted),
        TextTest::Starts => own.starts_with(wanted),
        TextTest::Ends => own.ends_with(wanted),
    }
}

/// PostgreSQL's UPPER: letter by letter, and only where one letter becomes one letter.
fn upper(text: &str) -> String {
    let letter = |c: char| {
        let mut upper = c.to_uppercase();
        match (upper.next(), upper.next()) {
            (Some(single), None) => single,
            _ => c,
        }
    };
    text.chars().map(letter).collect()
}
