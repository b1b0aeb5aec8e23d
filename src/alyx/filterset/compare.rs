//! What a value is compared with, and how: Django's lookups (ALYX.md 2.2).

use std::cmp::Ordering;

use super::{
    QueryError, QueryResult,
    coerce::Typed,
    json_lookup,
    parse::{self, Parsed},
    path::{Leaf, Path},
    python_literal::Python,
    regex::Pattern,
    related,
    scalar::{Scalar, Transform},
};
use crate::alyx::model::ColumnKind;

/// A comparison, its value converted to what the column holds.
#[derive(Debug)]
pub(crate) enum Comparison {
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
    /// A regular expression that is found in a text; case is its own matter.
    Matches(Pattern),
    /// A test on free-form JSON.
    Json(json_lookup::JsonPredicate),
    /// As many items in an array.
    Length(i128),
    /// All these numbers in an array.
    Holds(Vec<f64>),
}

/// How one text relates to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) enum TextTest {
    Is,
    Contains,
    Starts,
    Ends,
}

/// Lookups that columns of every kind have in Django: those of text,
pub(super) const OF_TEXT: [&str; 9] = [
    "iexact",
    "contains",
    "icontains",
    "startswith",
    "istartswith",
    "endswith",
    "iendswith",
    "regex",
    "iregex",
];
/// and those of an order.
const OF_ORDER: [&str; 4] = ["gt", "gte", "lt", "lte"];

impl Comparison {
    /// Reads what is left of a path, its transforms and lookup, and the value.
    pub(crate) fn new(path: &Path, value: &Python) -> QueryResult<Self> {
        let rest: Vec<&str> = path.rest.iter().map(String::as_str).collect();
        if let Some(related) = path.related {
            related::check(related, &rest)?;
        }
        let Leaf::Value { name, kind, .. } = path.leaf else {
            return match rest.as_slice() {
                [] if *value == Python::None => Ok(Self::Null(true)),
                ["isnull"] => related_is_null(value),
                // Keys that no record shows are UUIDs.
                [] if matches!(value, Python::Text(text) if parse::uuid(text) == Parsed::Not) => {
                    Err(bad_uuid(&value.text()?))
                }
                _ => Err(QueryError::hidden("the key of such a record")),
            };
        };
        if let ColumnKind::Json = kind {
            return json_lookup::JsonPredicate::new(&rest, value).map(Self::Json);
        }
        let (transform, lookup) = transform(kind, &rest)?;
        let column = Typed { name, kind, transform };
        match (lookup, value) {
            ("isnull", _) if path.related.is_some() => related_is_null(value),
            ("isnull", _) => is_null(value),
            ("exact" | "iexact", Python::None) => Ok(Self::Null(true)),
            ("in" | "range", _) => column.several(lookup, value),
            // The name of a lookup is looked at before its value.
            (_, Python::None) if !OF_TEXT.contains(&lookup) && !OF_ORDER.contains(&lookup) => {
                Err(unsupported(lookup))
            }
            (_, Python::None) => Err(QueryError::failed("Cannot use None as a query value")),
            _ => column.single(lookup, value),
        }
    }
}

impl Comparison {
    /// Whether it is certain that nothing compares so.
    pub(crate) fn is_of_nothing(&self) -> bool {
        match self {
            Self::Any(values, _) => values.is_empty(),
            Self::Json(test) => test.is_of_nothing(),
            _ => false,
        }
    }
}

fn is_null(value: &Python) -> QueryResult<Comparison> {
    match value {
        Python::Bool(wanted) => Ok(Comparison::Null(*wanted)),
        Python::None => Err(QueryError::failed("Cannot use None as a query value")),
        _ => Err(QueryError::failed("The QuerySet value for an isnull lookup must be True or False.")),
    }
}

/// The same of a relation, where the first of a tuple counts, and an empty one is an error of Django's own
/// (`RelatedLookupMixin.get_prep_lookup`). A tuple is read as a list here.
fn related_is_null(value: &Python) -> QueryResult<Comparison> {
    match value {
        Python::List(_) => Err(QueryError::beyond("tell a tuple from a list")),
        _ => is_null(value),
    }
}

/// The transform and the lookup that are left of a path.
fn transform<'p>(kind: ColumnKind, rest: &[&'p str]) -> QueryResult<(Transform, &'p str)> {
    let [first, others @ ..] = rest else { return Ok((Transform::None, "exact")) };
    let (transform, others) = match (kind, *first) {
        // What is taken of the day of a time, or of its time of day, is taken of the time.
        (ColumnKind::DateTime, "date") => match others {
            [next, others @ ..] if Transform::of_day(next).is_some() => (Transform::of_day(next), others),
            _ => (Some(Transform::Date), others),
        },
        (ColumnKind::DateTime, "time") => match others {
            [next, others @ ..] if Transform::of_clock(next).is_some() => (Transform::of_clock(next), others),
            _ => (Some(Transform::Time), others),
        },
        (ColumnKind::DateTime, name) => {
            (Transform::of_day(name).or_else(|| Transform::of_clock(name)), others)
        }
        (ColumnKind::Date, name) => (Transform::of_day(name), others),
        (ColumnKind::Array, index) if index.bytes().all(|byte| byte.is_ascii_digit()) => {
            (Some(Transform::Item(index.parse().map_err(|_| unsupported(index))?)), others)
        }
        _ => (None, others),
    };
    match (transform, others) {
        (Some(transform), []) => Ok((transform, "exact")),
        (Some(transform), [lookup]) => Ok((transform, lookup)),
        (None, []) => Ok((Transform::None, first)),
        _ => Err(unsupported(first)),
    }
}

/// A lookup that is not known here. Columns of every kind have those of text in Django; and where it has none by
/// that name, its message also says which ones are named alike.
pub(crate) fn unsupported(lookup: &str) -> QueryError {
    QueryError::beyond(&format!("know the lookup {lookup} of such a column"))
}

/// Django's message for a UUID that is none.
pub(crate) fn bad_uuid(text: &str) -> QueryError {
    QueryError::failed_on(text, &format!("['“{text}” is not a valid UUID.']"))
}

pub(crate) fn text_holds(test: TextTest, own: &str, wanted: &str, cased: bool) -> bool {
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
pub(crate) fn upper(text: &str) -> String {
    let letter = |c: char| {
        let mut upper = c.to_uppercase();
        match (upper.next(), upper.next()) {
            (Some(single), None) => single,
            _ => c,
        }
    };
    text.chars().map(letter).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_name_of_a_lookup_is_looked_at_before_its_value() {
        let none = |endpoint: &'static str, asked: &str| {
            Comparison::new(&Path::resolve(endpoint, asked).unwrap(), &Python::None).map(drop)
        };
        let refused = Err(QueryError::failed("Cannot use None as a query value"));
        assert_eq!(none("data-notices", "affected_date_end__gte"), refused);
        assert_eq!(none("sessions", "number__icontains"), refused);
        for (endpoint, asked) in [
            ("data-notices", "affected_date_end__date"),
            ("sessions", "number__lenn"),
            ("sessions", "start_time__date__lenn"),
        ] {
            assert!(matches!(none(endpoint, asked), Err(QueryError::Undecided(_))), "{asked}");
        }
        assert_eq!(none("data-notices", "affected_date_end__year"), Ok(()));
    }

    #[test]
    fn whether_a_relation_is_null_is_not_told_by_a_tuple() {
        let asked = |endpoint: &'static str, path: &str, value: &str| {
            Comparison::new(&Path::resolve(endpoint, path)?, &Python::convert(value)?).map(drop)
        };
        let failed = QueryError::failed("The QuerySet value for an isnull lookup must be True or False.");
        // Its first item counts there: (True,) is True, () an error of Django's own.
        for value in ["()", "(True,)", "(False,True)", "(None,)"] {
            for (endpoint, path) in [
                ("datasets", "revision__isnull"),
                ("trajectories", "probe_insertion__session__isnull"),
                ("subjects", "projects__isnull"),
                ("brain-regions", "parent__isnull"),
            ] {
                assert!(
                    matches!(asked(endpoint, path, value), Err(QueryError::Undecided(_))),
                    "{path},{value}"
                );
            }
            assert_eq!(asked("datasets", "name__isnull", value), Err(failed.clone()), "{value}");
        }
        assert_eq!(asked("datasets", "revision__isnull", "True"), Ok(()));
        assert_eq!(asked("datasets", "revision__isnull", "x"), Err(failed));
    }
}
