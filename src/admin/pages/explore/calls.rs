//! The same question from ONE and from a shell.

use crate::alyx::Endpoint;

/// The call of ONE that asks a list.
pub(super) fn list(endpoint: &Endpoint, pairs: &[(String, String)]) -> String {
    let arguments: Vec<String> = pairs.iter().map(|(name, value)| argument(name, value)).collect();
    let rest = [vec![format!("'{}'", endpoint.name), "'list'".to_owned()], arguments.clone()].concat();
    let rest = format!("one.alyx.rest({})", rest.join(", "));
    // `search` gives the sessions' ids.
    let searchable =
        endpoint.name == "sessions" && !pairs.iter().any(|(name, _)| name == "limit" || name == "offset");
    if !searchable || pairs.is_empty() {
        return rest;
    }
    format!("one.search({}, query_type='remote')\n{rest}", arguments.join(", "))
}

/// The call of ONE that reads a record.
pub(super) fn record(endpoint: &Endpoint, key: &str) -> String {
    format!("one.alyx.rest('{}', 'read', id={})", endpoint.name, text(key))
}

/// The line for a shell.
pub(super) fn curl(base: &str, path_and_query: &str) -> String {
    format!("curl -H \"Authorization: Token $TOKEN\" '{base}{}'", path_and_query.replace('\'', "%27"))
}

fn argument(name: &str, value: &str) -> String {
    let number = !value.is_empty() && value.len() < 10 && value.bytes().all(|byte| byte.is_ascii_digit());
    let value = match value {
        "True" | "False" => value.to_owned(),
        _ if number && !value.starts_with('0') => value.to_owned(),
        _ => text(value),
    };
    // A name that Python can't take as an argument's is given in a dictionary.
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !name.starts_with(|c: char| c.is_ascii_digit());
    if plain { format!("{name}={value}") } else { format!("**{{{}: {value}}}", text(name)) }
}

/// A Python string.
fn text(value: &str) -> String {
    let mut quoted = String::from("'");
    for c in value.chars() {
        match c {
            '\\' | '\'' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            c => quoted.push(c),
        }
    }
    quoted.push('\'');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_python() {
        let sessions = Endpoint::named("sessions").unwrap();
        let pairs = [("lab", "it's"), ("number", "2"), ("nickname", "007"), ("a-b", "x")];
        let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(
            list(sessions, &pairs).lines().last().unwrap(),
            r"one.alyx.rest('sessions', 'list', lab='it\'s', number=2, nickname='007', **{'a-b': 'x'})"
        );
        assert_eq!(record(sessions, "x"), "one.alyx.rest('sessions', 'read', id='x')");
        assert_eq!(
            curl("http://lab", "/sessions?lab=it's"),
            "curl -H \"Authorization: Token $TOKEN\" 'http://lab/sessions?lab=it%27s'"
        );
    }
}
