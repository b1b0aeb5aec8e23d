//! What the database holds where a record shows a value, and how two of them are ordered.

use std::cmp::Ordering;

use serde_json::Value;

use crate::alyx::{
    filterset::{
        QueryError, QueryResult,
        path::Leaf,
        scalar::{Scalar, Transform, taken, taken_of_time},
    },
    model::ColumnKind,
};

/// What the database holds where the record shows this value.
pub(super) fn scalar(leaf: Leaf, value: &Value, transform: Transform) -> QueryResult<Option<Scalar>> {
    let Leaf::Value { kind, .. } = leaf else { return Ok(None) };
    if let Transform::Item(index) = transform {
        return Ok(value.get(index).and_then(Value::as_f64).map(Scalar::Number));
    }
    Ok(match kind {
        ColumnKind::Text | ColumnKind::Uuid | ColumnKind::Json | ColumnKind::Array => {
            value.as_str().map(|t| Scalar::Text(t.to_owned()))
        }
        ColumnKind::Integer => value.as_f64().map(Scalar::Number),
        ColumnKind::Float => number(value).map(Scalar::Number),
        ColumnKind::Boolean => value.as_bool().map(Scalar::Bool),
        ColumnKind::Labels(labels) => {
            let label = value.as_str().unwrap_or_default();
            let unknown = || QueryError::beyond(&format!("know the number of {} {label}", labels.name));
            #[allow(clippy::cast_precision_loss, reason = "codes are small")]
            let number = labels.number(label).ok_or_else(unknown)? as f64;
            Some(Scalar::Number(number))
        }
        ColumnKind::Date => {
            value.as_str().and_then(|text| text.parse().ok()).map(|day| taken(day, transform))
        }
        ColumnKind::DateTime => {
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
