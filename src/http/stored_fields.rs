//! Which header fields of an answer are stored, whoever brings it (the upstream, a snapshot, the disk).

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// Fields of an answer in JSON. No other says anything to a client that this proxy has not its own word for; some would let
/// whoever sends them act in a browser on the proxy's own pages (cookies, policies, scripts' types).
const OF_ANSWERS: [HeaderName; 5] = [
    header::ALLOW,
    header::CONTENT_DISPOSITION,
    header::CONTENT_LANGUAGE,
    header::CONTENT_TYPE,
    header::VARY,
];

/// Fields of a file besides those that every file has.
const OF_FILES: [HeaderName; 2] = [header::ALLOW, header::VARY];

/// Media types by which a zip is known.
const ZIP: [&str; 4] =
    ["application/zip", "application/x-zip-compressed", "application/octet-stream", "binary/octet-stream"];

/// The fields of an answer in JSON that are stored with it.
pub fn of_answer(headers: &HeaderMap) -> HeaderMap {
    chosen(headers, &OF_ANSWERS)
}

/// The fields that are stored with a zip: its type is a zip's, and it is called as ONE calls it.
pub fn of_zip(headers: &HeaderMap) -> HeaderMap {
    let mut fields = chosen(headers, &OF_FILES);
    let kind = headers.get(header::CONTENT_TYPE).filter(|kind| ZIP.iter().any(|zip| kind == zip));
    let kind = kind.cloned().unwrap_or_else(|| HeaderValue::from_static(ZIP[0]));
    fields.insert(header::CONTENT_TYPE, kind);
    if headers.contains_key(header::CONTENT_DISPOSITION) {
        let name = HeaderValue::from_static("inline; filename=\"cache.zip\"");
        fields.insert(header::CONTENT_DISPOSITION, name);
    }
    fields
}

fn chosen(headers: &HeaderMap, names: &[HeaderName]) -> HeaderMap {
    let stored = headers.iter().filter(|(name, _)| names.contains(name));
    stored.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Whether an answer says once, and clearly, that it is JSON, or of a type that is built on it.
pub fn is_json(headers: &HeaderMap) -> bool {
    let mut lines = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else { return false };
    let Ok(text) = line.to_str() else { return false };
    let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let token = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.' | b'_');
    essence.strip_prefix("application/").is_some_and(|subtype| {
        subtype.bytes().all(token) && (subtype == "json" || subtype.ends_with("+json"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::try_from(value).unwrap())])
    }

    #[test]
    fn json_is_what_says_so_and_nothing_else() {
        let is = |kind: &str| is_json(&with(header::CONTENT_TYPE, kind));
        for kind in [
            "application/json",
            "Application/JSON; charset=utf-8",
            "application/coreapi+json",
            "application/vnd.oai.openapi+json; indent=4",
        ] {
            assert!(is(kind), "{kind}");
        }
        for kind in [
            "",
            "text/html",
            "application/json,text/html",
            "application/html; +json",
            "application/x y+json",
            "text/json",
            "application/javascript",
            "image/svg+xml",
        ] {
            assert!(!is(kind), "{kind}");
        }
        let mut twice = with(header::CONTENT_TYPE, "application/json");
        twice.append(header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
        assert!(!is_json(&twice) && !is_json(&HeaderMap::new()));
    }

    #[test]
    fn what_acts_in_a_browser_is_not_stored() {
        for name in ["set-cookie", "location", "refresh", "link", "content-security-policy", "alt-svc"] {
            let headers = with(HeaderName::from_static(name), "x");
            assert!(of_answer(&headers).is_empty(), "{name}");
            assert_eq!(of_zip(&headers), with(header::CONTENT_TYPE, "application/zip"), "{name}");
        }
        let bucket = with(header::CONTENT_TYPE, "binary/octet-stream");
        assert_eq!(of_zip(&bucket), bucket);
    }
}
