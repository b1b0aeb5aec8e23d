//! Secrets that stand in Alyx's records: the S3 keys in the free-form `json` of data repositories (ALYX.md 3.9;
//! 8, trap 13). Whoever may ask Alyx may see them; what leaves the lab as a file must not hold them.

use super::json::{JsonError, Scanner, Token};

/// Endpoints whose records may hold secrets.
pub const ENDPOINTS: [&str; 2] = ["data-repository", "data-repository-type"];

/// What the names of members that hold a secret have in them, in lower case (`Secret access key`, `token`).
const MARKS: [&str; 7] = ["key", "secret", "password", "passwd", "token", "credential", "private"];

/// What stands in the place of a secret that was left out. A record that holds it is less than Alyx's, and is never given as
/// if it were Alyx's: whoever changes it and writes it back would put this in the place of the key.
pub const LEFT_OUT: &str = "alyx-proxy left this out of the snapshot";

/// Whether secrets of this text were left out.
pub fn is_cut(body: &[u8]) -> bool {
    memchr::memmem::find(body, LEFT_OUT.as_bytes()).is_some()
}

/// The text with [`LEFT_OUT`] in the place of its secrets, and how many there were. Everything else stays byte for byte.
pub fn cut(text: &str) -> Result<(String, usize), JsonError> {
    replaced(text, false)
}

/// The same for a text whose secrets were emptied, as snapshots of earlier revisions have them: which of those that are
/// empty were so at Alyx can't be told.
pub fn cut_emptied(text: &str) -> Result<String, JsonError> {
    replaced(text, true).map(|(text, _)| text)
}

/// With [`LEFT_OUT`] for the secrets that are empty, or for those that are not.
fn replaced(text: &str, empty: bool) -> Result<(String, usize), JsonError> {
    let mut count = 0;
    let left_out = |secret: &str, is_number: bool| {
        let is_empty = if is_number { secret == "0" } else { secret.is_empty() };
        (is_empty == empty).then(|| {
            count += 1;
            LEFT_OUT.to_owned()
        })
    };
    let replaced = replace(text, left_out)?;
    Ok((replaced, count))
}

/// The text with strings in the place of those secrets for which there is another: each is shown as it stands in the text (a
/// string without its quotes), and whether it is a number. Everything else stays byte for byte.
pub fn replace(text: &str, mut other: impl FnMut(&str, bool) -> Option<String>) -> Result<String, JsonError> {
    let mut scanner = Scanner::new(text);
    let (mut blank, mut done) = (String::with_capacity(text.len()), 0);
    // The depth of the member that is secret: all that lies within it is.
    let mut secret_at: Option<usize> = None;
    while let Some(token) = scanner.token()? {
        let depth = scanner.depth();
        match token {
            Token::Key(range) if secret_at.is_none_or(|at| depth <= at) => {
                secret_at = is_secret(&text[range]).then_some(depth);
            }
            Token::String(range) if secret_at.is_some() => {
                if let Some(other) = other(&text[range.clone()], false) {
                    blank.push_str(&text[done..range.start]);
                    blank.push_str(&other);
                    done = range.end;
                }
            }
            Token::Scalar(range) if secret_at.is_some() && is_number(&text[range.clone()]) => {
                if let Some(other) = other(&text[range.clone()], true) {
                    blank.push_str(&text[done..range.start]);
                    blank.extend(["\"", &other, "\""]);
                    done = range.end;
                }
            }
            Token::ObjectEnd | Token::ArrayEnd if secret_at.is_some_and(|at| depth < at) => secret_at = None,
            _ => {}
        }
    }
    blank.push_str(&text[done..]);
    Ok(blank)
}

fn is_number(scalar: &str) -> bool {
    scalar.starts_with(|first: char| first == '-' || first.is_ascii_digit())
}

/// Whether a member of this name, which may hold escapes, is a secret.
fn is_secret(name: &str) -> bool {
    let plain = serde_json::from_str::<String>(&format!("\"{name}\""));
    let plain = plain.as_deref().unwrap_or(name).to_lowercase();
    MARKS.iter().any(|mark| plain.contains(mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_go_and_all_else_stays() {
        let cases = [
            (
                r#"{"name":"aws","json":{"bucket_name":"b","Access key ID": "AKIA","Secret access key":"x\"y","region_name":"r"}}"#,
                r#"{"name":"aws","json":{"bucket_name":"b","Access key ID": "@","Secret access key":"@","region_name":"r"}}"#,
                2,
            ),
            (
                r#"{"a":{"\u004bEY":["x",7,{"b":"y"}],"c":"z"},"d":NaN}"#,
                r#"{"a":{"\u004bEY":["@","@",{"b":"@"}],"c":"z"},"d":NaN}"#,
                3,
            ),
            (r#"[{"password":"p"},"q",{"token":""}]"#, r#"[{"password":"@"},"q",{"token":""}]"#, 1),
            (r#"{"secret":null,"x":"y"}"#, r#"{"secret":null,"x":"y"}"#, 0),
        ];
        for (text, left, count) in cases {
            let left = left.replace('@', LEFT_OUT);
            assert_eq!(cut(text).unwrap(), (left.clone(), count), "{text}");
            assert_eq!(is_cut(left.as_bytes()), count > 0, "{text}");
            assert!(!is_cut(text.as_bytes()), "{text}");
        }
        let emptied = r#"{"json":{"Access key ID": "","port key":0,"other":"","key":"k"}}"#;
        let marked =
            r#"{"json":{"Access key ID": "@","port key":"@","other":"","key":"k"}}"#.replace('@', LEFT_OUT);
        assert_eq!(cut_emptied(emptied).unwrap(), marked);
        assert!(cut("{").is_err());
    }
}
