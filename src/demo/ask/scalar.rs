//! What the database holds where a record shows a value, and how two of them are ordered.

use std::cmp::Ordering;

use serde_json::Value;

use crate::alyx::{
    filterset::{
        Unanswered,
        path::Leaf,
        scalar::{Scalar, Transform, taken, taken_of_time},
    },
    model::Kind,
};

type Result<T> = std::result::Result<T, Unanswered>;

/// What the database holds where the record shows this value.
pub(super) fn scalar(leaf: Leaf, value: &Value, transform: Transform) -> Result<Option<Scalar>> {
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
            let unknown = || Unanswered::beyond(&format!("know the number of {} {label}", labels.name));
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

/// The order of two scalars of one kind. For PostgreSQL NaN is equal to itself and above all else.
pub(super) fn order(own: &Scalar, other: &Scalar) -> Option<Ordering> {
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
