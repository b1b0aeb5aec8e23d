//! Secrets that stand in Alyx's records: the S3 keys in the free-form `json` of data repositories (ALYX.md 3.9;
//! 8, trap 13). Whoever may ask Alyx may see them; what leaves the lab as a file must not hold them.

use super::json::{JsonError, Scanner, Token};

/// Endpoints whose records may hold secrets.
pub const ENDPOINTS: [&str; 2] = ["data-repository", "data-repository-type"];

/// What the names of members that hold a secret have in them, in lower case (`Secret access key`, `token`).
const MARKS: [&str; 7] = ["key", "secret", "password", "passwd", "token", "credential", "private"];

/// The text with nothing in its secrets, and how many there were. Everything else stays byte for byte.
pub fn blanked(text: &str) -> Result<(String, usize), JsonError> {
    let mut scanner = Scanner::new(text);
    let (mut blank, mut done, mut count) = (String::with_capacity(text.len()), 0, 0);
    // The depth of the member that is secret: all that lies within it is.
    let mut secret_at: Option<usize> = None;
    while let Some(token) = scanner.token()? {
        let depth = scanner.depth();
        match token {
            Token::Key(range) if secret_at.is_none_or(|at| depth <= at) => {
                secret_at = is_secret(&text[range]).then_some(depth);
            }
            Token::String(range) if secret_at.is_some() && !range.is_empty() => {
                blank.push_str(&text[done..range.start]);
                done = range.end;
                count += 1;
            }
            Token::Scalar(range) if secret_at.is_some() && is_number(&text[range.clone()]) => {
                blank.push_str(&text[done..range.start]);
                blank.push('0');
                done = range.end;
                count += 1;
            }
            Token::ObjectEnd | Token::ArrayEnd if secret_at.is_some_and(|at| depth < at) => secret_at = None,
            _ => {}
        }
    }
    blank.push_str(&text[done..]);
    Ok((blank, count))
}

fn is_number(scalar: &str) -> bool {
    scalar.starts_with(|first: char| first == '-' || first.is_ascii_digit()) && scalar != "0"
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
        for (text, blank, count) in [
            (
                r#"{"name":"aws","json":{"bucket_name":"b","Access key ID": "AKIA","Secret access key":"x\"y","region_name":"r"}}"#,
                r#"{"name":"aws","json":{"bucket_name":"b","Access key ID": "","Secret access key":"","region_name":"r"}}"#,
                2,
            ),
            (
                r#"{"a":{"\u004bEY":["x",7,{"b":"y"}],"c":"z"},"d":NaN}"#,
                r#"{"a":{"\u004bEY":["",0,{"b":""}],"c":"z"},"d":NaN}"#,
                3,
            ),
            (r#"[{"password":"p"},"q",{"token":""}]"#, r#"[{"password":""},"q",{"token":""}]"#, 1),
            (r#"{"secret":null,"x":"y"}"#, r#"{"secret":null,"x":"y"}"#, 0),
        ] {
            assert_eq!(blanked(text).unwrap(), (blank.to_owned(), count), "{text}");
        }
        assert!(blanked("{").is_err());
    }
}
