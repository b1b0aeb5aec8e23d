//! One record, kept as the text that Alyx served.
//!
//! The text leaves unchanged, so numbers, key order and `NaN` (ALYX.md 3.1) stay Alyx's. A change
//! replaces the text of single fields; filters look at a parsed copy that is made when first needed.

use std::sync::OnceLock;

use serde_json::Value;

/// A record of a list, or a detail.
#[derive(Debug)]
pub struct Record {
    text: Box<str>,
    value: OnceLock<Value>,
}

impl Record {
    /// A record with this text.
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self { text: text.into(), value: OnceLock::new() }
    }

    /// The text as Alyx served it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The record parsed; `NaN` and the infinities become strings of that name.
    pub fn value(&self) -> &Value {
        self.value.get_or_init(|| parse(&self.text))
    }

    /// The text of one field.
    pub fn field(&self, name: &str) -> Option<&str> {
        fields(&self.text).find(|(key, _)| *key == name).map(|(_, text)| text)
    }

    /// A field that is a string without escapes, or a number: its text without quotes.
    pub fn plain(&self, name: &str) -> Option<&str> {
        self.field(name).filter(|text| *text != "null").map(|text| text.trim_matches('"'))
    }

    /// The record with another text for one field; a field that it lacks is appended.
    #[must_use]
    pub fn with(&self, name: &str, text: &str) -> Self {
        let mut out = String::with_capacity(self.text.len() + text.len());
        let mut found = false;
        for (key, old) in fields(&self.text) {
            let new = if key == name {
                found = true;
                text
            } else {
                old
            };
            push_field(&mut out, key, new);
        }
        if !found {
            push_field(&mut out, name, text);
        }
        out.push('}');
        Self::new(out)
    }

    /// The record without some of its fields.
    #[must_use]
    pub fn without(&self, names: &[&str]) -> Self {
        let mut out = String::with_capacity(self.text.len());
        for (key, text) in fields(&self.text).filter(|(key, _)| !names.contains(key)) {
            push_field(&mut out, key, text);
        }
        if out.is_empty() {
            out.push('{');
        }
        out.push('}');
        Self::new(out)
    }
}

fn push_field(out: &mut String, key: &str, text: &str) {
    out.push(if out.is_empty() { '{' } else { ',' });
    out.push('"');
    out.push_str(key);
    out.push_str("\":");
    out.push_str(text);
}

/// Parses Alyx's JSON, `NaN` and infinities as strings. A text that is not JSON is null.
pub fn parse(text: &str) -> Value {
    serde_json::from_str(text)
        .or_else(|_| serde_json::from_str(&quote_non_numbers(text)))
        .unwrap_or(Value::Null)
}

/// Puts quotes around `NaN`, `Infinity` and `-Infinity` outside strings.
fn quote_non_numbers(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some(next) = rest.find(['"', 'N', 'I', '-']) {
        out.push_str(&rest[..next]);
        rest = &rest[next..];
        let word = ["NaN", "Infinity", "-Infinity"].into_iter().find(|word| rest.starts_with(word));
        let end = match word {
            Some(word) => {
                out.push('"');
                out.push_str(word);
                out.push('"');
                rest = &rest[word.len()..];
                continue;
            }
            None if rest.starts_with('"') => value_end(rest.as_bytes()),
            None => 1,
        };
        out.push_str(&rest[..end]);
        rest = &rest[end..];
    }
    out.push_str(rest);
    out
}

/// The value with the items of its lists in an order of their own: Alyx gives related records in any.
pub fn in_one_order(value: &Value) -> Value {
    match value {
        Value::Array(items) => {
            let mut items: Vec<Value> = items.iter().map(in_one_order).collect();
            items.sort_by_cached_key(ToString::to_string);
            Value::Array(items)
        }
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| (name.clone(), in_one_order(value))).collect()
        }
        value => value.clone(),
    }
}

/// The fields of an object: key and text of the value, in their order.
pub fn fields(text: &str) -> impl Iterator<Item = (&str, &str)> {
    members(text).filter_map(|member| {
        let key_end = value_end(member.as_bytes());
        let value = member.get(key_end..)?.trim_ascii_start().strip_prefix(':')?;
        Some((member.get(1..key_end - 1)?, value.trim_ascii_start()))
    })
}

/// The items of an array, or the members of an object: the text between commas.
pub fn members(text: &str) -> impl Iterator<Item = &str> {
    let inner = text.trim_ascii();
    let mut rest = inner.get(1..inner.len().saturating_sub(1)).unwrap_or_default().trim_ascii();
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = member_end(rest.as_bytes());
        let member = &rest[..end];
        rest = rest.get(end + 1..).unwrap_or_default().trim_ascii_start();
        Some(member.trim_ascii_end())
    })
}

/// Where the first comma outside strings and brackets is.
fn member_end(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b',' => return at,
            b'"' | b'{' | b'[' => at += value_end(&bytes[at..]),
            _ => at += 1,
        }
    }
    at
}

/// The length of the string, object or array at the start of the text.
fn value_end(bytes: &[u8]) -> usize {
    let (mut at, mut depth) = (0, 0_usize);
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'"' => at += string_end(&bytes[at..]),
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// The length of what is left of a string, its closing quote with it.
fn string_end(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"{"id":"a","json":{"k,\"]":[1,{"x":NaN}]},"roll":-Infinity,"s":"NaN, \\","n":[]}"#;

    #[test]
    fn fields_are_cut_as_they_are() {
        let record = Record::new(TEXT);
        let keys: Vec<_> = fields(record.text()).map(|(key, _)| key).collect();
        assert_eq!(keys, ["id", "json", "roll", "s", "n"]);
        assert_eq!(record.field("json"), Some(r#"{"k,\"]":[1,{"x":NaN}]}"#));
        assert_eq!(record.plain("id"), Some("a"));
        assert_eq!(members("[]").count(), 0);
        assert_eq!(members(r#"[1,"a,b",[2,3]]"#).collect::<Vec<_>>(), ["1", r#""a,b""#, "[2,3]"]);
    }

    #[test]
    fn changes_touch_one_field() {
        let record = Record::new(TEXT);
        assert_eq!(record.with("id", "\"b\"").text(), TEXT.replace(r#""id":"a""#, r#""id":"b""#));
        assert_eq!(record.with("new", "1").text(), TEXT.replace("[]}", r#"[],"new":1}"#));
        assert_eq!(record.without(&["json", "n"]).text(), r#"{"id":"a","roll":-Infinity,"s":"NaN, \\"}"#);
    }

    #[test]
    fn non_numbers_become_strings_for_filters() {
        let record = Record::new(TEXT);
        assert_eq!(record.value()["roll"], "-Infinity");
        assert_eq!(record.value()["s"], "NaN, \\");
        assert_eq!(record.value()["json"]["k,\"]"][1]["x"], "NaN");
    }
}
