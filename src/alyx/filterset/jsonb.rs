//! Values as PostgreSQL's jsonb orders, contains and writes them (ALYX.md 2.2, "JSON").

use std::cmp::Ordering;

use serde_json::{Map, Number, Value};

use super::{QueryError, python_literal::Python};

/// The JSON of a value that is written in Python.
pub(super) fn value_of(value: &Python) -> Result<Value, QueryError> {
    let number = |number: f64| {
        Number::from_f64(number)
            .map(Value::Number)
            .ok_or_else(|| QueryError::beyond("compare JSON with such a number"))
    };
    Ok(match value {
        Python::None => Value::Null,
        Python::Bool(truth) => Value::Bool(*truth),
        Python::Int(whole) => match i64::try_from(*whole) {
            Ok(whole) => Value::from(whole),
            Err(_) => return Err(QueryError::beyond("compare JSON with such a number")),
        },
        Python::Float(float) => number(*float)?,
        Python::Text(text) => Value::from(text.as_str()),
        Python::List(items) => Value::Array(items.iter().map(value_of).collect::<Result<_, _>>()?),
        Python::Dict(items) => {
            let pair = |(key, value): &(String, Python)| Ok((key.clone(), value_of(value)?));
            Value::Object(items.iter().map(pair).collect::<Result<Map<_, _>, QueryError>>()?)
        }
    })
}

/// The order of jsonb: object > array > boolean > number > text > null, an empty array below all.
pub(super) fn order(own: &Value, other: &Value) -> Ordering {
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

/// PostgreSQL's `@>`. An array contains a value that is none only where it stands alone.
pub(super) fn contains(own: &Value, wanted: &Value, alone: bool) -> bool {
    match (own, wanted) {
        (Value::Object(own), Value::Object(wanted)) => {
            wanted.iter().all(|(key, wanted)| own.get(key).is_some_and(|own| contains(own, wanted, false)))
        }
        (Value::Array(own), Value::Array(wanted)) => {
            wanted.iter().all(|wanted| own.iter().any(|own| contains(own, wanted, false)))
        }
        (Value::Array(own), wanted) if alone => own.iter().any(|own| order(own, wanted).is_eq()),
        _ => order(own, wanted).is_eq(),
    }
}

/// Whether jsonb orders a value as [`order`] does. It compares objects in its own way, and an empty array that
/// stands in another one otherwise than one that stands alone.
pub(super) fn has_sure_order(value: &Value, depth: usize) -> bool {
    match value {
        Value::Object(_) => false,
        Value::Array(items) => {
            (depth == 0 || !items.is_empty()) && items.iter().all(|item| has_sure_order(item, depth + 1))
        }
        _ => true,
    }
}

/// Whether it comes to the order of two texts, which is up to the collation of Alyx's database unless both are
/// written as numbers.
pub(super) fn orders_text(own: &Value, wanted: &Value) -> bool {
    let of_number = |c: char| c.is_ascii_digit() || matches!(c, '.' | '-' | '+');
    match (own, wanted) {
        (Value::String(own), Value::String(wanted)) => {
            own != wanted && !own.chars().chain(wanted.chars()).all(of_number)
        }
        (Value::Array(own), Value::Array(wanted)) => {
            own.len() == wanted.len() && own.iter().zip(wanted).any(|(own, wanted)| orders_text(own, wanted))
        }
        _ => false,
    }
}

/// The text of a value as jsonb writes it: keys by their length and then by bytes, a space behind commas and colons,
/// numbers without exponents.
pub(super) fn text_of(value: &Value) -> Result<String, QueryError> {
    let mut text = String::new();
    write(value, &mut text)?;
    Ok(text)
}

fn write(value: &Value, text: &mut String) -> Result<(), QueryError> {
    match value {
        Value::Number(number) => text.push_str(&number_text(number)?),
        Value::Array(items) => {
            text.push('[');
            for (at, item) in items.iter().enumerate() {
                text.push_str(if at == 0 { "" } else { ", " });
                write(item, text)?;
            }
            text.push(']');
        }
        Value::Object(items) => {
            let mut items: Vec<(&String, &Value)> = items.iter().collect();
            items.sort_by_key(|(key, _)| (key.len(), key.as_bytes()));
            text.push('{');
            for (at, (key, item)) in items.into_iter().enumerate() {
                text.push_str(if at == 0 { "" } else { ", " });
                text.push_str(&Value::from(key.as_str()).to_string());
                text.push_str(": ");
                write(item, text)?;
            }
            text.push('}');
        }
        Value::Null | Value::Bool(_) | Value::String(_) => text.push_str(&value.to_string()),
    }
    Ok(())
}

/// A number as PostgreSQL's `numeric` writes it.
fn number_text(number: &Number) -> Result<String, QueryError> {
    match number.as_f64() {
        Some(float) if number.is_f64() => {
            // `1e16` was written so by Python, and is a whole number there.
            let text = float.to_string();
            let is_whole = !text.contains('.');
            Ok(if is_whole && float.abs() < 1e16 { text + ".0" } else { text })
        }
        Some(_) => Ok(number.to_string()),
        None => Err(QueryError::beyond("write such JSON as PostgreSQL does")),
    }
}

/// Whether a number stands in it.
pub(super) fn has_number(value: &Value) -> bool {
    match value {
        Value::Number(_) => true,
        Value::Array(items) => items.iter().any(has_number),
        Value::Object(items) => items.values().any(has_number),
        _ => false,
    }
}

/// Whether a number is read without loss. Jsonb compares every digit.
pub(super) fn exact(value: &Value) -> bool {
    const GREATEST: f64 = 9_007_199_254_740_992.0;
    match value {
        Value::Number(number) => number.as_f64().is_some_and(|number| number.abs() < GREATEST),
        Value::Array(items) => items.iter().all(exact),
        Value::Object(items) => items.values().all(exact),
        _ => true,
    }
}
