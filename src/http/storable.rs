//! What may be stored (RFC 9111 3), and what a 304 changes of it (RFC 9111 3.2, 4.3.4).

use http::{HeaderMap, HeaderName, Method, StatusCode, header};

use super::{cache_control::ResponseControl, freshness::Lifetime};

/// What is to be known of a request before its response is stored.
#[derive(Debug, Clone, Copy)]
pub struct Request<'r> {
    /// Its method.
    pub method: &'r Method,
    /// Whether it carried `Authorization`.
    pub authorised: bool,
    /// Whether it asked that nothing be stored.
    pub no_store: bool,
}

/// Whether a shared cache may store this response to a GET (RFC 9111 3).
pub fn may_store(
    request: Request<'_>,
    status: StatusCode,
    headers: &HeaderMap,
    control: &ResponseControl,
    lifetime: Lifetime,
) -> bool {
    let shared =
        !request.authorised || control.public || control.must_revalidate || control.s_maxage.is_some();
    let worth = match lifetime {
        Lifetime::Said(time) if !time.is_zero() => true,
        Lifetime::Guessed(time) if !time.is_zero() => true,
        // Not fresh for a moment: worth it only where the origin can say that it still holds, or where it may be
        // given stale.
        _ => {
            (control.public || heuristically_cacheable(status) || lifetime != Lifetime::None)
                && (has_validator(headers)
                    || control.stale_while_revalidate.is_some()
                    || control.stale_if_error.is_some())
        }
    };
    *request.method == Method::GET
        && !request.no_store
        && final_and_whole(status)
        && !forbids_storing(status, control)
        && shared
        && worth
}

/// Whether a response forbids every shared cache to store it, whoever asked (RFC 9111 5.2.2.3, 5.2.2.5, 5.2.2.7).
pub fn forbids_storing(status: StatusCode, control: &ResponseControl) -> bool {
    let no_store = if control.must_understand { !understood(status) } else { control.no_store };
    no_store || control.private
}

/// Whether the origin can be asked if a response still holds.
fn has_validator(headers: &HeaderMap) -> bool {
    headers.contains_key(header::ETAG) || headers.contains_key(header::LAST_MODIFIED)
}

/// Parts (206) are not stored: to put them together costs more than they are asked for here. 304 changes what is
/// stored, and what comes before the answer (1xx) is none.
fn final_and_whole(status: StatusCode) -> bool {
    !status.is_informational() && status != StatusCode::PARTIAL_CONTENT && status != StatusCode::NOT_MODIFIED
}

/// Whether this cache knows what a status says of storing (RFC 9111 3).
fn understood(status: StatusCode) -> bool {
    heuristically_cacheable(status)
        || matches!(status.as_u16(), 302 | 303 | 307 | 400 | 401 | 403 | 500 | 502 | 503 | 504)
}

/// RFC 9110 15.1, without 206.
pub(super) fn heuristically_cacheable(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501)
}

/// Takes over the fields of a 304, or of a response to HEAD, into what is stored: all but those that describe the
/// stored bytes.
pub fn merge(stored: &mut HeaderMap, newer: &HeaderMap) {
    const OF_THE_BYTES: [HeaderName; 3] =
        [header::CONTENT_ENCODING, header::CONTENT_LENGTH, header::CONTENT_RANGE];
    for name in newer.keys().filter(|name| !OF_THE_BYTES.contains(name)) {
        stored.remove(name);
        for value in newer.get_all(name) {
            stored.append(name.clone(), value.clone());
        }
    }
}
