//! Whether a browser says that a page of another site asks (Fetch Metadata; RFC 6454's `Origin`).

use http::{HeaderMap, header};

/// Whether the page that asks is another site's. What is no browser says nothing, and asks for itself.
pub(crate) fn is_foreign(headers: &HeaderMap, base: &str) -> bool {
    let text =
        |value: Option<&http::HeaderValue>| value.map(|value| value.to_str().unwrap_or("?").to_owned());
    let site = text(headers.get("sec-fetch-site"));
    let origin = text(headers.get(header::ORIGIN));
    site.is_some_and(|site| !matches!(site.as_str(), "same-origin" | "none"))
        || origin.is_some_and(|origin| !origin.eq_ignore_ascii_case(origin_of(base)))
}

/// Scheme and authority of a base URL, which may have a path.
fn origin_of(base: &str) -> &str {
    let after = base.find("://").map_or(0, |at| at + 3);
    let end = base[after..].find('/').map_or(base.len(), |at| after + at);
    &base[..end]
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn only_the_own_pages_and_what_is_no_browser_may_ask() {
        for (fields, foreign) in [
            (&[][..], false),
            (&[("sec-fetch-site", "same-origin")][..], false),
            (&[("sec-fetch-site", "none")][..], false),
            (&[("sec-fetch-site", "same-site")][..], true),
            (&[("sec-fetch-site", "cross-site")][..], true),
            (&[("origin", "http://lab:8040")][..], false),
            (&[("origin", "http://lab:8041")][..], true),
            (&[("origin", "null")][..], true),
            (&[("origin", "https://lab:8040"), ("sec-fetch-site", "same-origin")][..], true),
        ] {
            let headers = fields
                .iter()
                .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)))
                .collect::<HeaderMap>();
            assert_eq!(is_foreign(&headers, "http://lab:8040"), foreign, "{fields:?}");
            assert_eq!(is_foreign(&headers, "http://lab:8040/alyx"), foreign, "{fields:?}");
        }
    }
}
