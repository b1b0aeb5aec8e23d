//! Conditional requests that a stored response can answer (RFC 9110 13, RFC 9111 4.3.2).

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::{cache_control::elements, date};
use crate::clock::Millis;

/// Whether a GET that would be answered with this stored response may be told that it has it already: by
/// `If-None-Match`, and only without that by `If-Modified-Since`.
pub fn not_modified(
    request: &HeaderMap,
    status: StatusCode,
    response: &HeaderMap,
    received_at: Millis,
) -> bool {
    if !status.is_success() {
        return false;
    }
    if request.contains_key(header::IF_NONE_MATCH) {
        return response.get(header::ETAG).is_some_and(|tag| names(request, tag));
    }
    unchanged_since(request, response, received_at)
}

/// What the conditions of a GET for what a response of 200 would give come to, where that is no body (RFC 9110 13.2.2).
pub fn precondition(request: &HeaderMap, response: &HeaderMap, received_at: Millis) -> Option<StatusCode> {
    let holds = if request.contains_key(header::IF_MATCH) {
        matches_strongly(request, response.get(header::ETAG))
    } else {
        let since = time(request, header::IF_UNMODIFIED_SINCE);
        since.zip(time(response, header::LAST_MODIFIED)).is_none_or(|(since, modified)| modified <= since)
    };
    if !holds {
        return Some(StatusCode::PRECONDITION_FAILED);
    }
    not_modified(request, StatusCode::OK, response, received_at).then_some(StatusCode::NOT_MODIFIED)
}

/// Whether `If-Match` names this entity tag; a weak one matches nothing (RFC 9110 13.1.1).
fn matches_strongly(request: &HeaderMap, tag: Option<&HeaderValue>) -> bool {
    let tag = tag.and_then(|tag| tag.to_str().ok()).filter(|tag| tag.starts_with('"'));
    let mut lines = request.get_all(header::IF_MATCH).iter().filter_map(|line| line.to_str().ok());
    lines.any(|line| elements(line).iter().any(|listed| *listed == "*" || Some(*listed) == tag))
}

/// Whether `If-None-Match` names this entity tag (RFC 9110 13.1.2: weakness does not matter).
pub fn names(request: &HeaderMap, tag: &HeaderValue) -> bool {
    let strong = |tag: &[u8]| tag.strip_prefix(b"W/").unwrap_or(tag).to_vec();
    let wanted = strong(tag.as_bytes());
    request.get_all(header::IF_NONE_MATCH).iter().any(|line| match line.to_str() {
        Ok(line) => elements(line).iter().any(|listed| *listed == "*" || strong(listed.as_bytes()) == wanted),
        // A tag may hold other bytes than ASCII; a list of such is not looked into.
        Err(_) => strong(line.as_bytes()) == wanted,
    })
}

/// Whether the response has not changed since `If-Modified-Since`. What doesn't say when it changed has not changed
/// since it was made, or came (RFC 9111 4.3.2).
fn unchanged_since(request: &HeaderMap, response: &HeaderMap, received_at: Millis) -> bool {
    let Some(since) = time(request, header::IF_MODIFIED_SINCE) else { return false };
    let changed = time(response, header::LAST_MODIFIED).or_else(|| time(response, header::DATE));
    changed.unwrap_or(received_at) <= since
}

/// The time that a field names.
fn time(headers: &HeaderMap, name: HeaderName) -> Option<Millis> {
    headers.get(name).and_then(|value| value.to_str().ok()).and_then(date::parse)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(http::HeaderName, &'static str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn tags_come_before_dates() {
        let stored =
            map(&[(header::ETAG, "\"a\""), (header::LAST_MODIFIED, "Thu, 18 Aug 2022 02:01:18 GMT")]);
        let told = |fields: &[(http::HeaderName, &'static str)]| {
            not_modified(&map(fields), StatusCode::OK, &stored, 0)
        };
        let since = (header::IF_MODIFIED_SINCE, "Thu, 18 Aug 2022 02:01:18 GMT");
        let before = (header::IF_MODIFIED_SINCE, "Thu, 18 Aug 2022 02:01:17 GMT");
        let tag = |tag| (header::IF_NONE_MATCH, tag);
        assert!(told(&[tag("\"x\", W/\"a\"")]));
        assert!(told(&[tag("*")]));
        assert!(told(std::slice::from_ref(&since)));
        assert!(told(&[before.clone(), tag("\"a\"")]));
        assert!(!told(std::slice::from_ref(&before)));
        assert!(!told(&[since.clone(), tag("\"b\"")]));
        assert!(!told(&[tag("\"x,\\\"a\"")]));
        assert!(!told(&[(header::IF_MODIFIED_SINCE, "yesterday")]));
        assert!(!not_modified(&map(&[tag("*")]), StatusCode::NOT_FOUND, &stored, 0));
    }

    #[test]
    fn a_tag_that_must_match_does_so_strongly_and_may_hold_commas() {
        let stored =
            map(&[(header::ETAG, "\"a,b\""), (header::LAST_MODIFIED, "Thu, 18 Aug 2022 02:01:18 GMT")]);
        let come_to = |fields: &[(HeaderName, &'static str)]| {
            let mut asked = HeaderMap::new();
            for (name, value) in fields {
                asked.append(name, HeaderValue::from_static(value));
            }
            precondition(&asked, &stored, 0).map(|status| status.as_u16())
        };
        let must = |tag| (header::IF_MATCH, tag);
        let unmodified = |since| (header::IF_UNMODIFIED_SINCE, since);
        assert_eq!(come_to(&[must("\"x\", \"a,b\"")]), None);
        assert_eq!(come_to(&[must("\"x\""), must("\"a,b\"")]), None, "several lines are one list");
        assert_eq!(come_to(&[must("*")]), None);
        assert_eq!(come_to(&[must("W/\"a,b\"")]), Some(412));
        assert_eq!(come_to(&[must("\"a\"")]), Some(412));
        assert_eq!(come_to(&[unmodified("Thu, 18 Aug 2022 02:01:17 GMT")]), Some(412));
        assert_eq!(come_to(&[unmodified("Thu, 18 Aug 2022 02:01:18 GMT")]), None);
        assert_eq!(come_to(&[must("*"), (header::IF_NONE_MATCH, "\"a,b\"")]), Some(304));
    }
}
