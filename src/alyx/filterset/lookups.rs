//! What filters ask beyond their text: the comparisons and messages that Alyx makes of their values
//! (ALYX.md 2.7).

use super::{
    AlyxError, QueryError, QueryResult,
    coerce::bad_day,
    compare::Comparison,
    form::{ActiveFilter, CleanedValue},
    parse::{self, Parsed},
    path::{Leaf, Path},
    python_literal::Python,
};
use crate::alyx::{
    filter::{Decided, Filter, Input, Lookup, Predicate},
    model::{ColumnKind, Labels, Model, QC},
};

/// The comparison of a filter on a column.
pub(crate) fn column(
    endpoint: &'static str,
    filter: &'static Filter,
    path: &'static str,
    lookup: Lookup,
    asked: &CleanedValue,
) -> QueryResult<(Path, Comparison)> {
    let value = match (asked, filter.input) {
        (CleanedValue::Text(text), Input::Label(labels)) => {
            let number = labels.number(label(labels, text)?).unwrap_or_default();
            #[allow(clippy::cast_precision_loss, reason = "codes are small")]
            Python::Float(number as f64)
        }
        (CleanedValue::Text(text), Input::CodeLabel(codes)) => {
            let same = |label: &str| label.to_lowercase() == text.trim().to_lowercase();
            match codes.iter().find(|(_, label)| same(label)) {
                Some((code, _)) => Python::Text((*code).to_owned()),
                // Alyx fails while it writes the message.
                None => {
                    return Err(QueryError::failed(
                        "sequence item 0: expected str instance, __proxy__ found",
                    ));
                }
            }
        }
        (CleanedValue::Text(text), Input::DateText) => day_text(text)?,
        (CleanedValue::Text(text) | CleanedValue::Uuid(text) | CleanedValue::Key(text), _) => {
            Python::Text(text.clone())
        }
        (CleanedValue::Number(number), _) => Python::Float(*number),
        (CleanedValue::Bool(truth), _) => Python::Bool(*truth),
        (CleanedValue::Day(day), _) => Python::Text(day.to_string()),
        (CleanedValue::Time(time), _) => match lookup {
            Lookup::DateFrom | Lookup::DateUntil => Python::Text(time.date().to_string()),
            _ => Python::Text(time.to_string()),
        },
        (CleanedValue::Keys(keys), _) => Python::List(keys.iter().cloned().map(Python::Text).collect()),
    };
    let mut path = Path::resolve(endpoint, path).map_err(|_| beyond(endpoint, filter))?;
    let json_text = matches!(path.leaf, Leaf::Value { kind: ColumnKind::Json, .. });
    if !path.rest.is_empty() && !json_text {
        return Err(beyond(endpoint, filter));
    }
    let rest: &[&str] = match lookup {
        Lookup::Exact if matches!(asked, CleanedValue::Keys(_)) => &["in"],
        other => other.names(),
    };
    path.rest = rest.iter().map(|&name| name.to_owned()).collect();
    let comparison = Comparison::new(&path, &value)?;
    Ok((path, comparison))
}

impl Lookup {
    /// Its transform and lookup as Django names them.
    pub(crate) fn names(self) -> &'static [&'static str] {
        match self {
            Self::Exact => &["exact"],
            Self::IExact => &["iexact"],
            Self::IContains => &["icontains"],
            Self::Date => &["date"],
            Self::DateFrom => &["date", "gte"],
            Self::DateUntil => &["date", "lte"],
            Self::Contains => &["contains"],
            Self::Starts => &["startswith"],
            Self::IStarts => &["istartswith"],
            Self::From => &["gte"],
            Self::Until => &["lte"],
        }
    }
}

/// The two comparisons of `date_range`.
pub(crate) fn days(endpoint: &'static str, text: &str) -> QueryResult<(Comparison, Comparison)> {
    let mut days = text.split(',');
    let (from, until) = (days.next().unwrap_or_default(), days.next());
    let Some(until) = until else { return Err(QueryError::failed("list index out of range")) };
    let path = "start_time__date";
    let first = Comparison::new(&on_day(endpoint, path, "gte")?, &day_text(from)?)?;
    let last = Comparison::new(&on_day(endpoint, path, "lte")?, &day_text(until)?)?;
    Ok((first, last))
}

/// A path whose transform and lookup are these.
fn on_day(endpoint: &'static str, path: &'static str, lookup: &'static str) -> QueryResult<Path> {
    let mut path = Path::resolve(endpoint, path)?;
    path.rest.push(lookup.to_owned());
    Ok(path)
}

/// A day that is written as text; 500 if it is none.
fn day_text(text: &str) -> QueryResult<Python> {
    match parse::day(text) {
        Parsed::Is(day) => Ok(Python::Text(day.to_string())),
        Parsed::Not => Err(bad_day(text)),
        Parsed::Unsure => Err(QueryError::beyond(&format!("read {text} as a day"))),
    }
}

fn label(labels: &'static Labels, text: &str) -> QueryResult<&'static str> {
    labels.label(text).ok_or_else(|| {
        let choices: Vec<&str> = labels.labels.iter().map(|(_, label)| *label).collect();
        QueryError::failed(&format!("Invalid{}, choices are: {}", labels.name, choices.join(", ")))
    })
}

/// Why pairs are not answered, beside other filters: what Alyx says to some depends on these.
pub(crate) fn among_others(unanswered: QueryError, used: &[ActiveFilter]) -> QueryError {
    let QueryError::Refused(AlyxError { body, .. }) = &unanswered else { return unanswered };
    // The users are counted in a column of their own, which pairs can ask for and the message lists.
    let counts_users = used.iter().any(|(filter, _)| matches!(filter.test, Predicate::Users));
    if counts_users && body.contains("Cannot resolve keyword") {
        return QueryError::beyond("know what Alyx says to such a pair beside the rest of the question");
    }
    unanswered
}

/// Whether Django finds this out last of all, when it writes the query: other refusals come before, and where it is certain
/// that nothing fulfils the rest it is not looked at.
pub(crate) fn comes_last(unanswered: &QueryError) -> bool {
    matches!(unanswered, QueryError::Refused(AlyxError { body, .. }) if body.contains("isnull lookup"))
}

/// What comes of a refusal that comes last, if there is one, when all others are read.
pub(crate) fn at_last(last: Option<QueryError>, used: &[ActiveFilter], nothing: bool) -> QueryResult<()> {
    let Some(refusal) = last else { return Ok(()) };
    let is_plain = |(filter, asked): &ActiveFilter| {
        matches!(
            filter.test,
            Predicate::Column(..) | Predicate::Django | Predicate::AnyDataset | Predicate::JsonKeys(_)
        ) && !matches!(asked, CleanedValue::Keys(keys) if keys.is_empty())
    };
    if nothing || !used.iter().all(is_plain) {
        return Err(QueryError::beyond("know what Alyx says to such a pair beside the rest of the question"));
    }
    Err(refusal)
}

pub(crate) fn beyond(endpoint: &str, filter: &Filter) -> QueryError {
    if filter.decided == Decided::Nowhere {
        return QueryError::hidden(&format!("`{}` of /{endpoint}", filter.name));
    }
    QueryError::beyond(&format!("evaluate `{}` of /{endpoint}", filter.name))
}

/// Parameters that the endpoint has from a common base and whose columns its model lacks.
pub(crate) fn broken(endpoint: &str, filter: &Filter, asked: &CleanedValue) -> QueryError {
    let days =
        matches!(asked, CleanedValue::Text(text) if filter.name == "date_range" && !text.contains(','));
    if days {
        return QueryError::failed("list index out of range");
    }
    let keyword = if filter.name == "date_range" { "start_time" } else { filter.name };
    let complete = Model::of(endpoint).filter(|model| model.complete);
    match complete {
        Some(_) => match Path::resolve(complete.map_or("", |model| model.endpoint), keyword) {
            Err(answer) => answer,
            Ok(_) => beyond(endpoint, filter),
        },
        None => beyond(endpoint, filter),
    }
}

/// A quality by its name in any case, or by its number.
pub(crate) fn quality(text: &str) -> QueryResult<i64> {
    let by_label = QC.labels.iter().find(|(_, label)| label.eq_ignore_ascii_case(text));
    if let Some((Some(number), _)) = by_label {
        return Ok(*number);
    }
    if !text.is_ascii() {
        return Err(QueryError::beyond(&format!("read {text} as a quality")));
    }
    let is_code = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let code: Option<i64> = if is_code { text.parse().ok() } else { None };
    match code {
        Some(code) if QC.labels.iter().any(|(number, _)| *number == Some(code)) => Ok(code),
        Some(code) => Err(QueryError::failed(&format!("{code} is not a valid QC"))),
        None if is_code => Err(QueryError::beyond(&format!("read {text} as a quality"))),
        None => Err(QueryError::failed(&format!("{text} is not a valid QC"))),
    }
}
