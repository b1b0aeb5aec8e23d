//! A list as CSV (RFC 4180), for spreadsheets.

use serde_json::Value;

use super::table::text_of;

/// The records with all fields that any of them has, a line each.
pub(super) fn of(records: &[Value]) -> String {
    let mut names: Vec<&str> = Vec::new();
    for name in records.iter().filter_map(Value::as_object).flat_map(|record| record.keys()) {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    let mut text = line(names.iter().map(|name| (*name).to_owned()));
    for record in records {
        text.push_str(&line(names.iter().map(|name| cell(&record[*name]))));
    }
    text
}

/// What is nested stays JSON.
fn cell(value: &Value) -> String {
    let nested = |item: &Value| item.is_array() || item.is_object();
    match value {
        Value::Object(_) => value.to_string(),
        Value::Array(items) if items.iter().any(nested) => value.to_string(),
        value => text_of(value),
    }
}

fn line(cells: impl Iterator<Item = String>) -> String {
    let quoted = |cell: String| {
        if cell.contains([',', '"', '\n', '\r']) {
            format!("\"{}\"", cell.replace('"', "\"\""))
        } else {
            cell
        }
    };
    let mut line = cells.map(quoted).collect::<Vec<_>>().join(",");
    line.push_str("\r\n");
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_divides_is_quoted() {
        let records = [json!({"a": "x,\"y\"", "b": ["p", "q"]}), json!({"a": null, "c": {"d": 1}})];
        assert_eq!(of(&records), "a,b,c\r\n\"x,\"\"y\"\"\",\"p, q\",\r\n,,\"{\"\"d\"\":1}\"\r\n");
    }
}
