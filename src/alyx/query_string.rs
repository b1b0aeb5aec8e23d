//! Query strings and paths as Django reads them and as Alyx's links write them.
//!
//! Django decodes with Python's `parse_qsl(keep_blank_values=True)`: `&` separates, empty pieces
//! are dropped, `+` is a space, stray `%` stay, and bytes that are not UTF-8 become U+FFFD. Links
//! are written by `urlencode(sorted(…), doseq=True)` (ALYX.md 2.1, rule 7).

use percent_encoding::{
    AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode_byte, utf8_percent_encode,
};

/// What Python's `quote_plus` leaves as it is, besides letters and digits.
const QUOTE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'_').remove(b'.').remove(b'-').remove(b'~').remove(b' ');

/// What stays literal in a canonical path segment (RFC 3986's unreserved characters).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'_').remove(b'.').remove(b'-').remove(b'~');

/// A query's parameters, decoded, in the order in which they were written.
pub type Pairs = Vec<(String, String)>;

/// Decodes a query string (without its `?`).
pub fn parse(query: &str) -> Pairs {
    query
        .split('&')
        .filter(|piece| !piece.is_empty())
        .map(|piece| {
            let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
            (decode_plus(name), decode_plus(value))
        })
        .collect()
}

fn decode_plus(text: &str) -> String {
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
}

/// Encodes parameters as Alyx's links do: sorted by name, the values of one name in their order.
pub fn encode_sorted(pairs: &[(String, String)]) -> String {
    let mut sorted: Vec<_> = pairs.iter().collect();
    sorted.sort_by(|a, b| a.0.cmp(&b.0));
    let mut encoded = String::new();
    for (name, value) in sorted {
        if !encoded.is_empty() {
            encoded.push('&');
        }
        push_quoted(&mut encoded, name);
        encoded.push('=');
        push_quoted(&mut encoded, value);
    }
    encoded
}

fn push_quoted(to: &mut String, text: &str) {
    for piece in utf8_percent_encode(text, QUOTE) {
        if piece.contains(' ') { to.push_str(&piece.replace(' ', "+")) } else { to.push_str(piece) }
    }
}

/// The decoded segments of a path, without the empty one before its leading slash.
pub fn segments(path: &str) -> Vec<String> {
    path.strip_prefix('/').unwrap_or(path).split('/').map(decode).collect()
}

/// Bytes that are no UTF-8 stay percent-encoded, as Django keeps them (`repercent_broken_unicode`): other bytes, another
/// name.
fn decode(segment: &str) -> String {
    let bytes: Vec<u8> = percent_decode_str(segment).collect();
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|byte| percent_encode_byte(*byte)));
    }
    text
}

/// Whether a path, as it was sent, is the same path for everybody. Dot segments are resolved by some and not by others
/// (RFC 3986 5.2.4, also where they are encoded), and `\` is a slash for some (WHATWG URL): what is judged here might not
/// be what is asked.
pub fn is_unambiguous(path: &str) -> bool {
    let dots = |segment: &str| matches!(&*percent_decode_str(segment).decode_utf8_lossy(), "." | "..");
    !path.contains('\\') && !path.split('/').any(dots)
}

/// One spelling for all spellings of a path, from its decoded segments. A slash that came encoded
/// stays encoded: web servers before Django tell the two apart.
pub fn canonical_path(segments: &[String]) -> String {
    let mut path = String::new();
    for segment in segments {
        path.push('/');
        path.extend(utf8_percent_encode(segment, SEGMENT));
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(query: &str) -> Vec<(&str, &str)> {
        let parsed = parse(query).leak();
        parsed.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }

    #[test]
    fn reads_as_django_does() {
        assert_eq!(pairs("lab=a&&sex=F&"), [("lab", "a"), ("sex", "F")]);
        assert_eq!(pairs("a&b=&=c"), [("a", ""), ("b", ""), ("", "c")]);
        assert_eq!(pairs("l%61b=a+b%20c%2B"), [("lab", "a b c+")]);
        assert_eq!(pairs("x=%zz%"), [("x", "%zz%")]);
        assert_eq!(pairs("x=%ff%C3%BC"), [("x", "\u{fffd}ü")]);
        assert_eq!(pairs("n=a;b=c"), [("n", "a;b=c")]);
    }

    #[test]
    fn writes_as_python_does() {
        let pairs = parse("limit=2&django=~projects__name__in,['a b','ü']&a=&lab=b&lab=a");
        assert_eq!(
            encode_sorted(&pairs),
            "a=&django=~projects__name__in%2C%5B%27a+b%27%2C%27%C3%BC%27%5D&lab=b&lab=a&limit=2"
        );
    }

    #[test]
    fn what_others_would_read_otherwise_is_no_path() {
        for path in ["/a/../b", "/a/%2e%2E/b", "/a/.%2e", "/./a", "/a/%2e", "/a\\..\\b", "/a\\b", ".."] {
            assert!(!is_unambiguous(path), "{path}");
        }
        for path in
            ["/", "/a//b", "/a/...", "/a/.b/..c", "/a/%5c..", "/cache/info/..%2f..%2fx", "/a%2f..%2fb"]
        {
            assert!(is_unambiguous(path), "{path}");
        }
    }

    #[test]
    fn one_path_for_all_its_spellings() {
        let canonical = |path: &str| canonical_path(&segments(path));
        assert_eq!(canonical("/subjects/ZFM-%C3%BCn+1~x*"), canonical("/%73ubjects/ZFM-ün%2B1%7Ex%2A"));
        assert_ne!(canonical("/subjects/a%2Fb"), canonical("/subjects/a/b"));
        assert_ne!(canonical("/subjects/%FF"), canonical("/subjects/%FE"), "they are two names for Django");
        assert_eq!(segments("/subjects/a%ff%C3%BC%c3"), ["subjects", "a%FFü%C3"]);
        assert_eq!(canonical("/subjects/%ff"), canonical("/subjects/%25FF"), "they are one name for Django");
        assert_eq!(canonical("/docs/"), "/docs/");
        assert_eq!(canonical("/"), "/");
    }
}
