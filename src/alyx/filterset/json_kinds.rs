//! The lookups of Django's `JSONField` and of what is under its keys, read from the value of a pair (ALYX.md 2.2, "JSON").

use std::{cmp::Ordering, sync::OnceLock};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{QueryError, compare::TextTest, jsonb::value_of, python_literal::Python, regex::Pattern};

/// What is asked of a value.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum JsonLookup {
    /// The column is, or is not, null; under keys: the key is, or is not, absent.
    Null(bool),
    Equal(Value),
    In(Vec<Value>),
    Order(Value, Op),
    Between(Value, Value),
    Text(TextTest, String, bool),
    Matches(JsonPattern),
    /// All of these keys.
    HasKeys(Vec<String>),
    /// Any of these keys.
    HasAnyKey(Vec<String>),
    Contains(Value),
    ContainedBy(Value),
}

/// A regular expression that is found in a value's text.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct JsonPattern {
    text: String,
    pub(super) ascii: bool,
    #[serde(skip)]
    compiled: OnceLock<Option<regex::bytes::Regex>>,
}

impl JsonPattern {
    /// The expression made ready, once.
    pub(super) fn compiled(&self) -> Option<&regex::bytes::Regex> {
        self.compiled.get_or_init(|| regex::bytes::Regex::new(&self.text).ok()).as_ref()
    }
}

/// Which orders fulfil a comparison.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) enum Op {
    Gt,
    Gte,
    Lt,
    Lte,
}

impl Op {
    pub(super) fn is_fulfilled(self, order: Ordering) -> bool {
        match self {
            Self::Gt => order.is_gt(),
            Self::Gte => order.is_ge(),
            Self::Lt => order.is_lt(),
            Self::Lte => order.is_le(),
        }
    }
}

impl JsonLookup {
    pub(super) fn new(lookup: &str, value: &Python) -> Result<Self, QueryError> {
        let text = |test, cased| value.text().map(|text| Self::Text(test, text, cased));
        let order = |fulfils| value_of(value).map(|value| Self::Order(value, fulfils));
        match (lookup, value) {
            ("isnull", Python::Bool(wanted)) => Ok(Self::Null(*wanted)),
            ("iexact", Python::None) => Ok(Self::Null(true)),
            ("exact", _) => value_of(value).map(Self::Equal),
            ("in" | "range" | "has_keys" | "has_any_keys", _) => Self::of_several(lookup, value),
            (_, Python::None) => Err(QueryError::failed("Cannot use None as a query value")),
            ("isnull", _) => {
                Err(QueryError::failed("The QuerySet value for an isnull lookup must be True or False."))
            }
            ("has_key", Python::Text(key)) => Ok(Self::HasKeys(vec![key.clone()])),
            ("contains", _) => value_of(value).map(Self::Contains),
            ("contained_by", _) => value_of(value).map(Self::ContainedBy),
            ("gt", _) => order(Op::Gt),
            ("gte", _) => order(Op::Gte),
            ("lt", _) => order(Op::Lt),
            ("lte", _) => order(Op::Lte),
            ("iexact", Python::Text(_)) => text(TextTest::Is, false),
            ("icontains", _) => text(TextTest::Contains, false),
            ("startswith", _) => text(TextTest::Starts, true),
            ("istartswith", _) => text(TextTest::Starts, false),
            ("endswith", _) => text(TextTest::Ends, true),
            ("iendswith", _) => text(TextTest::Ends, false),
            ("regex" | "iregex", Python::Text(text)) => {
                let Pattern { text, ascii } = Pattern::new(text, lookup == "iregex")?;
                Ok(Self::Matches(JsonPattern { text, ascii, compiled: OnceLock::new() }))
            }
            _ => Err(QueryError::beyond(&format!("know the lookup {lookup} of JSON"))),
        }
    }

    fn of_several(lookup: &str, value: &Python) -> Result<Self, QueryError> {
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
        let texts = || items.iter().map(Python::text).collect::<Result<Vec<_>, _>>();
        match (lookup, items.as_slice()) {
            ("has_keys", _) => texts().map(Self::HasKeys),
            ("has_any_keys", _) => texts().map(Self::HasAnyKey),
            ("range", [from, until]) if ![from, until].contains(&&Python::None) => {
                Ok(Self::Between(value_of(from)?, value_of(until)?))
            }
            ("in", _) => different(items).iter().map(value_of).collect::<Result<_, _>>().map(Self::In),
            _ => Err(QueryError::beyond("know such a range")),
        }
    }

    /// The values that it compares with.
    pub(super) fn values(&self) -> Vec<&Value> {
        match self {
            Self::Equal(wanted)
            | Self::Order(wanted, _)
            | Self::Contains(wanted)
            | Self::ContainedBy(wanted) => {
                vec![wanted]
            }
            Self::Between(from, until) => vec![from, until],
            Self::In(wanted) => wanted.iter().collect(),
            Self::Null(_) | Self::Text(..) | Self::Matches(_) | Self::HasKeys(_) | Self::HasAnyKey(_) => {
                Vec::new()
            }
        }
    }
}

/// Without what is None; and without what Python finds equal to one before, as 1 and True, unless a list or dict is among
/// them, which it has no sets of.
fn different(items: Vec<Python>) -> Vec<Python> {
    let known: Vec<Python> = items.into_iter().filter(|item| *item != Python::None).collect();
    if known.iter().any(|item| matches!(item, Python::List(_) | Python::Dict(_))) {
        return known;
    }
    #[allow(clippy::cast_precision_loss, reason = "only greater ones than JSON holds lose digits")]
    let number = |item: &Python| match item {
        Python::Bool(truth) => Some(f64::from(u8::from(*truth))),
        Python::Int(number) => Some(*number as f64),
        Python::Float(number) => Some(*number),
        _ => None,
    };
    let is_same = |a: &Python, b: &Python| a == b || number(a).is_some() && number(a) == number(b);
    let mut different: Vec<Python> = Vec::new();
    for item in known {
        if !different.iter().any(|before| is_same(before, &item)) {
            different.push(item);
        }
    }
    different
}
