//! `Cache-Control` of requests and responses (RFC 9111 5.2).
//!
//! Unknown directives are disregarded. A value that is none is disregarded in requests; in responses it makes them
//! stale at once (RFC 9111 4.2.1), as do two values: the shorter one counts.

use std::{borrow::Cow, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// What this kind of cache is told apart from others by (RFC 9213 3.1).
pub const TARGETED: HeaderName = HeaderName::from_static("cdn-cache-control");

/// One directive: its name in lower case, and its argument if it has one.
type Directive<'a> = (String, Option<Cow<'a, str>>);

/// Takes the directives of all lines of a field: their names in lower case, and their arguments. Commas in quoted arguments
/// separate nothing; a space beside `=` makes an argument that is none.
fn each_directive(headers: &HeaderMap, mut take: impl FnMut(&str, Option<&str>)) {
    for line in headers.get_all(header::CACHE_CONTROL) {
        // An argument may hold other bytes than ASCII (RFC 9110 5.5), which must not take the others with it: they may
        // forbid that the response is shared.
        let line = String::from_utf8_lossy(line.as_bytes());
        for (name, argument) in elements(&line).into_iter().map(directive) {
            take(&name, argument.as_deref());
        }
    }
}

/// The elements of a list, split at commas outside of quoted strings (RFC 9110 5.6.1, 5.6.4), without the spaces
/// around them.
pub(super) fn elements(line: &str) -> Vec<&str> {
    let (mut elements, mut start, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (at, byte) in line.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => {
                elements.push(&line[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    elements.push(&line[start..]);
    elements.into_iter().map(|element| element.trim_matches([' ', '\t'])).collect()
}

fn directive(text: &str) -> Directive<'_> {
    match text.split_once('=') {
        None => (text.to_ascii_lowercase(), None),
        Some((name, argument)) => {
            let spaced = name.ends_with([' ', '\t']) || argument.starts_with([' ', '\t']);
            let argument = if spaced { Cow::Borrowed("") } else { unquoted(argument) };
            (name.trim_end_matches([' ', '\t']).to_ascii_lowercase(), Some(argument))
        }
    }
}

fn unquoted(argument: &str) -> Cow<'_, str> {
    let Some(inner) = argument.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return Cow::Borrowed(argument);
    };
    if !inner.contains('\\') {
        return Cow::Borrowed(inner);
    }
    let mut escaped = false;
    let plain = inner.chars().filter(|c| {
        escaped = *c == '\\' && !escaped;
        !escaped
    });
    Cow::Owned(plain.collect())
}

/// A number of seconds (RFC 9111 1.2.2): digits alone; more than 32 bits hold is as good as for ever.
pub(super) fn seconds(argument: &str) -> Option<Duration> {
    let sound = !argument.is_empty() && argument.bytes().all(|byte| byte.is_ascii_digit());
    sound.then(|| Duration::from_secs(argument.parse().unwrap_or(u32::MAX).into()))
}

/// What a request says about caching (RFC 9111 5.2.1): its `Cache-Control`, and the older `Pragma`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Directives {
    /// Ask the origin, whatever is stored.
    pub no_cache: bool,
    /// Do not remember the answer.
    pub no_store: bool,
    /// Only what is stored, or 504.
    pub only_if_cached: bool,
    /// Not older than this.
    pub max_age: Option<Duration>,
    /// Fresh for at least so long.
    pub min_fresh: Option<Duration>,
    /// Stale by so much is good enough; `Some(MAX)` is any age.
    pub max_stale: Option<Duration>,
}

impl Directives {
    /// Reads a request's directives.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut read = Self::default();
        each_directive(headers, |name, argument| {
            let seconds = argument.and_then(seconds);
            match name {
                "no-cache" => read.no_cache = true,
                "no-store" => read.no_store = true,
                "only-if-cached" => read.only_if_cached = true,
                "max-age" => read.max_age = seconds,
                "min-fresh" => read.min_fresh = seconds,
                "max-stale" => {
                    read.max_stale = if argument.is_none() { Some(Duration::MAX) } else { seconds };
                }
                _ => {}
            }
        });
        let pragma = headers.get(header::PRAGMA).map(|pragma| String::from_utf8_lossy(pragma.as_bytes()));
        if !headers.contains_key(header::CACHE_CONTROL)
            && pragma.is_some_and(|pragma| pragma.contains("no-cache"))
        {
            read.no_cache = true;
        }
        read
    }
}

/// What a response says about caching (RFC 9111 5.2.2, RFC 5861, RFC 9213).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is a directive of the standard, and any may stand beside any"
)]
pub struct ResponseControl {
    /// Must not be stored; where `must_understand` is said too, only by who does not know its status.
    pub no_store: bool,
    /// Must not be given again without being validated. Where it names fields, it counts for all of them.
    pub no_cache: bool,
    /// For one user.
    pub private: bool,
    /// May be stored though its request was authorised, or its status says nothing of it.
    pub public: bool,
    /// Must not be given stale.
    pub must_revalidate: bool,
    /// The same, for shared caches.
    pub proxy_revalidate: bool,
    /// Only who knows its status may store it.
    pub must_understand: bool,
    /// How long it is fresh.
    pub max_age: Option<Duration>,
    /// How long it is fresh for shared caches.
    pub s_maxage: Option<Duration>,
    /// How long it may be given stale while it is refreshed.
    pub stale_while_revalidate: Option<Duration>,
    /// How long it may be given stale when the origin fails.
    pub stale_if_error: Option<Duration>,
    /// It comes from the field that is meant for caches such as this one: `Expires` does not count.
    pub targeted: bool,
}

impl ResponseControl {
    /// Reads a response's directives: those of the targeted field where it is sound, else those of `Cache-Control`.
    pub fn of(headers: &HeaderMap) -> Self {
        Self::targeted(headers).unwrap_or_else(|| {
            let mut read = Self::default();
            each_directive(headers, |name, argument| {
                read.take(name, Some(argument.and_then(seconds).unwrap_or(Duration::ZERO)));
            });
            read
        })
    }

    /// `None` where there is no targeted field, or it is no dictionary of structured fields (RFC 9213 2.1).
    fn targeted(headers: &HeaderMap) -> Option<Self> {
        let lines: Vec<&[u8]> = headers.get_all(TARGETED).iter().map(HeaderValue::as_bytes).collect();
        if lines.is_empty() {
            return None;
        }
        let dictionary = sfv::Parser::new(&lines.join(&b", "[..])).parse::<sfv::Dictionary>().ok()?;
        if dictionary.is_empty() {
            return None;
        }
        let mut read = Self { targeted: true, ..Self::default() };
        for (name, entry) in &dictionary {
            let item = match entry {
                sfv::ListEntry::Item(item) => &item.bare_item,
                sfv::ListEntry::InnerList(_) => continue,
            };
            // An argument of another type than a directive's is disregarded with it (RFC 9213 2.1).
            match item {
                sfv::BareItem::Boolean(true) => read.take(name.as_str(), None),
                sfv::BareItem::Integer(number) => {
                    let seconds = u64::try_from(i64::from(*number)).unwrap_or(0);
                    read.take(name.as_str(), Some(Duration::from_secs(seconds.min(u32::MAX.into()))));
                }
                _ => {}
            }
        }
        Some(read)
    }

    fn take(&mut self, name: &str, seconds: Option<Duration>) {
        let shorter = |known: Option<Duration>| known.into_iter().chain(seconds).min();
        match name {
            "no-store" => self.no_store = true,
            "no-cache" => self.no_cache = true,
            "private" => self.private = true,
            "public" => self.public = true,
            "must-revalidate" => self.must_revalidate = true,
            "proxy-revalidate" => self.proxy_revalidate = true,
            "must-understand" => self.must_understand = true,
            "max-age" => self.max_age = shorter(self.max_age),
            "s-maxage" => self.s_maxage = shorter(self.s_maxage),
            "stale-while-revalidate" => self.stale_while_revalidate = shorter(self.stale_while_revalidate),
            "stale-if-error" => self.stale_if_error = shorter(self.stale_if_error),
            _ => {}
        }
    }

    /// Whether the response forbids that a shared cache gives it without the origin's word that it still holds
    /// (RFC 9111 4.2.4: not even while the origin can't be reached).
    pub fn forbids_stale(&self) -> bool {
        self.no_cache || self.must_revalidate || self.proxy_revalidate || self.s_maxage.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: HeaderName, value: &str) -> HeaderMap {
        [(name, HeaderValue::from_str(value).unwrap())].into_iter().collect()
    }

    fn request(value: &str) -> Directives {
        Directives::of(&one(header::CACHE_CONTROL, value))
    }

    fn response(value: &str) -> ResponseControl {
        ResponseControl::of(&one(header::CACHE_CONTROL, value))
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn reads_what_requests_say() {
        let none = Directives::default();
        assert_eq!(request("no-cache, x=y"), Directives { no_cache: true, ..none });
        assert_eq!(
            request("MAX-AGE=5,no-store"),
            Directives { max_age: Some(SECOND * 5), no_store: true, ..none }
        );
        assert_eq!(request("max-age=x"), none);
        assert_eq!(request("x=\"no-store, no-cache\""), none);
        assert_eq!(request("max-stale"), Directives { max_stale: Some(Duration::MAX), ..none });
        assert_eq!(request("max-stale=\"9\""), Directives { max_stale: Some(SECOND * 9), ..none });
        assert_eq!(
            request("only-if-cached, min-fresh=2"),
            Directives { only_if_cached: true, min_fresh: Some(SECOND * 2), ..none }
        );
    }

    #[test]
    fn a_value_that_is_none_makes_a_response_stale() {
        for (text, age) in [
            ("max-age=3600", 3600),
            ("max-age=\"3600\"", 3600),
            ("max-age=003600", 3600),
            ("max-age=1, max-age=5", 1),
            ("max-age=5, max-age=1", 1),
            ("extension=\"max-age=3600\", max-age=1", 1),
            ("max-age=1, extension=\"max-age=3600 \\\", max-age=0\"", 1),
            ("max-age=99999999999999999999", u64::from(u32::MAX)),
            ("max-age=-1", 0),
            ("max-age='3600'", 0),
            ("max-age=3600.0", 0),
            ("max-age =3600", 0),
            ("max-age= 3600", 0),
            ("max-age", 0),
        ] {
            assert_eq!(response(text).max_age, Some(Duration::from_secs(age)), "{text}");
        }
        assert_eq!(response("x=\"max-age=5, private"), ResponseControl::default());
    }

    #[test]
    fn bytes_beyond_ascii_take_no_directive_with_them() {
        let line = |bytes: &[u8]| {
            [(header::CACHE_CONTROL, HeaderValue::from_bytes(bytes).unwrap())].into_iter().collect()
        };
        for bytes in
            [&b"private, community=\"\xdc\""[..], b"community=\"\xc3\x9c, \xdc\", private", b"\xdc, private"]
        {
            let mut headers: HeaderMap = line(bytes);
            headers.append(header::CACHE_CONTROL, HeaderValue::from_static("max-age=60"));
            let read = ResponseControl { private: true, max_age: Some(SECOND * 60), ..Default::default() };
            assert_eq!(ResponseControl::of(&headers), read, "{bytes:?}");
        }
        assert!(Directives::of(&line(b"x=\"\xdc\", no-store")).no_store);
    }

    #[test]
    fn the_targeted_field_wins_where_it_is_sound() {
        let read = |targeted: &str| {
            let mut headers = one(header::CACHE_CONTROL, "no-store");
            headers.insert(TARGETED, HeaderValue::from_str(targeted).unwrap());
            ResponseControl::of(&headers)
        };
        assert_eq!(read("max-age=9").max_age, Some(SECOND * 9));
        assert!(!read("max-age=9").no_store);
        assert_eq!(read("max-age=\"9\"").max_age, None);
        for unsound in ["max-age=9, &&&&&", "max-age =9", "MaX-aGe=9", ""] {
            assert!(read(unsound).no_store, "{unsound}");
        }
    }
}
