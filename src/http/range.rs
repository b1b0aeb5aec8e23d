//! Range requests (RFC 9110 14): one range of bytes. Several at once are answered with the whole,
//! as the standard allows.

use http::{HeaderMap, HeaderValue, header};

/// The part of a body that a request wants.
#[derive(Debug, PartialEq, Eq)]
pub enum RequestedRange {
    /// All of it.
    Whole,
    /// From `start` to `end`, both included.
    Part {
        /// Its first byte.
        start: u64,
        /// Its last byte.
        end: u64,
    },
    /// A part that is not there.
    Unsatisfiable,
}

impl RequestedRange {
    /// The `Content-Range` of the answer to it, of a body of this length (RFC 9110 14.4); none where it is all of it.
    pub fn content_range(&self, length: u64) -> Option<HeaderValue> {
        let text = match self {
            Self::Whole => return None,
            Self::Part { start, end } => format!("bytes {start}-{end}/{length}"),
            Self::Unsatisfiable => format!("bytes */{length}"),
        };
        HeaderValue::try_from(text).ok()
    }
}

/// What tells one version of a body from another.
#[derive(Debug, Clone, Copy)]
pub struct Validators<'v> {
    /// Its entity tag.
    pub tag: Option<&'v HeaderValue>,
    /// When it was last changed.
    pub modified: Option<&'v HeaderValue>,
}

impl Validators<'_> {
    /// Whether `If-Range` names this version for certain: a weak tag never does (RFC 9110 13.1.5).
    fn are(self, if_range: &HeaderValue) -> bool {
        let strong = if_range.as_bytes().first() == Some(&b'"');
        strong && self.tag == Some(if_range) || self.modified == Some(if_range)
    }
}

/// What a request wants of a body with these validators and this length.
pub fn wanted(headers: &HeaderMap, version: Validators<'_>, length: u64) -> RequestedRange {
    let same_file = headers.get(header::IF_RANGE).is_none_or(|if_range| version.are(if_range));
    let range = headers.get(header::RANGE).filter(|_| same_file).and_then(|range| range.to_str().ok());
    range.and_then(|range| part(range, length)).unwrap_or(RequestedRange::Whole)
}

/// `None` for what is no single range of bytes: it is to be ignored.
fn part(range: &str, length: u64) -> Option<RequestedRange> {
    let (first, last) = range.trim().strip_prefix("bytes=")?.trim().split_once('-')?;
    let (start, end) = if first.is_empty() {
        let suffix = number(last)?;
        if suffix == 0 || length == 0 {
            return Some(RequestedRange::Unsatisfiable);
        }
        (length.saturating_sub(suffix), length - 1)
    } else {
        let start = number(first)?;
        let end = if last.is_empty() { u64::MAX } else { number(last)? };
        if end < start {
            return None;
        }
        if start >= length {
            return Some(RequestedRange::Unsatisfiable);
        }
        (start, end.min(length - 1))
    };
    Some(RequestedRange::Part { start, end })
}

fn number(text: &str) -> Option<u64> {
    let sound = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    sound.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_of_the_version_that_was_meant() {
        let part = |if_range: &'static str, tag: &'static str| {
            let headers = [(header::RANGE, "bytes=0-0"), (header::IF_RANGE, if_range)];
            let headers = headers.map(|(name, value)| (name, HeaderValue::from_static(value)));
            let (tag, modified) =
                (HeaderValue::from_static(tag), HeaderValue::from_static("Thu, 18 Aug 2022 02:01:18 GMT"));
            let version = Validators { tag: Some(&tag), modified: Some(&modified) };
            wanted(&headers.into_iter().collect(), version, 10) == RequestedRange::Part { start: 0, end: 0 }
        };
        assert!(part("\"a\"", "\"a\""));
        assert!(part("Thu, 18 Aug 2022 02:01:18 GMT", "\"a\""));
        assert!(!part("\"b\"", "\"a\""));
        assert!(!part("W/\"a\"", "W/\"a\""));
    }

    #[test]
    fn ranges() {
        let of = |range| part(range, 10);
        assert_eq!(of("bytes=0-0"), Some(RequestedRange::Part { start: 0, end: 0 }));
        assert_eq!(of("bytes=4-"), Some(RequestedRange::Part { start: 4, end: 9 }));
        assert_eq!(of("bytes=-3"), Some(RequestedRange::Part { start: 7, end: 9 }));
        assert_eq!(of("bytes=-30"), Some(RequestedRange::Part { start: 0, end: 9 }));
        assert_eq!(of("bytes=0-99999999999999999999999"), Some(RequestedRange::Part { start: 0, end: 9 }));
        assert_eq!(of("bytes=10-"), Some(RequestedRange::Unsatisfiable));
        assert_eq!(of("bytes=-0"), Some(RequestedRange::Unsatisfiable));
        for ignored in ["bytes=5-3", "bytes=a-b", "lines=1-2", "bytes=0-1,3-4", "bytes=-", "bytes=+1-2"] {
            assert_eq!(of(ignored), None, "{ignored}");
        }
    }
}
