//! Addresses in JSON bodies, moved by the fields that they stand in: those of data files (`data_url`), and Alyx's own links on
//! their way back.
//!
//! An address is moved if the whole of its beginning is the same, scheme and all: so what was moved can be moved back to what it
//! was.

use std::ops::Range;

use super::{
    json::JsonError,
    links::{self, LINK_FIELDS},
};

/// Members that hold addresses of data files (ALYX.md 3.2).
const DATA_FIELDS: [&str; 1] = ["data_url"];

/// From where to where addresses of some members are moved; base URLs without trailing slashes.
#[derive(Debug, Clone, Copy)]
pub struct AddressMove<'a> {
    fields: &'static [&'static str],
    from: &'a str,
    to: &'a str,
}

impl<'a> AddressMove<'a> {
    /// Of data files.
    pub fn of_data(from: &'a str, to: &'a str) -> Self {
        Self { fields: &DATA_FIELDS, from, to }
    }

    /// Of Alyx's own links.
    pub fn of_links(from: &'a str, to: &'a str) -> Self {
        Self { fields: &LINK_FIELDS, from, to }
    }

    fn apply(&self, address: &str) -> Option<String> {
        let rest = address.strip_prefix(self.from)?;
        matches!(rest.as_bytes().first(), None | Some(b'/' | b'?')).then(|| format!("{}{rest}", self.to))
    }
}

/// The body with these addresses moved; none where there are none. Fails where it is no JSON.
pub fn moved(body: &str, moves: &[AddressMove<'_>]) -> Result<Option<String>, JsonError> {
    let found = find(body, moves)?;
    if found.is_empty() {
        return Ok(None);
    }
    let (mut text, mut done) = (String::with_capacity(body.len() + body.len() / 8), 0);
    for (place, address) in found {
        text.push_str(&body[done..place.start]);
        text.push_str(&address);
        done = place.end;
    }
    text.push_str(&body[done..]);
    Ok(Some(text))
}

/// Where which addresses are to stand, in the form of JSON's texts.
fn find(body: &str, moves: &[AddressMove<'_>]) -> Result<Vec<(Range<usize>, String)>, JsonError> {
    let mut found = Vec::new();
    links::texts(body, |field, range| {
        let mut moves = moves.iter().filter(|one| one.fields.contains(&field)).peekable();
        if moves.peek().is_some()
            && let Some(text) = plain(&body[range.clone()])
            && let Some(to) = moves.find_map(|one| one.apply(&text))
        {
            found.push((range, escaped(&to)));
        }
    })?;
    Ok(found)
}

/// The text that stands in a body so; some write `\/` for a slash.
fn plain(written: &str) -> Option<String> {
    if written.contains('\\') {
        return serde_json::from_str(&format!("\"{written}\"")).ok();
    }
    Some(written.to_owned())
}

fn escaped(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const THERE: &str = "https://data.org";
    const HERE: &str = "http://lab:8040/-/data";

    fn there_and_back(body: &str) -> (String, String) {
        let here =
            moved(body, &[AddressMove::of_data(THERE, HERE)]).unwrap().unwrap_or_else(|| body.to_owned());
        let back =
            moved(&here, &[AddressMove::of_data(HERE, THERE)]).unwrap().unwrap_or_else(|| here.clone());
        (here, back)
    }

    #[test]
    fn addresses_of_data_files_are_moved_and_back() {
        let body = r#"{"file_records":[{"data_url":"https://data.org/public/a%20b.npy","exists":true},{"data_url":null}],"x":1}"#;
        let (here, back) = there_and_back(body);
        let shown = r#"{"file_records":[{"data_url":"http://lab:8040/-/data/public/a%20b.npy","exists":true},{"data_url":null}],"x":1}"#;
        assert_eq!((here.as_str(), back.as_str()), (shown, body));
    }

    #[test]
    fn what_is_no_address_of_that_server_stays() {
        for body in [
            r#"{"data_url":"http://data.org/a"}"#,
            r#"{"data_url":"https://data.organic/a"}"#,
            r#"{"data_url":"see https://data.org/a"}"#,
            r#"{"narrative":"https://data.org/a"}"#,
            r#"{"json":{"data_url":"https://data.org/a"},"extended_qc":{"data_url":"https://data.org/a"}}"#,
            r#"{"data_url":["https://data.org/a"]}"#,
            r#"{"data_url":7}"#,
        ] {
            assert_eq!(there_and_back(body).0, body);
        }
        assert!(moved("{", &[AddressMove::of_data(THERE, HERE)]).is_err());
    }

    #[test]
    fn slashes_may_be_escaped() {
        let body = r#"{"data_url":"http:\/\/lab:8040\/-\/data\/a\u0022b","url":"http:\/\/lab:8040\/-\/one\/sessions\/1"}"#;
        let moves = [
            AddressMove::of_data(HERE, THERE),
            AddressMove::of_links("http://lab:8040/-/one", "http://lab:8040"),
        ];
        let back = r#"{"data_url":"https://data.org/a\"b","url":"http://lab:8040/sessions/1"}"#;
        assert_eq!(moved(body, &moves).unwrap().as_deref(), Some(back));
    }
}
