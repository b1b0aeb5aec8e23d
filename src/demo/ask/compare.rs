//! Comparing a cell with a value: Django's lookups on PostgreSQL's columns (REST.md 2.2).

use std::cmp::Ordering;

use jiff::civil::{Date, DateTime};
use serde_json::Value;

use super::{
    json,
    path::{Cell, Leaf, Path},
    python::Python,
    read::{self, Read},
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

/// What is compared.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Scalar {
    Text(String),
    Number(f64),
    Bool(bool),
    Time(DateTime),
    Day(Date),
}

/// What is taken of a value before it is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transform {
    None,
    Date,
    Year,
    Month,
    Day,
    Hour,
    Minute,
    Second,
    WeekDay,
    Time,
    Item(usize),
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
            Self::Text(test, text, cased) => Ok(text_holds(*test, &shown(value), text, *cased)),
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

fn unsupported(kind: Kind, lookup: &str) -> Answer {
    let field = match kind {
        Kind::Integer => "IntegerField",
        Kind::Uuid => "UUIDField",
        _ => return Answer::beyond(&format!("know the lookup {lookup}")),
    };
    let reason = "or join on the field not permitted.";
    Answer::failed(&format!("Unsupported lookup '{lookup}' for {field} {reason}"))
}

/// A column with what is taken of its values.
struct Typed {
    name: &'static str,
    kind: Kind,
    transform: Transform,
}

impl Typed {
    fn single(&self, lookup: &str, value: &Python) -> Result<Comparison> {
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
            "regex" | "iregex" => return Err(Answer::beyond("match regular expressions")),
            _ if self.transform == Transform::None => return Err(unsupported(self.kind, lookup)),
            _ => return Err(Answer::beyond(&format!("know the lookup {lookup} after a transform"))),
        };
        if let (Kind::Text, false) = (self.kind, lookup == "exact") {
            return Err(Answer::beyond("know the order of text in Alyx's database"));
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
                    _ => Err(Answer::beyond("compare arrays with such a value")),
                };
                items.iter().map(number).collect::<Result<_>>().map(Comparison::Holds)
            }
            _ => Err(Answer::beyond(&format!("know the lookup {lookup} of the array {}", self.name))),
        }
    }

    fn several(&self, lookup: &str, value: &Python) -> Result<Comparison> {
        let items: Vec<Python> = match value {
            Python::List(items) => items.clone(),
            // A text is taken as its characters.
            Python::Text(text) => text.chars().map(|c| Python::Text(c.to_string())).collect(),
            Python::Dict(items) => items.iter().map(|(key, _)| Python::Text(key.clone())).collect(),
            scalar => {
                let kind = scalar.scalar_type().unwrap_or_default();
                return Err(Answer::failed(&format!("'{kind}' object is not iterable")));
            }
        };
        let known = items.iter().filter(|item| **item != Python::None);
        let scalars = known.map(|item| self.convert(item, false)).collect::<Result<Vec<_>>>()?;
        match (lookup, scalars.as_slice()) {
            ("in", _) => Ok(Comparison::Any(scalars, self.transform)),
            ("range", [from, until]) if !matches!(self.kind, Kind::Text) => {
                Ok(Comparison::Between(from.clone(), until.clone(), self.transform))
            }
            _ => Err(Answer::beyond("know such a range")),
        }
    }

    /// The value as what the column holds. Fractions on whole numbers are cut, or rounded `up`.
    fn convert(&self, value: &Python, up: bool) -> Result<Scalar> {
        let expected =
            |got: &str| Answer::failed(&format!("Field '{}' expected a number but got {got}.", self.name));
        match (self.kind, self.transform) {
            (_, Transform::Date) | (Kind::Date, Transform::None) => match read::day(&value.text()?) {
                Read::Is(day) => Ok(Scalar::Day(day)),
                Read::Not => Err(bad_day(&value.text()?)),
                Read::Unsure => Err(Answer::beyond(&format!("read {} as a day", value.text()?))),
            },
            (_, Transform::Time) => match read::clock(&value.text()?) {
                Some(time) => Ok(Scalar::Time(Date::MIN.to_datetime(time))),
                None => Err(Answer::beyond("read such a time of day")),
            },
            (Kind::DateTime, Transform::None) => match read::time(&value.text()?) {
                Read::Is(time) => Ok(Scalar::Time(time)),
                Read::Not if matches!(value, Python::Text(_)) => {
                    let form = "YYYY-MM-DD HH:MM[:ss[.uuuuuu]][TZ]";
                    let text = value.text()?;
                    let reason = format!("value has an invalid format. It must be in {form} format.");
                    Err(Answer::failed(&format!("['“{text}” {reason}']")))
                }
                Read::Not | Read::Unsure => Err(Answer::beyond("read such a time")),
            },
            (Kind::Integer | Kind::Labels(_), Transform::None)
            | (_, Transform::Year | Transform::Month | Transform::Day | Transform::Hour)
            | (_, Transform::Minute | Transform::Second | Transform::WeekDay) => match value {
                Python::Float(number) if up => Ok(Scalar::Number(number.ceil())),
                Python::Float(number) => Ok(Scalar::Number(number.trunc())),
                Python::Int(number) => Ok(Scalar::Number(as_float(*number))),
                Python::Bool(truth) => Ok(Scalar::Number(f64::from(u8::from(*truth)))),
                Python::Text(text) => match read::whole(text) {
                    Some(number) => Ok(Scalar::Number(as_float(number))),
                    None => Err(expected(&format!("'{text}'"))),
                },
                _ => Err(Answer::beyond("take such a value for a number")),
            },
            (Kind::Float, _) | (Kind::Array, Transform::Item(_)) => match value {
                Python::Float(number) => Ok(Scalar::Number(*number)),
                Python::Int(number) => Ok(Scalar::Number(as_float(*number))),
                Python::Bool(truth) => Ok(Scalar::Number(f64::from(u8::from(*truth)))),
                Python::Text(text) => match text.trim().replace('_', "").parse() {
                    Ok(number) => Ok(Scalar::Number(number)),
                    Err(_) => Err(expected(&format!("'{text}'"))),
                },
                _ => Err(Answer::beyond("take such a value for a number")),
            },
            (Kind::Uuid, _) => {
                let text = value.text()?;
                let bad = || Answer::failed(&format!("['“{text}” is not a valid UUID.']"));
                read::uuid(&text).map(Scalar::Text).ok_or_else(bad)
            }
            (Kind::Boolean, _) => match value {
                Python::Bool(truth) => Ok(Scalar::Bool(*truth)),
                Python::Float(number) if *number == 0.0 || *number == 1.0 => Ok(Scalar::Bool(*number == 1.0)),
                _ => Err(Answer::beyond("take such a value for true or false")),
            },
            (Kind::Text, _) => value.text().map(Scalar::Text),
            (Kind::Json | Kind::Array | Kind::Date | Kind::Integer | Kind::Labels(_) | Kind::DateTime, _) => {
                Err(Answer::beyond("compare such values"))
            }
        }
    }
}

/// Django's message for a day that is none.
pub(super) fn bad_day(text: &str) -> Answer {
    let reason = "value has an invalid date format. It must be in YYYY-MM-DD format.";
    Answer::failed(&format!("['“{text}” {reason}']"))
}

#[allow(clippy::cast_precision_loss, reason = "numbers of records are small")]
pub(super) fn as_float(number: i128) -> f64 {
    number as f64
}

#[allow(clippy::cast_possible_truncation, reason = "it is whole")]
fn truncated(number: f64) -> i128 {
    number as i128
}

/// The text of a value as its column holds it.
fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// What the database holds where the record shows this value.
fn scalar(leaf: Leaf, value: &Value, transform: Transform) -> Result<Option<Scalar>> {
    let Leaf::Value { kind, .. } = leaf else { return Ok(None) };
    if let Transform::Item(index) = transform {
        return Ok(value.get(index).and_then(Value::as_f64).map(Scalar::Number));
    }
    Ok(match kind {
        Kind::Text | Kind::Uuid | Kind::Json | Kind::Array => {
            value.as_str().map(|t| Scalar::Text(t.to_owned()))
        }
        Kind::Integer => value.as_f64().map(Scalar::Number),
        Kind::Float => number(value).map(Scalar::Number),
        Kind::Boolean => value.as_bool().map(Scalar::Bool),
        Kind::Labels(labels) => {
            let label = value.as_str().unwrap_or_default();
            let unknown = || Answer::beyond(&format!("know the number of {} {label}", labels.name));
            #[allow(clippy::cast_precision_loss, reason = "codes are small")]
            let number = labels.number(label).ok_or_else(unknown)? as f64;
            Some(Scalar::Number(number))
        }
        Kind::Date => value.as_str().and_then(|text| text.parse().ok()).map(|day| taken(day, transform)),
        Kind::DateTime => {
            value.as_str().and_then(|text| text.parse().ok()).map(|time| taken_of_time(time, transform))
        }
    })
}

/// A floating-point number, also one that JSON has no number for.
fn number(value: &Value) -> Option<f64> {
    match value.as_str() {
        Some("NaN") => Some(f64::NAN),
        Some("Infinity") => Some(f64::INFINITY),
        Some("-Infinity") => Some(f64::NEG_INFINITY),
        Some(_) => None,
        None => value.as_f64(),
    }
}

fn taken(day: Date, transform: Transform) -> Scalar {
    let number = |number: i16| Scalar::Number(f64::from(number));
    match transform {
        Transform::Year => number(day.year()),
        Transform::Month => number(day.month().into()),
        Transform::Day => number(day.day().into()),
        // Sunday is 1.
        Transform::WeekDay => number(i16::from(day.weekday().to_sunday_one_offset())),
        _ => Scalar::Day(day),
    }
}

fn taken_of_time(time: DateTime, transform: Transform) -> Scalar {
    let number = |number: i8| Scalar::Number(f64::from(number));
    match transform {
        Transform::Date | Transform::Year | Transform::Month | Transform::Day | Transform::WeekDay => {
            taken(time.date(), transform)
        }
        Transform::Hour => number(time.hour()),
        Transform::Minute => number(time.minute()),
        Transform::Second => number(time.second()),
        Transform::Time => Scalar::Time(Date::MIN.to_datetime(time.time())),
        Transform::None | Transform::Item(_) => Scalar::Time(time),
    }
}

/// The order of two scalars of one kind. For PostgreSQL NaN is equal to itself and above all else.
fn order(own: &Scalar, other: &Scalar) -> Option<Ordering> {
    match (own, other) {
        (Scalar::Text(own), Scalar::Text(other)) => Some(own.cmp(other)),
        (Scalar::Bool(own), Scalar::Bool(other)) => Some(own.cmp(other)),
        (Scalar::Time(own), Scalar::Time(other)) => Some(own.cmp(other)),
        (Scalar::Day(own), Scalar::Day(other)) => Some(own.cmp(other)),
        (Scalar::Number(own), Scalar::Number(other)) => match (own.is_nan(), other.is_nan()) {
            (true, true) => Some(Ordering::Equal),
            (true, false) => Some(Ordering::Greater),
            (false, true) => Some(Ordering::Less),
            (false, false) => own.partial_cmp(other),
        },
        _ => None,
    }
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
