//! The same question from ONE and from a shell.

use serde_json::Value;

use crate::alyx::Endpoint;

/// What ONE is for.
pub(super) const SESSIONS: &str = "sessions";

/// What makes ONE ask this proxy, at the beginning of all that is to run as it is copied.
fn beginning(base: &str) -> String {
    format!("from one.api import ONE\none = ONE(base_url={})", text(base))
}

/// What asks a list with ONE: of sessions `search` first, which gives their ids.
pub(super) fn list(base: &str, endpoint: &Endpoint, pairs: &[(String, String)]) -> String {
    let arguments = |pairs: &[(String, String)]| -> Vec<String> {
        pairs.iter().map(|(name, value)| argument(name, value)).collect()
    };
    let rest = [vec![format!("'{}'", endpoint.name), "'list'".to_owned()], arguments(pairs)].concat();
    let rest = format!("records = one.alyx.rest({})", rest.join(", "));
    let terms: Vec<_> =
        pairs.iter().filter(|(name, _)| name != "limit" && name != "offset").cloned().collect();
    if endpoint.name != SESSIONS || terms.is_empty() {
        return format!("{}\n{rest}", beginning(base));
    }
    let search = format!("eids = one.search({}, query_type='remote')", arguments(&terms).join(", "));
    format!("{}\n{search}\n# or the records themselves:\n{rest}", beginning(base))
}

/// What reads a record with ONE, and of a session what is in it.
pub(super) fn record(base: &str, endpoint: &Endpoint, key: &str, record: &Value) -> String {
    let read = format!("record = one.alyx.rest('{}', 'read', id={})", endpoint.name, text(key));
    if endpoint.name != SESSIONS {
        return format!("{}\n{read}", beginning(base));
    }
    let mut lines =
        vec![beginning(base), format!("eid = {}", text(key)), "names = one.list_datasets(eid)".to_owned()];
    lines.extend(object(record).map(|(object, collection)| {
        let collection = collection.map(|name| format!(", collection={}", text(&name))).unwrap_or_default();
        format!("{object} = one.load_object(eid, '{object}'{collection})")
    }));
    lines.extend(["# or the record itself:".to_owned(), read]);
    lines.join("\n")
}

/// An object of the session's datasets, and the collection that it lies in: the one that is most asked for.
fn object(session: &Value) -> Option<(String, Option<String>)> {
    const WANTED: [&str; 4] = ["trials", "wheel", "spikes", "licks"];
    let datasets = session["data_dataset_session_related"].as_array()?;
    let mut objects: Vec<(String, Option<String>)> = datasets
        .iter()
        .filter_map(|dataset| {
            let name = dataset["name"].as_str()?;
            // A namespace stands between underscores: `_ibl_trials.table.pqt`.
            let name =
                name.strip_prefix('_').and_then(|rest| rest.split_once('_')).map_or(name, |(_, rest)| rest);
            let object = name.split('.').next().filter(|_| name.matches('.').count() >= 2)?;
            let is_name =
                !object.is_empty() && object.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            let collection =
                dataset["collection"].as_str().filter(|name| !name.is_empty()).map(str::to_owned);
            is_name.then(|| (object.to_owned(), collection))
        })
        .collect();
    let wanted = |name: &str| WANTED.iter().position(|known| *known == name).unwrap_or(WANTED.len());
    objects.sort_by(|a, b| (wanted(&a.0), a).cmp(&(wanted(&b.0), b)));
    objects.into_iter().next()
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
    use serde_json::json;

    use super::*;

    #[test]
    fn a_call_is_python() {
        let sessions = Endpoint::named("sessions").unwrap();
        let pairs = [("lab", "it's"), ("number", "2"), ("nickname", "007"), ("a-b", "x")];
        let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let begun = "from one.api import ONE\none = ONE(base_url='http://lab')\n";
        assert_eq!(
            list("http://lab", sessions, &pairs),
            format!(
                "{begun}{}",
                r"eids = one.search(lab='it\'s', number=2, nickname='007', **{'a-b': 'x'}, query_type='remote')
# or the records themselves:
records = one.alyx.rest('sessions', 'list', lab='it\'s', number=2, nickname='007', **{'a-b': 'x'})"
            )
        );
        let labs = Endpoint::named("labs").unwrap();
        assert_eq!(list("http://lab", labs, &[]), format!("{begun}records = one.alyx.rest('labs', 'list')"));
        let dataset = |name: &str, collection: &str| json!({"name": name, "collection": collection});
        let session = json!({"data_dataset_session_related": [
            dataset("spikes.times.npy", "alf/probe00"), dataset("_ibl_trials.table.pqt", "alf"),
            dataset("notes.txt", ""),
        ]});
        assert_eq!(
            record("http://lab", sessions, "x", &session),
            format!(
                "{begun}eid = 'x'\nnames = one.list_datasets(eid)\ntrials = one.load_object(eid, 'trials', collection='alf')\n\
                 # or the record itself:\nrecord = one.alyx.rest('sessions', 'read', id='x')"
            )
        );
        assert_eq!(
            curl("http://lab", "/sessions?lab=it's"),
            "curl -H \"Authorization: Token $TOKEN\" 'http://lab/sessions?lab=it%27s'"
        );
    }
}
