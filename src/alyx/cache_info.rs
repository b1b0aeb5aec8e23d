//! ONE's cache tables: `cache/info[/<tag>]/` describes them, `cache.zip` holds them (ALYX.md 5).
//!
//! A `location` in the description names where the tables lie, for instance in a bucket; without
//! one they are Alyx's own `/cache.zip`. Clients of the proxy are led to the proxy's `/cache.zip`,
//! with the database tag, if there is one, as a parameter of the proxy's own.

use std::ops::Range;

use bytes::{Bytes, BytesMut};

use super::{
    json::{Scanner, Token},
    query_string::Pairs,
};

/// Where Alyx itself serves the tables of all data.
pub const PATH: &str = "/cache.zip";

/// The parameter that names a database tag in the proxy's own links to `cache.zip`.
const TAG: &str = "tag";

/// The path of the description of a tag's tables; the empty tag is that of all data.
pub fn info_path(tag: &str) -> String {
    if tag.is_empty() { "/cache/info/".to_owned() } else { format!("/cache/info/{tag}/") }
}

/// The tag whose description has this path.
fn tag_of_info(path: &str) -> &str {
    path.strip_prefix("/cache/info").unwrap_or_default().trim_matches('/')
}

/// The tag that a request for `cache.zip` asks for; `None` if it can't be one (Alyx routes `\w+`).
pub fn tag_asked(pairs: &Pairs) -> Option<String> {
    let tag = pairs.iter().rev().find(|(name, _)| name == TAG).map_or("", |(_, tag)| tag.as_str());
    tag.chars().all(|c| c.is_alphanumeric() || c == '_').then(|| tag.to_owned())
}

/// Where the tables lie, if a description says so by an http(s) URL: its place in the text.
pub fn location(info: &str) -> Option<Range<usize>> {
    let mut scanner = Scanner::new(info);
    let mut is_location = false;
    while let Ok(Some(token)) = scanner.token() {
        match token {
            Token::Key(range) => is_location = scanner.depth() == 1 && &info[range] == "location",
            Token::String(range) if is_location => {
                let text = &info[range.clone()];
                let plain =
                    !text.contains('\\') && (text.starts_with("http://") || text.starts_with("https://"));
                return plain.then_some(range);
            }
            _ => is_location = false,
        }
    }
    None
}

/// The description at `path` with its location moved to the proxy at `base`.
pub fn move_location(info: &Bytes, base: &str, path: &str) -> Bytes {
    let Some(range) = std::str::from_utf8(info).ok().and_then(location) else { return info.clone() };
    let tag = tag_of_info(path);
    let to = if tag.is_empty() { format!("{base}{PATH}") } else { format!("{base}{PATH}?{TAG}={tag}") };
    let mut moved = BytesMut::with_capacity(info.len() + to.len());
    moved.extend_from_slice(&info[..range.start]);
    moved.extend_from_slice(to.as_bytes());
    moved.extend_from_slice(&info[range.end..]);
    moved.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moved(info: &'static str, path: &str) -> String {
        String::from_utf8(move_location(&Bytes::from_static(info.as_bytes()), "http://lab", path).to_vec())
            .unwrap()
    }

    #[test]
    fn a_location_leads_to_the_proxy() {
        let info = r#"{"tables": {"location": "https://x/y"}, "location": "https://bucket/cache.zip"}"#;
        assert_eq!(
            moved(info, "/cache/info/"),
            r#"{"tables": {"location": "https://x/y"}, "location": "http://lab/cache.zip"}"#
        );
        assert!(moved(info, "/cache/info/2022_Q4/").ends_with(r#""http://lab/cache.zip?tag=2022_Q4"}"#));
    }

    #[test]
    fn other_locations_stay() {
        for info in [r#"{"location": "s3://bucket"}"#, r#"{"location": null}"#, "{}", "[]", "no JSON"] {
            assert_eq!(moved(info, "/cache/info/"), info);
        }
    }

    #[test]
    fn tags_are_words() {
        let asked = |query: &str| tag_asked(&super::super::query_string::parse(query));
        assert_eq!(asked("").as_deref(), Some(""));
        assert_eq!(asked("tag=2022_Q4").as_deref(), Some("2022_Q4"));
        assert_eq!(asked("tag=../x"), None);
    }
}
