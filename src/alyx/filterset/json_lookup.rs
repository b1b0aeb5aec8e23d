//! Lookups in free-form JSON: PostgreSQL's jsonb (ALYX.md 2.2, "JSON").

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    QueryError,
    compare::{TextTest, text_holds},
    jsonb::{contains, exact, has_number, has_sure_order, order, orders_text, text_of, value_of},
    parse::{self, Parsed},
    python_literal::Python,
};

/// A test on a JSON column, or on what is under keys of it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct JsonPredicate {
    keys: Vec<String>,
    lookup: JsonLookup,
}

#[derive(Debug, Serialize, Deserialize)]
enum JsonLookup {
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

impl JsonPredicate {
    /// Keys, then a lookup if the last is one.
    pub(crate) fn new(rest: &[&str], value: &Python) -> Result<Self, QueryError> {
        let (keys, lookup) = match rest {
            [keys @ .., last] if LOOKUPS.contains(last) => (keys, *last),
            keys => (keys, "exact"),
        };
        if keys.iter().any(|key| LOOKUPS.contains(key)) {
            return Err(QueryError::beyond("know a lookup of a lookup"));
        }
        let lookup = JsonLookup::new(lookup, value, !keys.is_empty())?;
        if let [key] = keys
            && !is_certain(key)
        {
            return Err(QueryError::beyond(&format!("read the key {key} as Django does")));
        }
        Ok(Self { keys: keys.iter().map(|&key| key.to_owned()).collect(), lookup })
    }

    /// Whether it asks for nothing: fulfilled also where a relation to the column's record leads nowhere.
    pub(crate) fn wants_null(&self) -> bool {
        matches!(self.lookup, JsonLookup::Null(true))
    }

    /// Whether the column's value fulfils it; none is null. A record shows null for a column that is
    /// null and for one that holds JSON's null, so what tells the two apart can't be decided.
    pub(crate) fn holds(&self, column: Option<&Value>) -> Result<bool, QueryError> {
        // Also JSON's null counts as an array of one.
        let in_array = matches!(self.keys.as_slice(), [key] if is_of_scalar(key));
        let tells_nulls_apart = match &self.lookup {
            JsonLookup::Null(_) => self.keys.is_empty() || in_array,
            JsonLookup::Equal(wanted) => (self.keys.is_empty() || in_array) && wanted.is_null(),
            JsonLookup::Order(..) => in_array,
            _ => false,
        };
        if tells_nulls_apart && column.is_none() {
            return Err(two_nulls());
        }
        let value = self.under_keys(column);
        let wanted_exact = self.numbers().all(exact);
        let matters = match &self.lookup {
            JsonLookup::Null(_) | JsonLookup::HasKeys(_) => false,
            JsonLookup::Text(..) => true,
            // Numbers are only compared with numbers.
            _ => !wanted_exact || self.numbers().any(has_number),
        };
        if matters && !(wanted_exact && value.is_none_or(exact)) {
            return Err(QueryError::beyond("compare numbers of so many digits"));
        }
        self.fulfils(value)
    }

    /// Whether excluding what fulfils it leaves the record. Alyx's database drops a record that lacks the
    /// key, but not one whose column is null.
    pub(crate) fn leaves(&self, column: Option<&Value>) -> Result<bool, QueryError> {
        match (self.keys.is_empty(), column, &self.lookup) {
            (_, _, JsonLookup::Null(_)) => Ok(!self.holds(column)?),
            (false, None, _) => Err(two_nulls()),
            (_, _, JsonLookup::In(wanted)) if wanted.is_empty() => {
                Err(QueryError::beyond("exclude what is among nothing"))
            }
            (false, Some(_), _) if self.under_keys(column).is_none() => Ok(false),
            _ => Ok(!self.holds(column)?),
        }
    }

    /// The same where a column that shows null holds no JSON's null, but nothing.
    pub(crate) fn leaves_where_null_is_nothing(&self, column: Option<&Value>) -> Result<bool, QueryError> {
        match (self.keys.is_empty(), column, &self.lookup) {
            (_, _, JsonLookup::Null(_)) | (true, ..) | (_, Some(_), _) => self.leaves(column),
            (false, None, _) => Ok(true),
        }
    }

    /// The values that it compares with.
    fn numbers(&self) -> impl Iterator<Item = &Value> {
        let (one, several): (Option<&Value>, &[Value]) = match &self.lookup {
            JsonLookup::Equal(wanted) | JsonLookup::Order(wanted, _) | JsonLookup::Contains(wanted) => {
                (Some(wanted), &[])
            }
            JsonLookup::In(wanted) => (None, wanted),
            _ => (None, &[]),
        };
        one.into_iter().chain(several)
    }

    /// What is under the keys. A single key that is a whole number is a place in an array, as which a scalar counts
    /// that stands alone; of several keys each is what fits (PostgreSQL's `->` and `#>`).
    fn under_keys<'v>(&self, column: Option<&'v Value>) -> Option<&'v Value> {
        let mut value = column;
        if let [key] = self.keys.as_slice()
            && let Parsed::Is(place) = parse::whole(key)
        {
            return match value? {
                Value::Array(items) => {
                    let count = i128::try_from(items.len()).ok()?;
                    items.get(usize::try_from(if place < 0 { place + count } else { place }).ok()?)
                }
                Value::Object(_) => None,
                scalar => is_of_scalar(key).then_some(scalar),
            };
        }
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

    fn fulfils(&self, value: Option<&Value>) -> Result<bool, QueryError> {
        Ok(match (&self.lookup, value) {
            (JsonLookup::Null(wanted), value) => value.is_none() == *wanted,
            (_, None) => false,
            (JsonLookup::Equal(wanted), Some(value)) => order(value, wanted) == Ordering::Equal,
            (JsonLookup::In(wanted), Some(value)) => {
                wanted.iter().any(|one| order(value, one) == Ordering::Equal)
            }
            (JsonLookup::Order(wanted, fulfils), Some(value)) => {
                if orders_text(value, wanted) || !(has_sure_order(value, 0) && has_sure_order(wanted, 0)) {
                    return Err(QueryError::beyond("know the order of such JSON"));
                }
                fulfils.is_fulfilled(order(value, wanted))
            }
            (JsonLookup::Text(relation, wanted, cased), Some(value)) => {
                // Taken out as text, JSON's null is SQL's.
                if value.is_null() {
                    return Ok(false);
                }
                text_holds(*relation, &text_of(value)?, wanted, *cased)
            }
            (JsonLookup::HasKeys(wanted), Some(value)) => wanted.iter().all(|key| match value {
                Value::Array(items) => items.iter().any(|item| item.as_str() == Some(key)),
                // A scalar that stands alone counts as an array of one.
                Value::String(text) => text == key,
                other => other.get(key.as_str()).is_some(),
            }),
            (JsonLookup::Contains(wanted), Some(value)) => contains(value, wanted, true),
        })
    }
}

/// Whether it is known if Python's `int()` takes a key for a number, and PostgreSQL that number for a place.
fn is_certain(key: &str) -> bool {
    match parse::whole(key) {
        Parsed::Is(place) => i32::try_from(place).is_ok(),
        Parsed::Not => true,
        Parsed::Unsure => false,
    }
}

/// Whether a key is the place at which a scalar stands that counts as an array of one.
fn is_of_scalar(key: &str) -> bool {
    matches!(parse::whole(key), Parsed::Is(0 | -1))
}

fn two_nulls() -> QueryError {
    QueryError::beyond("tell a column that is null from one that holds JSON's null")
}

impl JsonLookup {
    fn new(lookup: &str, value: &Python, under_keys: bool) -> Result<Self, QueryError> {
        let text = |test, cased| value.text().map(|text| Self::Text(test, text, cased));
        let order = |fulfils| value_of(value).map(|value| Self::Order(value, fulfils));
        match (lookup, value) {
            ("isnull", Python::Bool(wanted)) => Ok(Self::Null(*wanted)),
            ("isnull", Python::None) => Err(QueryError::beyond("compare JSON with None so")),
            ("isnull", _) => {
                Err(QueryError::failed("The QuerySet value for an isnull lookup must be True or False."))
            }
            ("exact", _) => value_of(value).map(Self::Equal),
            ("has_key", Python::Text(key)) => Ok(Self::HasKeys(vec![key.clone()])),
            ("has_keys", Python::List(keys)) if !keys.is_empty() => {
                keys.iter().map(Python::text).collect::<Result<_, _>>().map(Self::HasKeys)
            }
            (_, Python::None) => Err(QueryError::beyond("compare JSON with None so")),
            ("contains", _) if !under_keys => value_of(value).map(Self::Contains),
            ("in", Python::List(items)) if under_keys => {
                // Django drops what is None, and of what Python finds equal, as 1 and True, all but the first.
                if items.iter().any(|item| matches!(item, Python::Bool(_)))
                    && items.iter().any(|item| matches!(item, Python::Int(_) | Python::Float(_)))
                {
                    return Err(QueryError::beyond("tell numbers from truths as Python does"));
                }
                let known = items.iter().filter(|item| **item != Python::None);
                known.map(value_of).collect::<Result<_, _>>().map(Self::In)
            }
            ("gt", _) if under_keys => order(Op::Gt),
            ("gte", _) if under_keys => order(Op::Gte),
            ("lt", _) if under_keys => order(Op::Lt),
            ("lte", _) if under_keys => order(Op::Lte),
            ("icontains", Python::Text(_) | Python::Float(_)) if under_keys => {
                text(TextTest::Contains, false)
            }
            ("startswith", Python::Text(_)) if under_keys => text(TextTest::Starts, true),
            ("istartswith", Python::Text(_)) if under_keys => text(TextTest::Starts, false),
            ("endswith", Python::Text(_)) if under_keys => text(TextTest::Ends, true),
            ("iendswith", Python::Text(_)) if under_keys => text(TextTest::Ends, false),
            _ => Err(QueryError::beyond(&format!("know the lookup {lookup} of JSON"))),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    /// Whether a JSON column fulfils a pair; none where that is not decided.
    fn says(field: &str, value: &str, column: &Value) -> Option<bool> {
        let keys: Vec<&str> = field.split("__").collect();
        JsonPredicate::new(&keys, &Python::convert(value).ok()?).ok()?.holds(Some(column)).ok()
    }

    #[test]
    fn a_single_number_is_a_place_in_an_array() {
        assert_eq!(says("0", "zero", &json!({"0": "zero"})), Some(false));
        assert_eq!(says("0", "text", &json!("text")), Some(true));
        assert_eq!(says("-1", "text", &json!("text")), Some(true));
        assert_eq!(says("1", "text", &json!("text")), Some(false));
        assert_eq!(says("1", "b", &json!(["a", "b"])), Some(true));
        assert_eq!(says("-2", "a", &json!(["a", "b"])), Some(true));
        assert_eq!(says("a__0", "zero", &json!({"a": {"0": "zero"}})), Some(true));
        let column_is_null = |field: &[&str], value: &str| {
            JsonPredicate::new(field, &Python::convert(value).unwrap()).unwrap().holds(None).ok()
        };
        assert_eq!(column_is_null(&["0"], "None"), None);
        assert_eq!(column_is_null(&["0", "isnull"], "True"), None);
        assert_eq!(column_is_null(&["0", "lt"], "1"), None);
        assert_eq!(column_is_null(&["0"], "zero"), Some(false));
        assert_eq!(column_is_null(&["1"], "None"), Some(false));
        assert_eq!(says("٣", "b", &json!(["a"])), None);
        assert_eq!(says("99999999999", "b", &json!(["a"])), None);
        assert_eq!(says("a__exact__in", "[1]", &json!({"a": {"exact": 1}})), None);
    }

    #[test]
    fn keys_are_also_a_text_and_the_texts_of_an_array() {
        assert_eq!(says("has_key", "text", &json!("text")), Some(true));
        assert_eq!(says("has_key", "text", &json!("other")), Some(false));
        assert_eq!(says("has_keys", "['text']", &json!("text")), Some(true));
        assert_eq!(says("has_keys", "['text','b']", &json!("text")), Some(false));
        assert_eq!(says("has_keys", "[]", &json!({})), None);
        assert_eq!(says("has_key", "1", &json!({"1": 1})), None);
        assert_eq!(says("has_key", "true", &json!({"True": 1})), None);
    }

    #[test]
    fn text_is_decided_where_it_is_written_alike() {
        assert_eq!(says("a__icontains", "5", &json!({"a": 15.0})), Some(true));
        for own in [json!({"a": [1, 2]}), json!({"a": {"b": 1}}), json!({"a": 1e-7})] {
            assert_eq!(says("a__icontains", "1", &own), None, "{own}");
        }
    }

    #[test]
    fn an_array_contains_what_is_none_only_at_the_top() {
        assert_eq!(says("contains", "({'a':'x'})", &json!({"a": ["x", "y"]})), Some(false));
        assert_eq!(says("contains", "({'a':['x']})", &json!({"a": ["x", "y"]})), Some(true));
        assert_eq!(says("contains", "x", &json!(["x", "y"])), Some(true));
        assert_eq!(says("contains", "['x']", &json!([["x"]])), Some(false));
        assert_eq!(says("contains", "None", &json!({"a": null})), None);
    }

    #[test]
    fn none_is_among_nothing() {
        assert_eq!(says("k__in", "[None]", &json!({"k": null})), Some(false));
        assert_eq!(says("k__in", "[1,None,'x']", &json!({"k": null})), Some(false));
        assert_eq!(says("k__in", "[1,None,'x']", &json!({"k": 1})), Some(true));
        assert_eq!(says("k__in", "[1,True]", &json!({"k": true})), None);
        let none = JsonPredicate::new(&["k", "in"], &Python::convert("[None]").unwrap()).unwrap();
        assert!(none.leaves(Some(&json!({}))).is_err());
    }

    #[test]
    fn objects_and_arrays_without_items_have_no_order_here() {
        assert_eq!(says("k__gt", "1", &json!({"k": 2})), Some(true));
        assert_eq!(says("k__gt", "[1]", &json!({"k": [1, 2]})), Some(true));
        assert_eq!(says("k__gt", "1", &json!({"k": {"a": 1}})), None);
        assert_eq!(says("k__gt", "a", &json!({"k": "B"})), None);
        assert_eq!(says("k__gt", "a", &json!({"k": 1})), Some(true));
        assert_eq!(says("k__gt", "-2", &json!({"k": "0.5"})), Some(true));
        assert_eq!(says("k__gt", "1", &json!({"k": [[]]})), None);
        assert_eq!(says("k__gt", "[{'a':1}]", &json!({"k": 1})), None);
        assert_eq!(says("k__isnull", "None", &json!({"k": 1})), None);
    }
}
