//! The form of an endpoint's filters, made from what Alyx's filters are.

use crate::alyx::{
    Endpoint,
    filter::{Filter, Input},
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

/// The fields, filled with what the query says; those that say something come first.
pub(super) fn fields(endpoint: &'static Endpoint, pairs: &[(String, String)]) -> Vec<FormField> {
    let mut fields: Vec<FormField> = endpoint.filters.iter().map(|filter| field(filter, pairs)).collect();
    fields.sort_by_key(|field| field.value.is_empty());
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
