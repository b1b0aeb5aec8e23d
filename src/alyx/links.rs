//! Absolute links in Alyx's bodies.
//!
//! Alyx builds them from the `Host` it was asked under, so a body remembered from upstream holds
//! upstream's base, and each client must get its own (ALYX.md 3.1 lists the fields; ONE breaks if
//! `next` leaves its base URL). Links are found once, when a body is stored, and moved by splicing.
//! Only the fields that Alyx fills with links are touched: text in a record's free-form JSON that
//! looks like a link belongs to the user and stays.

use std::ops::Range;

use bytes::{Bytes, BytesMut};

use super::json::{JsonError, Scanner, Token};

/// Members that hold absolute links of Alyx (ALYX.md 3.1); `location` is `cache/info`'s.
pub(super) const LINK_FIELDS: [&str; 7] =
    ["url", "next", "previous", "session", "dataset", "parent_session", "image"];

/// Members with free-form JSON of the users, which is never touched.
const FREE_FIELDS: [&str; 3] = ["json", "extended_qc", "arguments"];

/// Where a link's base stands in a body: offset and length in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Offset of the base's first byte.
    pub at: usize,
    /// Length of the base.
    pub len: usize,
}

/// The base of an Alyx's links. The scheme may differ from the one that we ask under: behind a
/// TLS terminator Alyx believes that it is asked by plain HTTP (ALYX.md 4.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    spellings: [String; 2],
}

impl Base {
    /// From a base URL without a trailing slash, e.g. `https://alyx.example.org`.
    pub fn new(url: &str) -> Self {
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        Self { spellings: [format!("https://{rest}"), format!("http://{rest}")] }
    }

    /// The length of the base that `text` begins with, if it does and a path follows.
    pub fn length_in(&self, text: &str) -> Option<usize> {
        let matched = self.spellings.iter().find(|base| text.starts_with(base.as_str()))?;
        matches!(text.as_bytes().get(matched.len()), None | Some(b'/' | b'?')).then_some(matched.len())
    }
}

/// Finds every link to `base` in a JSON body; fails where the body is not JSON.
pub fn find(body: &str, base: &Base) -> Result<Vec<Link>, JsonError> {
    let mut links = Vec::new();
    texts(body, |field, range| {
        if LINK_FIELDS.contains(&field)
            && let Some(len) = base.length_in(&body[range.clone()])
        {
            links.push(Link { at: range.start, len });
        }
    })?;
    Ok(links)
}

/// Tells of each text of a JSON body that is a field's value, with the field's name and where it stands, without quotation
/// marks; of none in a free-form value. Fails where the body is not JSON.
pub(super) fn texts<'b>(body: &'b str, mut tell: impl FnMut(&'b str, Range<usize>)) -> Result<(), JsonError> {
    let (mut scanner, mut field) = (Scanner::new(body), None);
    // The depth at which a free-form value began; everything deeper belongs to it.
    let mut free_above: Option<usize> = None;
    while let Some(token) = scanner.token()? {
        if let Some(depth) = free_above {
            if scanner.depth() <= depth {
                free_above = None;
            }
            continue;
        }
        match token {
            Token::Key(range) => {
                let key = &body[range];
                field = Some(key);
                if FREE_FIELDS.contains(&key) {
                    free_above = Some(scanner.depth());
                }
            }
            Token::String(range) => {
                if let Some(field) = field {
                    tell(field, range);
                }
            }
            _ => field = None,
        }
    }
    Ok(())
}

/// The body with every link moved to `to` (a base URL without a trailing slash).
pub fn move_to(body: &Bytes, links: &[Link], to: &str) -> Bytes {
    let unchanged = links.iter().all(|link| &body[link.at..link.at + link.len] == to.as_bytes());
    if unchanged {
        return body.clone();
    }
    let growth = links.len() * to.len();
    let mut moved = BytesMut::with_capacity(body.len() + growth);
    let mut done = 0;
    for link in links {
        moved.extend_from_slice(&body[done..link.at]);
        moved.extend_from_slice(to.as_bytes());
        done = link.at + link.len;
    }
    moved.extend_from_slice(&body[done..]);
    moved.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moved(body: &str) -> String {
        let links = find(body, &Base::new("https://alyx.org")).unwrap();
        let body = move_to(&Bytes::copy_from_slice(body.as_bytes()), &links, "http://lab:8040");
        String::from_utf8(body.to_vec()).unwrap()
    }

    #[test]
    fn moves_links_of_either_scheme() {
        assert_eq!(
            moved(
                r#"{"count":1,"next":"https://alyx.org/s?limit=1","results":[{"url":"http://alyx.org/s/1"}]}"#
            ),
            r#"{"count":1,"next":"http://lab:8040/s?limit=1","results":[{"url":"http://lab:8040/s/1"}]}"#
        );
    }

    #[test]
    fn leaves_what_is_not_alyx_own_link() {
        for body in [
            r#"{"narrative":"https://alyx.org/s/1"}"#,
            r#"{"url":"https://alyx.organic/s/1"}"#,
            r#"{"url":"see https://alyx.org/s/1"}"#,
            r#"{"json":"https://alyx.org/s/1","extended_qc":{"url":"https://alyx.org/s/1"}}"#,
            r#"{"arguments":[{"url":"https://alyx.org/s/1"}]}"#,
            r#"{"url":null,"name":"https://alyx.org/s/1"}"#,
            r#"{"url":["https://alyx.org/s/1"]}"#,
        ] {
            assert_eq!(moved(body), body);
        }
    }

    #[test]
    fn goes_on_after_free_form_json() {
        assert_eq!(
            moved(
                r#"[{"json":{"url":"https://alyx.org/a"},"url":"https://alyx.org/b"},{"json":null,"url":"https://alyx.org"}]"#
            ),
            r#"[{"json":{"url":"https://alyx.org/a"},"url":"http://lab:8040/b"},{"json":null,"url":"http://lab:8040"}]"#
        );
    }
}
