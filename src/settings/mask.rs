//! No password reaches a screen or a log, neither in a list of settings nor in an error about one.
//!
//! Besides the settings that are secrets, people write passwords into URLs and make up keys for them.

use serde_json::Value;

use super::{keys, kind::ValueKind};

const MASK: &str = "***";
const SECRET: [&str; 6] = ["password", "passwd", "pwd", "secret", "token", "credential"];

/// `value` as it may be shown for `key`.
pub(super) fn masked(key: &str, value: &Value) -> Value {
    let url = match keys::find(key) {
        Some(known) => matches!(known.kind, ValueKind::BaseUrl { .. } | ValueKind::EngineUrl),
        None => true,
    };
    let span = keys::find(key).is_some_and(|known| matches!(known.kind, ValueKind::Span { .. }));
    let secret =
        !span && !key.ends_with("_file") && SECRET.iter().any(|word| key.to_lowercase().contains(word));
    match value {
        Value::String(text) if secret && !text.is_empty() => MASK.into(),
        Value::Number(_) if secret => MASK.into(),
        Value::String(text) if url => without_user(text).into(),
        Value::Array(items) => items.iter().map(|item| masked(key, item)).collect(),
        Value::Object(table) => {
            let inner =
                |(name, value): (&String, &Value)| (name.clone(), masked(&format!("{key}.{name}"), value));
            Value::Object(table.iter().map(inner).collect())
        }
        _ => value.clone(),
    }
}

/// The last `@` ends the user and password even where a `/` in the password was not encoded.
fn without_user(text: &str) -> String {
    // PostgreSQL's URLs may have a password among their parameters.
    let (place, query) = text.split_once('?').map_or((text, ""), |(place, _)| (place, "?***"));
    let query = if text.starts_with("postgres") { query } else { &text[place.len()..] };
    let text = format!("{place}{query}");
    let Some((before, host)) = text.rsplit_once('@') else { return text };
    let scheme = before.find("://").map_or("", |end| &before[..end + 3]);
    format!("{scheme}{MASK}@{host}")
}

/// The start of a value, on one line: for an error message.
pub(super) fn shown(key: &str, value: &Value) -> String {
    const LONGEST: usize = 120;
    let text = masked(key, value).to_string();
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn passwords_are_masked_wherever_they_stand() {
        for (key, value, shown) in [
            ("upstream.url", json!("https://me:word@alyx.org"), json!("https://***@alyx.org")),
            ("upstream.url", json!("https://me:wo/rd@alyx.org/a"), json!("https://***@alyx.org/a")),
            ("upstream.url", json!("me:word@alyx.org"), json!("***@alyx.org")),
            ("cluster.url", json!("postgres://me:word@db/alyx"), json!("postgres://***@db/alyx")),
            (
                "cluster.url",
                json!("postgres://db/alyx?user=me&password=word"),
                json!("postgres://db/alyx?***"),
            ),
            ("upstream.url", json!("https://alyx.org"), json!("https://alyx.org")),
            ("upstream.password", json!("word"), json!("***")),
            ("upstream.Token", json!(1234), json!("***")),
            ("mirror.token_file", json!("/run/secrets/alyx"), json!("/run/secrets/alyx")),
            ("secrets", json!(["a", {"b": "c"}]), json!(["***", {"b": "***"}])),
            ("alyx", json!({"password": "word", "user": "me"}), json!({"password": "***", "user": "me"})),
            ("storage.data_dir", json!("/home/me@lab/data"), json!("/home/me@lab/data")),
        ] {
            assert_eq!(masked(key, &value), shown, "{key} = {value}");
        }
    }

    #[test]
    fn a_shown_value_is_one_short_line() {
        assert_eq!(shown("log.level", &json!("a\nb")), "\"a\\nb\"");
        assert_eq!(shown("log.level", &json!("ü".repeat(500))).chars().count(), 121);
    }
}
