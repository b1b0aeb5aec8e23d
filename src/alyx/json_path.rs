//! Where in a record a value stands: the places of [`super::model`].

use std::borrow::Cow;

use serde_json::Value;

/// The values at a place of a record; none where nothing, or only null, stands there.
pub fn values<'v>(record: &'v Value, at: &str) -> Vec<Cow<'v, Value>> {
    let (fields, last) = match at.find(['#', '<', '>']) {
        Some(end) => (&at[..end], &at[end..]),
        None => (at, ""),
    };
    let mut values = vec![record];
    for field in fields.split('.').filter(|field| !field.is_empty()) {
        let (name, items) = match field.strip_suffix("[]") {
            Some(name) => (name, true),
            None => (field, false),
        };
        let found = values.iter().filter_map(|value| value.get(name));
        values = if items { found.filter_map(Value::as_array).flatten().collect() } else { found.collect() };
    }
    values.into_iter().filter(|value| !value.is_null()).filter_map(|value| part(value, last)).collect()
}

/// Whether there is a field at a place, be it null.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// There is.
    There,
    /// There is none.
    Absent,
    /// What it would stand in is null or empty.
    Open,
}

/// Whether a record has a field at a place.
pub fn presence(record: &Value, at: &str) -> Presence {
    let fields = at.split(['#', '<', '>']).next().unwrap_or(at);
    let mut values = vec![record];
    for field in fields.split('.').filter(|field| !field.is_empty()) {
        let (name, items) = match field.strip_suffix("[]") {
            Some(name) => (name, true),
            None => (field, false),
        };
        let objects: Vec<_> = values.iter().filter_map(|value| value.as_object()).collect();
        if objects.is_empty() {
            return Presence::Open;
        }
        let found: Vec<&Value> = objects.iter().filter_map(|object| object.get(name)).collect();
        if found.len() < objects.len() {
            return Presence::Absent;
        }
        values =
            if items { found.into_iter().filter_map(Value::as_array).flatten().collect() } else { found };
    }
    Presence::There
}

/// A value, or the part of a text: the id at the end of a link, or what is before or after a character.
fn part<'v>(value: &'v Value, which: &str) -> Option<Cow<'v, Value>> {
    let text = value.as_str().unwrap_or_default();
    let part = match which.split_at_checked(1) {
        Some(("#", _)) => text.rsplit('/').next(),
        Some(("<", at)) => text.split(at).next(),
        Some((">", at)) => text.split_once(at).map(|(_, after)| after),
        _ => return Some(Cow::Borrowed(value)),
    };
    part.map(|part| Cow::Owned(Value::from(part)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_field_is_there_though_it_is_null() {
        let record =
            json!({"a": null, "b": {"c": null}, "d": [], "e": [{"id": null}], "n": null, "t": "p.q"});
        for (at, found) in [
            ("a", Presence::There),
            ("b.c", Presence::There),
            ("d[]", Presence::There),
            ("e[].id", Presence::There),
            ("t<.", Presence::There),
            ("x", Presence::Absent),
            ("b.x", Presence::Absent),
            ("e[].x", Presence::Absent),
            ("x[]", Presence::Absent),
            ("n.x", Presence::Open),
            ("d[].x", Presence::Open),
        ] {
            assert_eq!(presence(&record, at), found, "{at}");
        }
    }

    #[test]
    fn finds_what_stands_at_a_place() {
        let record = json!({"a": 1, "b": {"c": "x"}, "d": ["p", null, "q"], "e": [{"id": 1}, {"id": 2}],
            "url": "http://h/s/07", "type": "app.model", "n": null});
        for (at, found) in [
            ("a", json!([1])),
            ("b.c", json!(["x"])),
            ("d[]", json!(["p", "q"])),
            ("e[].id", json!([1, 2])),
            ("url#", json!(["07"])),
            ("type<.", json!(["app"])),
            ("type>.", json!(["model"])),
            ("n", json!([])),
            ("none.at[].all", json!([])),
        ] {
            let values: Vec<Value> = values(&record, at).into_iter().map(Cow::into_owned).collect();
            assert_eq!(Value::Array(values), found, "{at}");
        }
    }
}
