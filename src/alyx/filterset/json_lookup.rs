//! Lookups in free-form JSON: PostgreSQL's jsonb (ALYX.md 2.2, "JSON").

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    QueryError,
    compare::{OF_TEXT, text_holds},
    json_kinds::JsonLookup,
    jsonb::{contains, exact, has_number, has_sure_order, order, orders_text, text_of},
    parse::{self, Parsed},
    python_literal::Python,
    regex,
};

/// A test on a JSON column, or on what is under keys of it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct JsonPredicate {
    keys: Vec<String>,
    lookup: JsonLookup,
}

/// Lookups of JSON beside those of text.
const LOOKUPS: [&str; 12] = [
    "exact",
    "in",
    "gt",
    "gte",
    "lt",
    "lte",
    "range",
    "isnull",
    "has_key",
    "has_keys",
    "has_any_keys",
    "contained_by",
];

fn is_lookup(name: &str) -> bool {
    LOOKUPS.contains(&name) || OF_TEXT.contains(&name)
}

impl JsonPredicate {
    /// Keys, then a lookup if the last is one.
    pub(crate) fn new(rest: &[&str], value: &Python) -> Result<Self, QueryError> {
        let (keys, lookup) = match rest {
            [keys @ .., last] if is_lookup(last) => (keys, *last),
            keys => (keys, "exact"),
        };
        if keys.iter().any(|key| is_lookup(key)) {
            return Err(QueryError::beyond("know a lookup of a lookup"));
        }
        let lookup = JsonLookup::new(lookup, value)?;
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

    /// Whether it is certain that nothing fulfils it.
    pub(crate) fn is_of_nothing(&self) -> bool {
        matches!(&self.lookup, JsonLookup::In(wanted) if wanted.is_empty())
    }

    /// Whether it asks whether something is null.
    pub(crate) fn asks_for_null(&self) -> bool {
        matches!(self.lookup, JsonLookup::Null(_))
    }

    /// Whether the column's value fulfils it; none is null. A record shows null for a column that is
    /// null and for one that holds JSON's null, so what tells the two apart can't be decided.
    pub(crate) fn holds(&self, column: Option<&Value>) -> Result<bool, QueryError> {
        if column.is_some() {
            return self.judged(column);
        }
        let nothing = self.judged(None)?;
        if self.judged(Some(&Value::Null))? == nothing { Ok(nothing) } else { Err(two_nulls()) }
    }

    /// The same of a column whose null is nothing.
    pub(super) fn judged(&self, column: Option<&Value>) -> Result<bool, QueryError> {
        let value = self.under_keys(column);
        let wanted = self.lookup.values();
        let wanted_exact = wanted.iter().all(|wanted| exact(wanted));
        let matters = match &self.lookup {
            JsonLookup::Null(_) | JsonLookup::HasKeys(_) | JsonLookup::HasAnyKey(_) => false,
            JsonLookup::Text(..) | JsonLookup::Matches(_) => true,
            // Numbers are only compared with numbers.
            _ => !wanted_exact || wanted.iter().any(|wanted| has_number(wanted)),
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
            (false, Some(_), _) if self.is_null_of_sql(self.under_keys(column)) => Ok(false),
            _ => Ok(!self.holds(column)?),
        }
    }

    /// Whether what is under the keys is null for SQL: a key that is absent; of what is compared as text, JSON's null too.
    fn is_null_of_sql(&self, value: Option<&Value>) -> bool {
        let as_text = matches!(self.lookup, JsonLookup::Text(..) | JsonLookup::Matches(_));
        value.is_none_or(|value| as_text && value.is_null())
    }

    /// Whether excluding what fulfils it leaves a record that leads to no column at all.
    pub(crate) fn leaves_nothing(&self) -> bool {
        !matches!(self.lookup, JsonLookup::Null(true)) && !self.is_of_none()
    }

    /// Whether it compares with `None`: then Django does not add to what it excludes that the column is not null.
    pub(super) fn is_of_none(&self) -> bool {
        matches!(self.lookup, JsonLookup::Equal(Value::Null))
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

    /// The text of a column, or of what is under its keys, where a text stands without quotation marks.
    fn text(&self, value: &Value) -> Result<String, QueryError> {
        match value {
            Value::String(text) if !self.keys.is_empty() => Ok(text.clone()),
            value => text_of(value),
        }
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
                fulfils.is_fulfilled(sure_order(value, wanted)?)
            }
            (JsonLookup::Between(from, until), Some(value)) => {
                sure_order(value, from)?.is_ge() && sure_order(value, until)?.is_le()
            }
            // Taken out as text, JSON's null is SQL's.
            (JsonLookup::Text(..) | JsonLookup::Matches(_), Some(Value::Null)) if !self.keys.is_empty() => {
                false
            }
            (JsonLookup::Text(relation, wanted, cased), Some(value)) => {
                text_holds(*relation, &self.text(value)?, wanted, *cased)
            }
            (JsonLookup::Matches(pattern), Some(value)) => {
                let beyond = || QueryError::beyond("match such an expression");
                regex::is_in(pattern.compiled().ok_or_else(beyond)?, pattern.ascii, &self.text(value)?)?
            }
            (JsonLookup::HasKeys(wanted), Some(value)) => wanted.iter().all(|key| has_key(value, key)),
            (JsonLookup::HasAnyKey(wanted), Some(value)) => wanted.iter().any(|key| has_key(value, key)),
            (JsonLookup::Contains(wanted), Some(value)) => contains(value, wanted, true),
            (JsonLookup::ContainedBy(wanted), Some(value)) => contains(wanted, value, true),
        })
    }
}

/// Whether jsonb has a key: an object's, a text of an array, or a text itself, which counts as an array of one.
fn has_key(value: &Value, key: &str) -> bool {
    match value {
        Value::Array(items) => items.iter().any(|item| item.as_str() == Some(key)),
        Value::String(text) => text == key,
        other => other.get(key).is_some(),
    }
}

fn sure_order(value: &Value, wanted: &Value) -> Result<Ordering, QueryError> {
    let order = order(value, wanted);
    if order.is_eq() && value == wanted {
        return Ok(order);
    }
    if orders_text(value, wanted) || !(has_sure_order(value, 0) && has_sure_order(wanted, 0)) {
        return Err(QueryError::beyond("know the order of such JSON"));
    }
    Ok(order)
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
        assert_eq!(says("٠", "a", &json!(["a"])), Some(true));
        assert_eq!(says("99999999999", "b", &json!(["a"])), None);
        assert_eq!(says("a__exact__in", "[1]", &json!({"a": {"exact": 1}})), None);
    }

    #[test]
    fn keys_are_also_a_text_and_the_texts_of_an_array() {
        assert_eq!(says("has_key", "text", &json!("text")), Some(true));
        assert_eq!(says("has_key", "text", &json!("other")), Some(false));
        assert_eq!(says("has_keys", "['text']", &json!("text")), Some(true));
        assert_eq!(says("has_keys", "['text','b']", &json!("text")), Some(false));
        assert_eq!(says("has_keys", "[]", &json!({})), Some(true));
        assert_eq!(says("has_any_keys", "[]", &json!({})), Some(false));
        assert_eq!(says("has_any_keys", "['a','b']", &json!({"b": 1})), Some(true));
        assert_eq!(says("k__has_any_keys", "ab", &json!({"k": ["b"]})), Some(true));
        assert_eq!(says("k__has_key", "a", &json!({"j": {"a": 1}})), Some(false));
        assert_eq!(says("has_key", "1", &json!({"1": 1})), None);
        assert_eq!(says("has_key", "true", &json!({"True": 1})), None);
    }

    #[test]
    fn text_is_decided_where_it_is_written_alike() {
        assert_eq!(says("a__icontains", "5", &json!({"a": 15.0})), Some(true));
        // As PostgreSQL writes it.
        assert_eq!(
            says(
                "icontains",
                "{\"b\": [1.5, 0.0000001, 2.0], \"aa\": null}",
                &json!({"aa": null, "b": [1.5, 1e-7, 2.0]})
            ),
            Some(true)
        );
        assert_eq!(says("startswith", "\"te", &json!("text")), Some(true));
        assert_eq!(says("a__startswith", "te", &json!({"a": "text"})), Some(true));
        assert_eq!(says("iexact", "[]", &json!([])), None);
        assert_eq!(says("a__iexact", "PASS", &json!({"a": "pass"})), Some(true));
        assert_eq!(says("a__regex", "^p.ss$", &json!({"a": "pass"})), Some(true));
        assert_eq!(says("a__startswith", "n", &json!({"a": null})), Some(false));
        assert_eq!(says("a__endswith", "5", &json!({"a": 1.5})), Some(false), "of 5.0");
    }

    #[test]
    fn a_column_that_shows_null_is_decided_where_both_nulls_say_the_same() {
        let of_null = |field: &str, value: &str| {
            let keys: Vec<&str> = field.split("__").collect();
            JsonPredicate::new(&keys, &Python::convert(value).unwrap()).unwrap().holds(None).ok()
        };
        assert_eq!(of_null("startswith", "x"), Some(false));
        assert_eq!(of_null("startswith", "nu"), None);
        assert_eq!(of_null("lt", "1"), None);
        assert_eq!(of_null("gt", "1"), Some(false));
        assert_eq!(of_null("contained_by", "x"), Some(false));
        assert_eq!(of_null("a__isnull", "True"), Some(true));
        assert_eq!(of_null("isnull", "True"), None);
    }

    #[test]
    fn what_lies_between_and_what_contains() {
        assert_eq!(says("k__range", "[1,3]", &json!({"k": 2})), Some(true));
        assert_eq!(says("range", "[1,3]", &json!(4)), Some(false));
        assert_eq!(says("contained_by", "({'a':1,'b':2})", &json!({"a": 1.0})), Some(true));
        assert_eq!(says("contained_by", "({'a':1})", &json!({"b": 1})), Some(false));
        assert_eq!(says("gte", "3", &json!(4)), Some(true));
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
        assert_eq!(says("k__in", "[1,True]", &json!({"k": true})), Some(false), "1 is True in Python");
        assert_eq!(says("k__in", "[1,True,[]]", &json!({"k": true})), Some(true), "lists are in no sets");
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
