//! Which requests a response answers besides its own: `Vary` (RFC 9111 4.1).

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::cache_control::elements;

/// The fields by which a response was selected, with what its request said in them.
pub type Selecting = Vec<(HeaderName, Option<Vec<u8>>)>;

/// What a request says in the fields that a response varies by; `None` if the response answers no other request.
pub fn selecting(response: &HeaderMap, request: &HeaderMap) -> Option<Selecting> {
    let mut names: Vec<HeaderName> = Vec::new();
    for line in response.get_all(header::VARY) {
        for name in line.to_str().ok()?.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            if name == "*" {
                return None;
            }
            names.push(HeaderName::try_from(name).ok()?);
        }
    }
    names.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    names.dedup();
    Some(names.into_iter().map(|name| (name.clone(), normal(&name, request))).collect())
}

/// A field's value in one form: lines joined, without spaces between the elements of lists. Languages are named
/// without regard to case, and those that weigh the same in any order (RFC 9110 12.5.4). Quoted strings stay whole.
fn normal(name: &HeaderName, headers: &HeaderMap) -> Option<Vec<u8>> {
    let lines: Vec<&HeaderValue> = headers.get_all(name).iter().collect();
    if lines.is_empty() {
        return None;
    }
    let Ok(texts) = lines.iter().map(|line| line.to_str()).collect::<Result<Vec<_>, _>>() else {
        // Not ASCII: as it is.
        return Some(lines.iter().map(|line| line.as_bytes()).collect::<Vec<_>>().join(&b", "[..]));
    };
    let mut parts: Vec<&str> = texts.iter().flat_map(|text| elements(text)).collect();
    if *name != header::ACCEPT_LANGUAGE {
        return Some(parts.join(",").into_bytes());
    }
    let joined = parts.join(",").to_ascii_lowercase();
    parts = joined.split(',').collect();
    parts.sort_unstable();
    Some(parts.join(",").into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(*name, HeaderValue::from_str(value).unwrap());
        }
        map
    }

    fn same(vary: &str, one: &[(&'static str, &str)], other: &[(&'static str, &str)]) -> bool {
        let response = map(&[("vary", vary)]);
        let one = selecting(&response, &map(one));
        one.is_some() && one == selecting(&response, &map(other))
    }

    #[test]
    fn requests_match_in_what_a_response_varies_by() {
        assert!(same("Foo", &[("foo", "1"), ("other", "2")], &[("foo", "1"), ("other", "3")]));
        assert!(same("foo, BAR", &[("foo", "1")], &[("foo", "1")]));
        assert!(!same("foo", &[("foo", "1")], &[]));
        assert!(!same("foo", &[("foo", "1")], &[("foo", "2")]));
        assert!(same("foo", &[("foo", "1, 2")], &[("foo", "1"), ("foo", "2")]));
        assert!(same("foo", &[("foo", "1,2")], &[("foo", " 1,   2 ")]));
        assert!(!same("foo", &[("foo", "\"a, b\"")], &[("foo", "\"a,b\"")]));
        assert!(!same("foo", &[("foo", "a b")], &[("foo", "a  b")]));
        assert!(same("accept-language", &[("accept-language", "en, de")], &[("accept-language", "De,eN")]));
        for star in ["*", "foo, *", ", *"] {
            assert!(!same(star, &[], &[]), "{star}");
        }
    }
}
