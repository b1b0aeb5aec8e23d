//! The texts of filters read and checked, all before any is applied (REST.md 2.1, rules 2 to 6).

use jiff::civil::{Date, DateTime};

use super::{
    Unanswered,
    read::{self, Read},
};
use crate::alyx::{
    Endpoint,
    filter::{Filter, Input, Keyed},
    query::Pairs,
};

/// Where it is looked up which records there are.
pub(crate) trait Keys {
    /// Whether an endpoint has a record of this primary key.
    fn exists(&self, endpoint: &'static str, key: &str) -> Result<bool, Unanswered>;
}

/// The value of a filter.
#[derive(Debug, Clone)]
pub(crate) enum Asked {
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
pub(crate) type Used = (&'static Filter, Asked);

/// The greatest number that Alyx takes.
const GREATEST: f64 = 1e50;

/// Why a text was not taken.
enum Problem {
    Invalid(String),
    Beyond(Unanswered),
}

/// What the request asks for, in the order of the filters, or every message about what can't be read.
pub(crate) fn read(keys: &dyn Keys, endpoint: &Endpoint, pairs: &Pairs) -> Result<Vec<Used>, Unanswered> {
    let (mut used, mut invalid) = (Vec::new(), Vec::new());
    let mut beyond = None;
    for filter in endpoint.filters {
        let texts: Vec<&str> =
            pairs.iter().filter(|(name, _)| name == filter.name).map(|(_, text)| text.as_str()).collect();
        match value(keys, filter.input, &texts) {
            Ok(Some(value)) => used.push((filter, value)),
            Ok(None) => {}
            Err(Problem::Invalid(message)) => invalid.push((filter.name, vec![message])),
            Err(Problem::Beyond(answer)) => beyond = beyond.or(Some(answer)),
        }
    }
    match (beyond, invalid.is_empty()) {
        (Some(answer), _) => Err(answer),
        (None, false) => Err(Unanswered::invalid(invalid)),
        (None, true) => Ok(used),
    }
}

/// The value of these repetitions of a parameter; none if it asks nothing.
fn value(keys: &dyn Keys, input: Input, texts: &[&str]) -> Result<Option<Asked>, Problem> {
    let invalid = |message: &str| Err(Problem::Invalid(message.to_owned()));
    let unsure =
        |text: &str| Err(Problem::Beyond(Unanswered::beyond(&format!("read {text} as Django does"))));
    let Some(raw) = texts.last() else { return Ok(None) };
    if let Input::Keys(keyed) = input {
        return several(keys, keyed, texts);
    }
    let text = if input.strips() { raw.trim() } else { raw };
    if text.is_empty() {
        return Ok(None);
    }
    if text.contains('\0') && !matches!(input, Input::SelectedBoolean | Input::Boolean) {
        return invalid("Null characters are not allowed.");
    }
    match input {
        Input::Text
        | Input::DateText
        | Input::NumberText
        | Input::Label(_)
        | Input::CodeLabel(_)
        | Input::Pairs => Ok(Some(Asked::Text(text.to_owned()))),
        Input::Uuid => match read::uuid(text) {
            Some(uuid) => Ok(Some(Asked::Uuid(uuid))),
            None => invalid("Enter a valid UUID."),
        },
        Input::Number => match read::decimal(text) {
            Some(number) if number > GREATEST => invalid("Ensure this value is less than or equal to 1e+50."),
            Some(number) if number < -GREATEST => unsure(text),
            Some(number) => Ok(Some(Asked::Number(number))),
            None => invalid("Enter a number."),
        },
        Input::SelectedBoolean => Ok(match *raw {
            "True" | "true" | "2" => Some(Asked::Bool(true)),
            "False" | "false" | "3" => Some(Asked::Bool(false)),
            _ => None,
        }),
        Input::Boolean => Ok(match raw.to_lowercase().as_str() {
            "true" | "1" => Some(Asked::Bool(true)),
            "false" | "0" => Some(Asked::Bool(false)),
            _ => None,
        }),
        Input::DateTime | Input::FormDateTime => match read_time(input, text) {
            Read::Is(time) => Ok(Some(Asked::Time(time))),
            Read::Not => invalid("Enter a valid date/time."),
            Read::Unsure => unsure(text),
        },
        Input::Date => match read::form_day(text) {
            Read::Is(day) => Ok(Some(Asked::Day(day))),
            Read::Not => invalid("Enter a valid date."),
            Read::Unsure => unsure(text),
        },
        Input::Choice(codes) if codes.contains(&text) => Ok(Some(Asked::Text(text.to_owned()))),
        Input::Choice(_) => {
            invalid(&format!("Select a valid choice. {text} is not one of the available choices."))
        }
        Input::Key(keyed) => match key(keys, keyed, text)? {
            Some(key) => Ok(Some(Asked::Key(key))),
            None => invalid("Select a valid choice. That choice is not one of the available choices."),
        },
        Input::Uuids => {
            let uuids: Option<Vec<String>> = text.split(',').map(|text| read::uuid(text.trim())).collect();
            uuids.map_or_else(|| invalid("Enter a valid UUID."), |uuids| Ok(Some(Asked::Keys(uuids))))
        }
        Input::Keys(_) => Ok(None),
    }
}

/// A time of ISO 8601; in a form also a day as forms take it.
fn read_time(input: Input, text: &str) -> Read<DateTime> {
    match (read::time(text), input) {
        (Read::Not, Input::FormDateTime) => match read::form_day(text) {
            Read::Is(day) => Read::Is(day.at(0, 0, 0, 0)),
            // There may be a time after the day.
            Read::Not if text.contains([' ', '/']) => Read::Unsure,
            Read::Not => Read::Not,
            Read::Unsure => Read::Unsure,
        },
        (read, _) => read,
    }
}

fn several(keys: &dyn Keys, keyed: Keyed, texts: &[&str]) -> Result<Option<Asked>, Problem> {
    let mut found = Vec::new();
    // An empty text is a key that is none, not an absent parameter.
    for text in texts {
        if keyed.integer && read::whole(text).is_none() {
            return Err(Problem::Invalid(format!("“{text}” is not a valid value.")));
        }
        let Some(key) = key(keys, keyed, text)? else {
            let reason = "is not one of the available choices.";
            return Err(Problem::Invalid(format!("Select a valid choice. {text} {reason}")));
        };
        found.push(key);
    }
    Ok(if found.is_empty() { None } else { Some(Asked::Keys(found)) })
}

/// The key of a record that exists; none if there is no such record.
fn key(keys: &dyn Keys, keyed: Keyed, text: &str) -> Result<Option<String>, Problem> {
    let key = if keyed.integer {
        read::whole(text).map(|number| number.to_string())
    } else {
        let malformed = || Problem::Invalid(format!("“{text}” is not a valid UUID."));
        Some(read::uuid(text).ok_or_else(malformed)?)
    };
    let Some(key) = key else { return Ok(None) };
    let Some(by) = keyed.by else {
        return Err(Problem::Beyond(Unanswered::hidden(&format!("which record {text} is the key of"))));
    };
    let found = keys.exists(by, &key).map_err(Problem::Beyond)?;
    Ok(found.then_some(key))
}
