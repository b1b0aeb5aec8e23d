//! Pages of a list: the window a request asks for, and the envelope around its records.
//!
//! ALYX.md 2.1, rule 7: limits are 250 by default and 1000 at most; whatever is no such number
//! counts as absent; `next` and `previous` repeat the request's parameters, sorted and re-encoded,
//! with `limit` and `offset` replaced.

use std::{borrow::Cow, ops::Range};

use super::{
    filterset::parse::{self, Parsed},
    query_string::{self, Pairs, encode_sorted},
};

/// Records on a page when the request names no limit.
pub const DEFAULT_LIMIT: u64 = 250;
/// The most records on a page.
pub const MAX_LIMIT: u64 = 1000;

/// How many records an Alyx puts on a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageSizes {
    /// When the request names no limit.
    pub default: u64,
    /// At most; none where there is no such bound.
    pub greatest: Option<u64>,
}

impl Default for PageSizes {
    /// Those of the newest Alyx.
    fn default() -> Self {
        Self { default: DEFAULT_LIMIT, greatest: Some(MAX_LIMIT) }
    }
}

/// Whether a parameter asks for a page, and not for records.
pub fn is_paging(name: &str) -> bool {
    matches!(name, "limit" | "offset")
}

/// The part of a list that a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Records on the page, at least 1.
    pub limit: u64,
    /// Records before the page.
    pub offset: u64,
}

impl Window {
    /// The window that these parameters ask the newest Alyx for; of repeated ones the last counts.
    pub fn of(pairs: &Pairs) -> Self {
        Self::within(pairs, PageSizes::default())
    }

    /// The window that these parameters ask an Alyx of these pages for.
    pub fn within(pairs: &Pairs, sizes: PageSizes) -> Self {
        let at_most = |number: u128| u64::try_from(number).unwrap_or(u64::MAX);
        let limit = whole_number(pairs, "limit").filter(|limit| *limit > 0).map(at_most);
        let offset = whole_number(pairs, "offset").map(at_most);
        let limit = limit.unwrap_or(sizes.default).min(sizes.greatest.unwrap_or(u64::MAX));
        Self { limit, offset: offset.unwrap_or(0) }
    }

    /// The `next` and `previous` links of this window of `count` records, for a request of `url`
    /// (base and canonical path, no query) with these parameters.
    pub fn links(self, url: &str, pairs: &Pairs, count: u64) -> (Option<String>, Option<String>) {
        let end = self.offset.saturating_add(self.limit);
        let next = (end < count).then(|| self.link(url, pairs, Some(end.into())));
        let previous = (self.offset > 0).then(|| {
            // Python's numbers have no end.
            let offset = whole_number(pairs, "offset").unwrap_or_else(|| self.offset.into());
            let start = offset.saturating_sub(self.limit.into());
            self.link(url, pairs, (start > 0).then_some(start))
        });
        (next, previous)
    }

    fn link(self, url: &str, pairs: &Pairs, offset: Option<u128>) -> String {
        let mut replaced: Pairs = pairs.iter().filter(|(name, _)| !is_paging(name)).cloned().collect();
        replaced.push(("limit".to_owned(), self.limit.to_string()));
        if let Some(offset) = offset {
            replaced.push(("offset".to_owned(), offset.to_string()));
        }
        format!("{}?{}", as_django_writes(url), encode_sorted(&replaced))
    }
}

/// The limit that is asked for; none where that is no such number, and Alyx's own counts.
pub(crate) fn asked_limit(pairs: &Pairs) -> Option<u64> {
    let limit = whole_number(pairs, "limit").filter(|limit| *limit > 0)?;
    Some(u64::try_from(limit).unwrap_or(u64::MAX))
}

/// Whether `limit` and `offset` are written so plainly that Python surely reads them as [`Window::of`] does: in
/// ASCII, and with no more digits than any list needs.
pub fn is_plain(pairs: &Pairs) -> bool {
    let plain = |text: &str| text.len() <= 15 && text.bytes().all(|byte| (b' '..0x7f).contains(&byte));
    pairs.iter().filter(|(name, _)| is_paging(name)).all(|(_, text)| plain(text))
}

/// What Django leaves as it is in a path, and a canonical path escapes.
const LITERAL: [(&str, &str); 11] = [
    ("%2B", "+"),
    ("%3A", ":"),
    ("%40", "@"),
    ("%26", "&"),
    ("%24", "$"),
    ("%2C", ","),
    ("%21", "!"),
    ("%2A", "*"),
    ("%27", "'"),
    ("%28", "("),
    ("%29", ")"),
];

/// The address of a canonical path as Django's `escape_uri_path` spells it.
fn as_django_writes(url: &str) -> Cow<'_, str> {
    let mut url = Cow::Borrowed(url);
    if url.contains('%') {
        for (escaped, literal) in LITERAL {
            url = url.replace(escaped, literal).into();
        }
    }
    url
}

/// The value of `limit` or `offset` as Python's `int()` reads it, if that is a whole number from 0 on; the last counts.
fn whole_number(pairs: &Pairs, wanted: &str) -> Option<u128> {
    let (_, text) = pairs.iter().rev().find(|(name, _)| name == wanted)?;
    match parse::whole(text) {
        Parsed::Is(number) => u128::try_from(number).ok(),
        // More digits than are read here: see `is_readable`.
        Parsed::Unsure if !text.contains('-') => Some(u128::MAX),
        Parsed::Unsure | Parsed::Not => None,
    }
}

/// Whether `limit` and `offset` are read here as Python reads them: numbers of many digits are not.
pub fn is_readable(pairs: &Pairs) -> bool {
    let is_read = |(name, text): &(String, String)| {
        !matches!(name.as_str(), "limit" | "offset") || parse::whole(text) != Parsed::Unsure
    };
    pairs.iter().all(is_read)
}

/// `{"count":…,"next":…,"previous":…,"results":[…]}`: where its parts stand in a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// The number of records in the whole list.
    pub count: u64,
    /// Where the value of `next` stands: a link with its quotation marks, or `null`.
    pub next: Range<usize>,
    /// Where the value of `previous` stands.
    pub previous: Range<usize>,
}

impl Envelope {
    /// The envelope of a body, if it is a page of a list as Alyx writes it (compact JSON; keys in
    /// this order and no others).
    pub fn of(body: &str) -> Option<Self> {
        let count_at = "{\"count\":".len();
        let rest = body.strip_prefix("{\"count\":")?;
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let count = rest[..digits].parse().ok()?;
        let next = value_after(body, count_at + digits, ",\"next\":")?;
        let previous = value_after(body, next.end, ",\"previous\":")?;
        body[previous.end..].starts_with(",\"results\":[").then_some(Self { count, next, previous })
    }

    /// The records on a page, as the links to its neighbours say it.
    pub fn limit(&self, body: &[u8]) -> Option<u64> {
        let of = |link: &Range<usize>| {
            let link = std::str::from_utf8(body.get(link.clone())?).ok()?.trim_matches('"');
            let (_, query) = link.split_once('?')?;
            query_string::parse(query).iter().find(|(name, _)| name == "limit")?.1.parse().ok()
        };
        of(&self.next).or_else(|| of(&self.previous))
    }

    /// Whether the page has no neighbours.
    pub fn alone(&self, body: &[u8]) -> bool {
        &body[self.next.clone()] == b"null" && &body[self.previous.clone()] == b"null"
    }
}

fn value_after(body: &str, at: usize, label: &str) -> Option<Range<usize>> {
    let rest = body.get(at..)?.strip_prefix(label)?;
    let start = at + label.len();
    let len = if rest.starts_with("null") {
        4
    } else {
        // Links are percent-encoded: no quotation mark and no backslash stands in them.
        rest.strip_prefix('"')?.find('"')? + 2
    };
    Some(start..start + len)
}

#[cfg(test)]
mod tests {
    use super::super::query_string::parse;
    use super::*;

    #[test]
    fn windows_as_alyx_reads_them() {
        let window = |query: &str| {
            let window = Window::of(&parse(query));
            (window.limit, window.offset)
        };
        assert_eq!(window(""), (250, 0));
        assert_eq!(window("limit=0&offset=-3"), (250, 0));
        assert_eq!(window("limit=5000&offset=+7+"), (1000, 7));
        assert_eq!(window("limit=1_0&offset=abc"), (10, 0));
        assert_eq!(window("limit=1__0&limit=3"), (3, 0));
        assert_eq!(window("limit=2.0"), (250, 0));
    }

    #[test]
    fn links_as_alyx_writes_them() {
        let links = |query: &str, count| {
            let pairs = parse(query);
            Window::of(&pairs).links("http://a/s", &pairs, count)
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            links("lab=b&limit=3&offset=2", 400),
            (some("http://a/s?lab=b&limit=3&offset=5"), some("http://a/s?lab=b&limit=3"))
        );
        assert_eq!(links("offset=58", 60), (None, some("http://a/s?limit=250")));
        assert_eq!(links("limit=5&offset=10000000", 60), (None, some("http://a/s?limit=5&offset=9999995")));
        assert_eq!(links("x=&limit=30", 60), (some("http://a/s?limit=30&offset=30&x="), None));
        assert_eq!(links("limit=60", 60), (None, None));
        let path = "http://a:1/water-type/a%2Bb%3A%20%25%3B";
        let (next, _) = Window { limit: 1, offset: 0 }.links(path, &Pairs::new(), 2);
        assert_eq!(next.as_deref(), Some("http://a:1/water-type/a+b:%20%25%3B?limit=1&offset=1"));
    }

    #[test]
    fn digits_of_every_script_and_numbers_without_end() {
        let window = |query: &str| {
            let window = Window::of(&parse(query));
            (window.limit, window.offset)
        };
        assert_eq!(window("limit=%D9%A3&offset=%D9%A1%D9%A2"), (3, 12));
        assert_eq!(window("limit=%C2%B2&offset=%C2%B2"), (250, 0));
        assert_eq!(window("limit=%1f7"), (7, 0));
        let pairs = parse("limit=2&offset=99999999999999999999");
        let (next, previous) = Window::of(&pairs).links("http://a/s", &pairs, 12);
        let before = "http://a/s?limit=2&offset=99999999999999999997";
        assert_eq!((next, previous.as_deref()), (None, Some(before)));
        assert!(is_readable(&pairs) && !is_readable(&parse(&format!("limit={}", "9".repeat(50)))));
    }

    #[test]
    fn what_python_may_read_otherwise_is_not_plain() {
        for query in ["", "limit=abc&offset=-1", "limit=+7+&lab=%D9%A3"] {
            assert!(is_plain(&parse(query)), "{query}");
        }
        for query in ["limit=%D9%A3", "offset=100000000000000000000", "offset=%1f7", "limit=%D9%A3&limit=3"] {
            assert!(!is_plain(&parse(query)), "{query}");
        }
    }

    #[test]
    fn finds_the_envelope() {
        let body = r#"{"count":12,"next":"http://a/s?x=1","previous":null,"results":[{}]}"#;
        let envelope = Envelope::of(body).unwrap();
        assert_eq!(
            (envelope.count, &body[envelope.next.clone()], &body[envelope.previous.clone()]),
            (12, "\"http://a/s?x=1\"", "null")
        );
        assert!(!envelope.alone(body.as_bytes()));
        assert_eq!(Envelope::of(r#"{"id":1}"#), None);
        assert_eq!(Envelope::of(r#"{"count":1,"next":null}"#), None);
    }
}
