//! The form of an endpoint's filters, made from what Alyx's filters are.

use crate::alyx::{
    Endpoint,
    filter::{Filter, Input, Predicate},
    query_string::{self, Pairs},
};

/// A field of the form.
pub(super) struct FormField {
    pub(super) name: &'static str,
    pub(super) value: String,
    /// What can be chosen; empty where anything can be typed.
    pub(super) choices: Vec<String>,
    /// An example of what to type.
    pub(super) hint: &'static str,
    pub(super) date: bool,
}

/// What Alyx is asked, of what the form says: two dates are one parameter, and what is empty says nothing.
pub(super) fn asked(endpoint: &Endpoint, query: &str) -> Pairs {
    let mut pairs = query_string::parse(query);
    let take = |pairs: &mut Pairs, name: &str| {
        let at = pairs.iter().position(|(known, _)| known == name)?;
        Some(pairs.remove(at).1).filter(|value| !value.is_empty())
    };
    let (from, until) = (take(&mut pairs, FROM), take(&mut pairs, UNTIL));
    pairs.retain(|(name, value)| !value.is_empty() && name != "format");
    if has_dates(endpoint) {
        if from.is_some() || until.is_some() {
            pairs.retain(|(name, _)| name != DATES);
            let (from, until) = (from.as_deref().unwrap_or(FIRST), until.as_deref().unwrap_or(LAST));
            pairs.push((DATES.to_owned(), format!("{from},{until}")));
        }
        // A day alone is a beginning: Alyx fails on it.
        for (_, value) in pairs.iter_mut().filter(|(name, value)| name == DATES && !value.contains(',')) {
            *value = format!("{value},{LAST}");
        }
    }
    pairs
}

/// From which day to which is asked for; none where the endpoint can't be asked so.
pub(super) fn dates(endpoint: &Endpoint, pairs: &Pairs) -> Option<(String, String)> {
    if !has_dates(endpoint) {
        return None;
    }
    let asked = pairs.iter().find(|(name, _)| name == DATES).and_then(|(_, value)| value.split_once(','));
    let (from, until) = asked.unwrap_or_default();
    let said = |day: &str, open: &str| if day == open { String::new() } else { day.to_owned() };
    Some((said(from, FIRST), said(until, LAST)))
}

fn has_dates(endpoint: &Endpoint) -> bool {
    endpoint.filter(DATES).is_some_and(|filter| matches!(filter.test, Predicate::DateRange))
}

/// The parameter of two days, and what stands for it in the form.
const DATES: &str = "date_range";
const FROM: &str = "from";
const UNTIL: &str = "until";
/// Before and after all that an Alyx holds.
const FIRST: &str = "1900-01-01";
const LAST: &str = "2100-01-01";

/// The fields that people fill most.
const USUAL: [&str; 9] =
    ["subject", "nickname", "lab", "project", "task_protocol", "datasets", "dataset_type", "name", "session"];

/// The fields, filled with what the query says; those that say something come first.
pub(super) fn fields(endpoint: &'static Endpoint, pairs: &[(String, String)]) -> Vec<FormField> {
    let own = endpoint.filters.iter().filter(|filter| filter.name != DATES || !has_dates(endpoint));
    let mut fields: Vec<FormField> = own.map(|filter| field(filter, pairs)).collect();
    let usual = |name: &str| USUAL.iter().position(|known| *known == name).unwrap_or(USUAL.len());
    fields.sort_by_key(|field| (field.value.is_empty(), usual(field.name)));
    fields
}

fn field(filter: &'static Filter, pairs: &[(String, String)]) -> FormField {
    let value = pairs.iter().rev().find(|(name, _)| name == filter.name).map(|(_, value)| value.clone());
    let choices: Vec<String> = match filter.input {
        Input::SelectedBoolean | Input::Boolean => vec!["True".to_owned(), "False".to_owned()],
        Input::Choice(choices) => choices.iter().map(|&choice| choice.to_owned()).collect(),
        Input::Label(labels) => labels.labels.iter().map(|(_, label)| (*label).to_owned()).collect(),
        Input::CodeLabel(labels) => labels.iter().map(|(_, label)| (*label).to_owned()).collect(),
        _ => Vec::new(),
    };
    let hint = match filter.input {
        Input::Uuid | Input::Uuids => "a UUID",
        Input::Number | Input::NumberText => "a number",
        Input::DateTime | Input::FormDateTime => "2020-01-31T12:00:00",
        Input::Pairs if filter.name == "django" => "start_time__year__gte,2020,~lab__name,x",
        Input::Pairs => "key,value",
        _ if filter.name == "date_range" => "2020-01-01,2020-12-31",
        _ => "",
    };
    let date = matches!(filter.input, Input::Date | Input::DateText);
    FormField { name: filter.name, value: value.unwrap_or_default(), choices, hint, date }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn two_dates_are_one_parameter() {
        let sessions = Endpoint::named("sessions").unwrap();
        let range = |query: &str| {
            let pairs = asked(sessions, query);
            pairs.into_iter().find(|(name, _)| name == DATES).map(|(_, value)| value)
        };
        for (query, expected) in [
            ("from=2020-03-01&until=", Some("2020-03-01,2100-01-01")),
            ("from=&until=2020-03-01", Some("1900-01-01,2020-03-01")),
            ("from=2020-01-01&until=2020-03-01", Some("2020-01-01,2020-03-01")),
            ("date_range=2020-03-01", Some("2020-03-01,2100-01-01")),
            ("from=&until=", None),
            ("lab=x", None),
        ] {
            assert_eq!(range(query).as_deref(), expected, "{query}");
        }
        let pairs = asked(sessions, "from=2020-03-01&lab=&number=1");
        assert_eq!(dates(sessions, &pairs), Some(("2020-03-01".to_owned(), String::new())));
        assert_eq!(pairs.len(), 2);
        assert_eq!(dates(Endpoint::named("labs").unwrap(), &pairs), None);
    }
}
