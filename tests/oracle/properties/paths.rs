//! Pairs of `django=` over random paths, and of the filters of JSON columns.

use serde_json::Value;

use super::{dice::Dice, queries::shown};
use crate::{
    alyx::model::{Column, ColumnKind, Model},
    oracle::ask::naive::Naive,
};

const TEXT: &[&str] = &[
    "",
    "__exact",
    "__iexact",
    "__contains",
    "__icontains",
    "__startswith",
    "__istartswith",
    "__endswith",
    "__iendswith",
    "__in",
    "__isnull",
    "__regex",
    "__lt",
    "__gte",
];
const UUID: &[&str] =
    &["", "__in", "__isnull", "__gt", "__lte", "__startswith", "__icontains", "__iexact", "__regex"];
const NUMBER: &[&str] = &[
    "",
    "__gt",
    "__gte",
    "__lt",
    "__lte",
    "__in",
    "__range",
    "__isnull",
    "__startswith",
    "__contains",
    "__iendswith",
    "__iexact",
];
const TRUTH: &[&str] = &["", "__isnull", "__icontains", "__iexact"];
const TIME: &[&str] = &[
    "",
    "__gt",
    "__gte",
    "__lt",
    "__lte",
    "__range",
    "__isnull",
    "__date",
    "__date__gte",
    "__date__lt",
    "__year",
    "__year__gte",
    "__month",
    "__day",
    "__hour",
    "__week_day",
    "__iso_week_day",
    "__quarter",
    "__week__gte",
    "__iso_year",
    "__date__month",
    "__startswith",
    "__in",
];
const DAY: &[&str] =
    &["", "__gt", "__gte", "__lt", "__lte", "__isnull", "__year", "__month__lt", "__quarter", "__contains"];
const ARRAY: &[&str] = &["__len", "__contains", "__0", "__1__gte", "__isnull"];
const JSON: &[&str] = &[
    "",
    "__gte",
    "__lt",
    "__isnull",
    "__icontains",
    "__in",
    "__has_key",
    "__has_any_keys",
    "__contained_by",
    "__range",
    "__iexact",
    "__startswith",
];

/// One to three pairs.
pub(super) fn pairs(naive: &Naive, endpoint: &'static str, dice: &mut Dice<'_>) -> String {
    let several = 1 + [0, 0, 1, 2][dice.below(4)];
    let pairs: Vec<String> = (0..several).map(|_| pair(naive, endpoint, dice)).collect();
    pairs.join(",")
}

fn pair(naive: &Naive, endpoint: &'static str, dice: &mut Dice<'_>) -> String {
    let (mut names, mut at) = (Vec::new(), endpoint);
    for _ in 0..dice.below(4) {
        let Some(relation) = Model::of(at).and_then(|model| dice.pick(model.relations)) else { break };
        names.push(relation.name.to_owned());
        at = relation.to;
    }
    let column = match dice.below(10) {
        // The relation itself.
        8 if !names.is_empty() => None,
        9 => {
            names.push(dice.word(&["pk", "nothing", "id"]).to_owned());
            None
        }
        _ => Model::of(at).and_then(|model| dice.pick(model.columns)),
    };
    let (lookup, value) = if let Some(column) = column {
        names.push(column.name.to_owned());
        asked(naive, at, column, dice)
    } else {
        let id = value_of(naive, at, "id", dice);
        match dice.below(3) {
            0 => ("__isnull".to_owned(), dice.word(&["True", "False"]).to_owned()),
            1 => (String::new(), "None".to_owned()),
            _ => (String::new(), shown(&id)),
        }
    };
    let not = if dice.once_in(4) { "~" } else { "" };
    format!("{not}{}{lookup},{value}", names.join("__"))
}

/// A lookup of a column with a value for it.
fn asked(naive: &Naive, endpoint: &'static str, column: &Column, dice: &mut Dice<'_>) -> (String, String) {
    let (own, other) =
        (value_of(naive, endpoint, column.name, dice), value_of(naive, endpoint, column.name, dice));
    if let ColumnKind::Json = column.kind {
        return under_keys(&own, dice);
    }
    let lookups = match column.kind {
        ColumnKind::Text => TEXT,
        ColumnKind::Uuid => UUID,
        ColumnKind::Integer | ColumnKind::Float | ColumnKind::Labels(_) => NUMBER,
        ColumnKind::Boolean => TRUTH,
        ColumnKind::DateTime => TIME,
        ColumnKind::Date => DAY,
        ColumnKind::Array | ColumnKind::Json => ARRAY,
    };
    let lookup = dice.word(lookups);
    let number = |value: Value| match column.kind {
        ColumnKind::Labels(labels) => labels.number(&shown(&value)).map_or(value, Value::from),
        _ => value,
    };
    let (own, other) = (number(own), number(other));
    let value = match lookup {
        "__isnull" => dice.word(&["True", "False"]).to_owned(),
        "__in" | "__range" => format!("[{},{}]", literal(&own), literal(&other)),
        "__len" => dice.below(4).to_string(),
        "__contains" if matches!(column.kind, ColumnKind::Array) => own.to_string(),
        "__0" | "__1__gte" => own.get(0).map_or_else(|| "1".to_owned(), Value::to_string),
        "__date" | "__date__gte" | "__date__lt" => shown(&own).chars().take(10).collect(),
        "__year" | "__year__gte" | "__iso_year" => shown(&own).chars().take(4).collect(),
        "__month" | "__day" | "__hour" | "__week_day" | "__month__lt" | "__iso_week_day" | "__quarter"
        | "__week__gte" | "__date__month" => (1 + dice.below(12)).to_string(),
        "__regex" => shown(&own).chars().filter(char::is_ascii_alphanumeric).take(4).collect(),
        "" | "__exact" if dice.once_in(6) => "None".to_owned(),
        "__contains" | "__icontains" | "__startswith" | "__istartswith" | "__endswith" | "__iendswith" => {
            part(&shown(&own), dice)
        }
        _ => shown(&own),
    };
    (lookup.to_owned(), value)
}

/// The text, or its beginning, middle or end, in another case.
fn part(text: &str, dice: &mut Dice<'_>) -> String {
    let half = text.chars().count() / 2;
    let part: String = match dice.below(4) {
        0 => text.to_owned(),
        1 => text.chars().take(half).collect(),
        2 => text.chars().skip(half).collect(),
        _ => text.chars().skip(half / 2).take(half).collect(),
    };
    if dice.once_in(3) { part.to_uppercase() } else { part }
}

fn value_of(naive: &Naive, endpoint: &'static str, path: &str, dice: &mut Dice<'_>) -> Value {
    for _ in 0..3 {
        let values = naive.values(endpoint, dice.below(naive.len(endpoint)), path);
        if let Some(value) = dice.pick(&values) {
            return value.clone();
        }
    }
    Value::from(1)
}

/// A value as Python writes it within brackets.
fn literal(value: &Value) -> String {
    match value {
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Null => "None".to_owned(),
        Value::String(text) => format!("'{}'", text.replace(['\'', '\\'], "")),
        other => other.to_string(),
    }
}

/// Keys of a JSON value with a lookup and a value.
fn under_keys(own: &Value, dice: &mut Dice<'_>) -> (String, String) {
    let (mut keys, mut at) = (String::new(), own);
    for _ in 0..dice.below(3) {
        let Some(fields) = at.as_object() else { break };
        let names: Vec<&String> = fields.keys().collect();
        let Some(name) = dice.pick(&names) else { break };
        keys.push_str("__");
        keys.push_str(name);
        at = &at[name.as_str()];
    }
    if keys.is_empty() && dice.once_in(2) {
        keys.push_str(dice.word(&["__a", "__b", "__c", "__a__k", "__c__0"]));
    }
    let lookup = dice.word(JSON);
    let value = match lookup {
        "__isnull" => dice.word(&["True", "False"]).to_owned(),
        "__in" => format!("[{},1,'x']", literal(at)),
        "__range" => format!("[0,{}]", literal(at)),
        "__has_any_keys" => dice.word(&["['a','k']", "[]", "ab"]).to_owned(),
        "__contained_by" => dice.word(&["({'a':1})", "[1,'text']", "text"]).to_owned(),
        "__has_key" => dice.word(&["a", "b", "k"]).to_owned(),
        _ if dice.once_in(4) => dice.word(&["1", "1.0", "None", "True", "text", "0.5"]).to_owned(),
        _ => literal(at).trim_matches('\'').to_owned(),
    };
    (format!("{keys}{lookup}"), value)
}

/// Pairs for a filter of this JSON column.
pub(super) fn json_pairs(naive: &Naive, endpoint: &'static str, column: &str, dice: &mut Dice<'_>) -> String {
    let own = value_of(naive, endpoint, column, dice);
    let several = 1 + dice.below(2);
    let pair = |_| {
        let (keys, value) = under_keys(&own, dice);
        format!("{},{value}", keys.trim_start_matches('_'))
    };
    (0..several).map(pair).collect::<Vec<_>>().join(",")
}
