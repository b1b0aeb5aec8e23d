//! Lookups in free-form JSON: PostgreSQL's jsonb (REST.md 2.2, "JSON").

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value};

use super::Unanswered;
use super::{
    compare::{TextTest, text_holds},
    python::Python,
};

/// A test on a JSON column, or on what is under keys of it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Test {
    keys: Vec<String>,
    lookup: Lookup,
}

#[derive(Debug, Serialize, Deserialize)]
enum Lookup {
    /// The column is, or is not, null; under keys: the key is, or is not, absent.
    Null(bool),
    Equal(Value),
    In(Vec<Value>),
    Order(Value, Op),
    Text(TextTest, String, bool),
    HasKeys(Vec<String>),
    Contains(Value),
}

/// Which orders fulfil a comparison.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
enum Op {
    Gt,
    Gte,
    Lt,
    Lte,
}

impl Op {
    fn is_fulfilled(self, order: Ordering) -> bool {
        match self {
            Self::Gt => order.is_gt(),
            Self::Gte => order.is_ge(),
            Self::Lt => order.is_lt(),
            Self::Lte => order.is_le(),
        }
    }
}

const LOOKUPS: &[&str] = &[
    "exact",
    "iexact",
    "contains",
    "icontains",
    "startswith",
    "istartswith",
    "endswith",
    "iendswith",
    "in",
    "gt",
    "gte",
    "lt",
    "lte",
    "range",
    "isnull",
    "regex",
    "iregex",
    "has_key",
    "has_keys",
    "has_any_keys",
    "contained_by",
];

impl Test {
    /// Keys, then a lookup if the last is one.
    pub(crate) fn new(rest: &[&str], value: &Python) -> Result<Self, Unanswered> {
        let (keys, lookup) = match rest {
            [keys @ .., last] if LOOKUPS.contains(last) => (keys, *last),
            keys => (keys, "exact"),
        };
        let lookup = Lookup::new(lookup, value, !keys.is_empty())?;
        Ok(Self { keys: keys.iter().map(|&key| key.to_owned()).collect(), lookup })
    }

    /// Whether the column's value fulfils it; none is null. A record shows null for a column that is
    /// null and for one that holds JSON's null, so what tells the two apart can't be decided.
    pub(crate) fn holds(&self, column: Option<&Value>) -> Result<bool, Unanswered> {
        let tells_nulls_apart = match &self.lookup {
            Lookup::Null(_) => self.keys.is_empty(),
            Lookup::Equal(wanted) => self.keys.is_empty() && wanted.is_null(),
            _ => false,
        };
        if tells_nulls_apart && column.is_none() {
            return Err(two_nulls());
        }
        let value = self.under_keys(column);
        let numbers = self.numbers().any(|number| !exact(number)) || value.is_some_and(|value| !exact(value));
        if numbers {
            return Err(Unanswered::beyond("compare numbers of so many digits"));
        }
        Ok(self.fulfils(value))
    }

    /// Whether excluding what fulfils it leaves the record. Alyx's database drops a record that lacks the
    /// key, but not one whose column is null.
    pub(crate) fn leaves(&self, column: Option<&Value>) -> Result<bool, Unanswered> {
        match (self.keys.is_empty(), column, &self.lookup) {
            (_, _, Lookup::Null(_)) => Ok(!self.holds(column)?),
            (false, None, _) => Err(two_nulls()),
            (false, Some(_), _) if self.under_keys(column).is_none() => Ok(false),
            _ => Ok(!self.holds(column)?),
        }
    }

    /// The values that it compares with.
    fn numbers(&self) -> impl Iterator<Item = &Value> {
        let (one, several): (Option<&Value>, &[Value]) = match &self.lookup {
            Lookup::Equal(wanted) | Lookup::Order(wanted, _) | Lookup::Contains(wanted) => {
                (Some(wanted), &[])
            }
            Lookup::In(wanted) => (None, wanted),
            _ => (None, &[]),
        };
        one.into_iter().chain(several)
    }

    fn under_keys<'v>(&self, column: Option<&'v Value>) -> Option<&'v Value> {
        let mut value = column;
        for key in &self.keys {
            value = value.and_then(|value| match value {
                Value::Array(items) => {
                    let index: i64 = key.parse().ok()?;
                    let index = if index < 0 { index + i64::try_from(items.len()).ok()? } else { index };
                    items.get(usize::try_from(index).ok()?)
                }
                other => other.get(key.as_str()),
            });
        }
        value
    }

    fn fulfils(&self, value: Option<&Value>) -> bool {
        match (&self.lookup, value) {
            (Lookup::Null(wanted), value) => value.is_none() == *wanted,
            (_, None) => false,
            (Lookup::Equal(wanted), Some(value)) => order(value, wanted) == Ordering::Equal,
            (Lookup::In(wanted), Some(value)) => {
                wanted.iter().any(|one| order(value, one) == Ordering::Equal)
            }
            (Lookup::Order(wanted, fulfils), Some(value)) => fulfils.is_fulfilled(order(value, wanted)),
            (Lookup::Text(relation, wanted, cased), Some(value)) => {
                // Taken out as text, JSON's null is SQL's.
                let shown = match value {
                    Value::Null => return false,
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                };
                text_holds(*relation, &shown, wanted, *cased)
            }
            (Lookup::HasKeys(wanted), Some(value)) => wanted.iter().all(|key| match value {
                Value::Array(items) => items.iter().any(|item| item.as_str() == Some(key)),
                other => other.get(key.as_str()).is_some(),
            }),
            (Lookup::Contains(wanted), Some(value)) => contains(value, wanted),
        }
    }
}

fn two_nulls() -> Unanswered {
    Unanswered::beyond("tell a column that is null from one that holds JSON's null")
}

/// Whether a number is read without loss. Jsonb compares every digit.
fn exact(value: &Value) -> bool {
    const GREATEST: f64 = 9_007_199_254_740_992.0;
    match value {
        Value::Number(number) => number.as_f64().is_some_and(|number| number.abs() < GREATEST),
        Value::Array(items) => items.iter().all(exact),
        Value::Object(items) => items.values().all(exact),
        _ => true,
    }
}

impl Lookup {
    fn new(lookup: &str, value: &Python, under_keys: bool) -> Result<Self, Unanswered> {
        let text = |test, cased| value.text().map(|text| Self::Text(test, text, cased));
        let order = |fulfils| value_of(value).map(|value| Self::Order(value, fulfils));
        match (lookup, value) {
            ("isnull", Python::Bool(wanted)) => Ok(Self::Null(*wanted)),
            ("isnull", _) => {
                Err(Unanswered::failed("The QuerySet value for an isnull lookup must be True or False."))
            }
            ("exact", _) => value_of(value).map(Self::Equal),
            ("has_key", _) => Ok(Self::HasKeys(vec![value.text()?])),
            ("has_keys", Python::List(keys)) => {
                keys.iter().map(Python::text).collect::<Result<_, _>>().map(Self::HasKeys)
            }
            ("contains", _) if !under_keys => value_of(value).map(Self::Contains),
            ("in", Python::List(items)) if under_keys => {
                items.iter().map(value_of).collect::<Result<_, _>>().map(Self::In)
            }
            (_, Python::None) => Err(Unanswered::beyond("compare JSON with None so")),
            ("gt", _) if under_keys => order(Op::Gt),
            ("gte", _) if under_keys => order(Op::Gte),
            ("lt", _) if under_keys => order(Op::Lt),
            ("lte", _) if under_keys => order(Op::Lte),
            ("icontains", Python::Text(_)) if under_keys => text(TextTest::Contains, false),
            ("startswith", Python::Text(_)) if under_keys => text(TextTest::Starts, true),
            ("istartswith", Python::Text(_)) if under_keys => text(TextTest::Starts, false),
            ("endswith", Python::Text(_)) if under_keys => text(TextTest::Ends, true),
            ("iendswith", Python::Text(_)) if under_keys => text(TextTest::Ends, false),
            _ => Err(Unanswered::beyond(&format!("know the lookup {lookup} of JSON"))),
        }
    }
}

fn value_of(value: &Python) -> Result<Value, Unanswered> {
    let number = |number: f64| {
        Number::from_f64(number)
            .map(Value::Number)
            .ok_or_else(|| Unanswered::beyond("compare JSON with such a number"))
    };
    Ok(match value {
        Python::None => Value::Null,
        Python::Bool(truth) => Value::Bool(*truth),
        Python::Int(whole) => match i64::try_from(*whole) {
            Ok(whole) => Value::from(whole),
            Err(_) => return Err(Unanswered::beyond("compare JSON with such a number")),
        },
        Python::Float(float) => number(*float)?,
        Python::Text(text) => Value::from(text.as_str()),
        Python::List(items) => Value::Array(items.iter().map(value_of).collect::<Result<_, _>>()?),
        Python::Dict(items) => {
            let pair = |(key, value): &(String, Python)| Ok((key.clone(), value_of(value)?));
            Value::Object(items.iter().map(pair).collect::<Result<Map<_, _>, Unanswered>>()?)
        }
    })
}

/// The order of jsonb: object > array > boolean > number > text > null, an empty array below all.
fn order(own: &Value, other: &Value) -> Ordering {
    let rank = |value: &Value| match value {
        Value::Array(items) if items.is_empty() => 0,
        Value::Null => 1,
        Value::String(_) => 2,
        Value::Number(_) => 3,
        Value::Bool(_) => 4,
        Value::Array(_) => 5,
        Value::Object(_) => 6,
    };
    match (own, other) {
        (Value::String(own), Value::String(other)) => own.cmp(other),
        (Value::Bool(own), Value::Bool(other)) => own.cmp(other),
        (Value::Number(own), Value::Number(other)) => {
            own.as_f64().partial_cmp(&other.as_f64()).unwrap_or(Ordering::Equal)
        }
        (Value::Array(own), Value::Array(other)) => own.len().cmp(&other.len()).then_with(|| {
            own.iter()
                .zip(other)
                .map(|(own, other)| order(own, other))
                .find(|o| o.is_ne())
                .unwrap_or(Ordering::Equal)
        }),
        (Value::Object(own), Value::Object(other)) => {
            let same = own.len() == other.len()
                && own.iter().all(|(key, own)| other.get(key).is_some_and(|other| order(own, other).is_eq()));
            if same { Ordering::Equal } else { Ordering::Greater }
        }
        _ => rank(own).cmp(&rank(other)),
    }
}

/// PostgreSQL's `@>`.
fn contains(own: &Value, wanted: &Value) -> bool {
    match (own, wanted) {
        (Value::Object(own), Value::Object(wanted)) => {
            wanted.iter().all(|(key, wanted)| own.get(key).is_some_and(|own| contains(own, wanted)))
        }
        (Value::Array(own), Value::Array(wanted)) => {
            wanted.iter().all(|wanted| own.iter().any(|own| contains(own, wanted)))
        }
        (Value::Array(own), wanted) => own.iter().any(|own| order(own, wanted).is_eq()),
        _ => order(own, wanted).is_eq(),
    }
}
