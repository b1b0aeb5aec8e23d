//! Comparing a cell with a value, the plainest way.

use std::cmp::Ordering;

use serde_json::Value;

use super::{
    path::PathValue,
    scalar::{order, scalar},
};
use crate::alyx::{
    filterset::{
        QueryError, QueryResult,
        compare::{Comparison, text_holds},
        path::Leaf,
        regex,
        scalar::Scalar,
    },
    model::ColumnKind,
};

/// Whether cells fulfil a comparison.
pub(super) trait Compares {
    /// Whether excluding what fulfils it leaves a record with these cells.
    fn leaves(&self, leaf: Leaf, cells: &[PathValue<'_>]) -> QueryResult<bool>;
    /// Whether a cell fulfils it. Null fulfils nothing but the question whether it is null.
    fn holds(&self, leaf: Leaf, cell: &PathValue<'_>) -> QueryResult<bool>;
}

impl Compares for Comparison {
    /// Whether excluding what fulfils it leaves a record with these cells.
    fn leaves(&self, leaf: Leaf, cells: &[PathValue<'_>]) -> QueryResult<bool> {
        if let (Self::Json(test), [cell]) = (self, cells) {
            return test.leaves(match cell {
                PathValue::Value(value) => Some(value.as_ref()),
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
    fn holds(&self, leaf: Leaf, cell: &PathValue<'_>) -> QueryResult<bool> {
        let value = match (self, cell) {
            (Self::Json(test), PathValue::Null) => return test.holds(None),
            (Self::Null(wanted), cell) => return Ok(matches!(cell, PathValue::Null) == *wanted),
            (_, PathValue::Null) => return Ok(false),
            (_, PathValue::Exists) => return Ok(true),
            (_, PathValue::Value(value)) => value.as_ref(),
        };
        match self {
            Self::Json(test) => test.holds(Some(value)),
            Self::Text(relation, text, cased) => {
                Ok(text_holds(*relation, &shown(leaf, value)?, text, *cased))
            }
            Self::Matches(pattern) => {
                let broken = |_| QueryError::beyond("match such a regular expression");
                regex::is_in(&pattern.compiled().map_err(broken)?, pattern.ascii, &shown(leaf, value)?)
            }
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
    let Leaf::Value { kind: ColumnKind::Labels(labels), .. } = leaf else { return false };
    let numbers = labels.labels.iter().filter_map(|(number, _)| *number);
    #[allow(clippy::cast_precision_loss, reason = "codes are small")]
    let numbers: Vec<Scalar> = numbers.map(|number| Scalar::Number(number as f64)).collect();
    labels.number(value.as_str().unwrap_or_default()).is_none()
        && wanted.iter().all(|one| numbers.contains(one))
}

fn is_equality(fulfils: fn(Ordering) -> bool) -> bool {
    fulfils(Ordering::Equal) && !fulfils(Ordering::Less) && !fulfils(Ordering::Greater)
}

/// The text of a value as PostgreSQL casts its column to it.
fn shown(leaf: Leaf, value: &Value) -> QueryResult<String> {
    let Leaf::Value { kind, .. } = leaf else { return Ok(String::new()) };
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    Ok(match kind {
        // Where JSON needs an exponent PostgreSQL may not.
        ColumnKind::Float if text.contains('e') => {
            return Err(QueryError::beyond("write such a number as PostgreSQL does"));
        }
        ColumnKind::Float => text.strip_suffix(".0").unwrap_or(&text).to_owned(),
        ColumnKind::Labels(labels) => {
            let unknown = || QueryError::beyond("know the number of a label");
            labels.number(&text).ok_or_else(unknown)?.to_string()
        }
        // The sample's server lives by UTC.
        ColumnKind::DateTime => {
            let text = text.replace('T', " ");
            let text = if text.contains('.') { text.trim_end_matches('0') } else { &text };
            format!("{text}+00")
        }
        _ => text,
    })
}
