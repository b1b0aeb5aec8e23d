//! The texts of filters read and checked, all before any is applied (ALYX.md 2.1, rules 2 to 6).

use jiff::{
    civil::{Date, DateTime},
    tz::TimeZone,
};

use super::{
    QueryError,
    parse::{self, Parsed, is_space},
};
use crate::alyx::{
    Endpoint,
    filter::{Filter, Input, Keyed},
    query_string::Pairs,
    spec::Rules,
};

/// Where it is looked up which records there are.
pub(crate) trait KeyLookup {
    /// Whether an endpoint has a record of this primary key.
    fn exists(&self, endpoint: &'static str, key: &str) -> Result<bool, QueryError>;

    /// The zone of Alyx's times, where it is known.
    fn zone(&self) -> Option<&TimeZone> {
        None
    }
}

/// The value of a filter.
#[derive(Debug, Clone)]
pub(crate) enum CleanedValue {
    Text(String),
    Uuid(String),
    Number(f64),
    Bool(bool),
    Day(Date),
    Time(DateTime),
    /// A key: a UUID or a whole number.
    Key(String),
    Keys(Vec<String>),
}

/// A filter that the request uses, with its value.
pub(crate) type ActiveFilter = (&'static Filter, CleanedValue);

/// The greatest number that Alyx takes.
const GREATEST: f64 = 1e50;

/// Why a text was not taken.
enum FieldError {
    Invalid(String),
    Beyond(QueryError),
}

/// What the request asks for, in the order of the filters, or every message about what can't be read.
pub(crate) fn read(
    keys: &dyn KeyLookup,
    endpoint: &Endpoint,
    pairs: &Pairs,
    rules: &Rules,
) -> Result<Vec<ActiveFilter>, QueryError> {
    let (mut used, mut invalid) = (Vec::new(), Vec::new());
    let mut beyond = None;
    for filter in endpoint.filters {
        let texts: Vec<&str> =
            pairs.iter().filter(|(name, _)| name == filter.name).map(|(_, text)| text.as_str()).collect();
        match value(keys, filter.input, &texts, rules) {
            Ok(Some(value)) => used.push((filter, value)),
            Ok(None) => {}
            Err(FieldError::Invalid(message)) => invalid.push((filter.name, vec![message])),
            Err(FieldError::Beyond(answer)) => beyond = beyond.or(Some(answer)),
        }
    }
    match (beyond, invalid.is_empty()) {
        (Some(answer), _) => Err(answer),
        (None, false) => Err(QueryError::invalid(invalid)),
        (None, true) => Ok(used),
    }
}

/// The value of these repetitions of a parameter; none if it asks nothing.
fn value(
    keys: &dyn KeyLookup,
    input: Input,
    texts: &[&str],
    rules: &Rules,
) -> Result<Option<CleanedValue>, FieldError> {
    let invalid = |message: &str| Err(FieldError::Invalid(message.to_owned()));
    let unsure =
        |text: &str| Err(FieldError::Beyond(QueryError::beyond(&format!("read {text} as Django does"))));
    let Some(raw) = texts.last() else { return Ok(None) };
    if let Input::Keys(keyed) = input {
        return several(keys, keyed, texts);
    }
    let text = if input.strips() { raw.trim_matches(is_space) } else { raw };
    if text.is_empty() {
        return if raw.is_empty() { Ok(None) } else { blank(input) };
    }
    if text.contains('\0') {
        match input {
            Input::Text
            | Input::DateText
            | Input::NumberText
            | Input::Label(_)
            | Input::CodeLabel(_)
            | Input::Pairs => return invalid("Null characters are not allowed."),
            // It is in no number and in no truth: they are judged as such.
            Input::Number | Input::SelectedBoolean | Input::Boolean => {}
            _ => return unsure("a null character"),
        }
    }
    match input {
        Input::Text
        | Input::DateText
        | Input::NumberText
        | Input::Label(_)
        | Input::CodeLabel(_)
        | Input::Pairs => Ok(Some(CleanedValue::Text(text.to_owned()))),
        Input::Uuid => match parse::uuid(text) {
            Parsed::Is(uuid) => Ok(Some(CleanedValue::Uuid(uuid))),
            Parsed::Not => invalid("Enter a valid UUID."),
            Parsed::Unsure => unsure(text),
        },
        Input::Number => match parse::decimal(text) {
            Parsed::Is(number) if number > GREATEST => {
                invalid("Ensure this value is less than or equal to 1e+50.")
            }
            Parsed::Is(number) if number < -GREATEST => unsure(text),
            Parsed::Is(number) => Ok(Some(CleanedValue::Number(number))),
            Parsed::Not => invalid(NO_NUMBER),
            Parsed::Unsure => unsure(text),
        },
        Input::SelectedBoolean => Ok(match *raw {
            "True" | "true" | "2" => Some(CleanedValue::Bool(true)),
            "False" | "false" | "3" => Some(CleanedValue::Bool(false)),
            _ => None,
        }),
        Input::Boolean => Ok(match raw.to_lowercase().as_str() {
            "true" | "1" => Some(CleanedValue::Bool(true)),
            "false" | "0" => Some(CleanedValue::Bool(false)),
            _ => None,
        }),
        Input::DateTime | Input::FormDateTime => match read_time(keys.zone(), input, text, rules) {
            Parsed::Is(time) => Ok(Some(CleanedValue::Time(time))),
            Parsed::Not => invalid(NO_TIME),
            Parsed::Unsure => unsure(text),
        },
        Input::Date => match form_day(text, rules) {
            Parsed::Is(day) => Ok(Some(CleanedValue::Day(day))),
            Parsed::Not => invalid(NO_DAY),
            Parsed::Unsure => unsure(text),
        },
        Input::Choice(codes) if codes.contains(&text) => Ok(Some(CleanedValue::Text(text.to_owned()))),
        // Where Python's None is among the choices, Alyx takes the word for it, and fails later.
        Input::Choice(codes) if text == "None" && codes.iter().all(|code| code.parse::<u8>().is_ok()) => {
            unsure(text)
        }
        Input::Choice(_) => {
            invalid(&format!("Select a valid choice. {text} is not one of the available choices."))
        }
        Input::Key(keyed) => match key(keys, keyed, text)? {
            Some(key) => Ok(Some(CleanedValue::Key(key))),
            None => invalid("Select a valid choice. That choice is not one of the available choices."),
        },
        Input::Uuids => {
            let mut uuids = Vec::new();
            // An empty item is Python's None, which no key equals.
            for item in
                text.split(',').map(|item| item.trim_matches(is_space)).filter(|item| !item.is_empty())
            {
                match parse::uuid(item) {
                    Parsed::Is(uuid) => uuids.push(uuid),
                    Parsed::Not => return invalid("Enter a valid UUID."),
                    Parsed::Unsure => return unsure(item),
                }
            }
            Ok(Some(CleanedValue::Keys(uuids)))
        }
        Input::Keys(_) => Ok(None),
    }
}

const NO_NUMBER: &str = "Enter a number.";
const NO_TIME: &str = "Enter a valid date/time.";
const NO_DAY: &str = "Enter a valid date.";

/// What a text of nothing but spaces asks: nothing, where Django strips it before it looks whether there is one.
/// Numbers, days, times and lists are looked at first.
fn blank(input: Input) -> Result<Option<CleanedValue>, FieldError> {
    let message = match input {
        Input::Number => NO_NUMBER,
        Input::DateTime | Input::FormDateTime => NO_TIME,
        Input::Date => NO_DAY,
        Input::Uuids => return Ok(Some(CleanedValue::Keys(Vec::new()))),
        _ => return Ok(None),
    };
    Err(FieldError::Invalid(message.to_owned()))
}

/// A day as the forms of this Alyx take it.
fn form_day(text: &str, rules: &Rules) -> Parsed<Date> {
    if rules.day_first { parse::day_first(text) } else { parse::form_day(text) }
}

/// A time of ISO 8601; in a form also a day as forms take it.
fn read_time(zone: Option<&TimeZone>, input: Input, text: &str, rules: &Rules) -> Parsed<DateTime> {
    let read = match parse::time_and_offset(text) {
        Parsed::Is((time, None)) => Parsed::Is(time),
        // Of a time of the form only the day counts, as it is written.
        Parsed::Is((time, Some(_))) if matches!(input, Input::FormDateTime) => Parsed::Is(time),
        Parsed::Is((time, Some(ahead))) => {
            let utc = time.checked_sub(ahead).and_then(|time| TimeZone::UTC.to_timestamp(time)).ok();
            match (utc, zone) {
                (Some(utc), Some(zone)) => Parsed::Is(zone.to_datetime(utc)),
                _ => Parsed::Unsure,
            }
        }
        Parsed::Not => Parsed::Not,
        Parsed::Unsure => Parsed::Unsure,
    };
    match (read, input) {
        (Parsed::Not, Input::FormDateTime) => match form_day(text, rules) {
            Parsed::Is(day) => Parsed::Is(day.at(0, 0, 0, 0)),
            // There may be a time after the day.
            Parsed::Not if text.contains([' ', '/']) => Parsed::Unsure,
            Parsed::Not => Parsed::Not,
            Parsed::Unsure => Parsed::Unsure,
        },
        // Without a time only ISO 8601's own ways of writing are taken, with every zero.
        (Parsed::Is(_), Input::DateTime)
            if !text.contains(['T', 't', ' ']) && text.contains('-') && text.len() != 10 =>
        {
            Parsed::Not
        }
        (read, _) => read,
    }
}

/// Keys of which each must be well-formed, and each must be one of the keys that there are, written as Alyx
/// writes it.
fn several(keys: &dyn KeyLookup, keyed: Keyed, texts: &[&str]) -> Result<Option<CleanedValue>, FieldError> {
    // An empty text is a key that is none, not an absent parameter.
    let (mut malformed, mut unknown, mut found) = (Vec::new(), Vec::new(), Vec::new());
    for text in texts {
        let own = if keyed.integer { number_key(text) } else { parse::uuid(text) };
        match own {
            Parsed::Is(own) => found.push((*text, own)),
            Parsed::Not => malformed.push(*text),
            Parsed::Unsure => return Err(odd_key(text)),
        }
    }
    let what = if keyed.integer { "value" } else { "UUID" };
    only(malformed, |text| format!("“{text}” is not a valid {what}."))?;
    let Some(by) = keyed.by else { return Err(no_list(texts.first().unwrap_or(&""))) };
    for (text, own) in &found {
        if text != own || !keys.exists(by, own).map_err(FieldError::Beyond)? {
            unknown.push(*text);
        }
    }
    only(unknown, |text| format!("Select a valid choice. {text} is not one of the available choices."))?;
    let found: Vec<String> = found.into_iter().map(|(_, own)| own).collect();
    Ok(if found.is_empty() { None } else { Some(CleanedValue::Keys(found)) })
}

/// Refuses the one text that is wrong. Which of several Alyx names is up to the order of a set.
fn only(mut wrong: Vec<&str>, message: impl FnOnce(&str) -> String) -> Result<(), FieldError> {
    wrong.sort_unstable();
    wrong.dedup();
    match wrong.as_slice() {
        [] => Ok(()),
        [text] if !text.contains('\0') => Err(FieldError::Invalid(message(text))),
        [text, ..] => Err(odd_key(text)),
    }
}

/// The key of a record that exists; none if there is no such record.
fn key(keys: &dyn KeyLookup, keyed: Keyed, text: &str) -> Result<Option<String>, FieldError> {
    let key = if keyed.integer { number_key(text) } else { parse::uuid(text) };
    let key = match key {
        Parsed::Is(key) => key,
        Parsed::Not if keyed.integer => return Ok(None),
        Parsed::Not => return Err(FieldError::Invalid(format!("“{text}” is not a valid UUID."))),
        Parsed::Unsure => return Err(odd_key(text)),
    };
    let Some(by) = keyed.by else { return Err(no_list(text)) };
    let found = keys.exists(by, &key).map_err(FieldError::Beyond)?;
    Ok(found.then_some(key))
}

fn number_key(text: &str) -> Parsed<String> {
    match parse::whole(text) {
        Parsed::Is(number) => Parsed::Is(number.to_string()),
        Parsed::Not => Parsed::Not,
        Parsed::Unsure => Parsed::Unsure,
    }
}

fn odd_key(text: &str) -> FieldError {
    FieldError::Beyond(QueryError::beyond(&format!("read {text} as Django does")))
}

fn no_list(text: &str) -> FieldError {
    FieldError::Beyond(QueryError::hidden(&format!("which record {text} is the key of")))
}
