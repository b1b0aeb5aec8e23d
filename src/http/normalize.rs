//! What a request says of its own way here, settled before anything else looks at it: what is judged here must be what
//! Alyx gets.

use axum::body::{Body, HttpBody};
use http::{HeaderMap, HeaderValue, Request, header};

use super::body::has_body;
use super::hop_by_hop::named_by_connection;

/// Whether it is sure where a request's body ends: proxies differ in what they make of other codings than one `chunked`
/// (RFC 9112 6.1).
pub(crate) fn is_framed_plainly(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(coding), None) => coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked"),
        _ => false,
    }
}

/// Leaves out the fields that `Connection` names: they end here (RFC 9110 7.6.1), so nothing may be decided by them
/// either. A token that Alyx is never shown would seem to be one that it accepts.
///
/// A body whose length is not said is marked as HTTP/1.1 marks it: in HTTP/2 nothing need say that there is one
/// (RFC 9113 8.1).
pub(crate) fn normalize_request(request: &mut Request<Body>) {
    let unsaid = !has_body(request.headers()) && !request.body().is_end_stream();
    let headers = request.headers_mut();
    if headers.contains_key(header::CONNECTION) {
        leave_out_named(headers);
    }
    if unsaid {
        headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
}

fn leave_out_named(headers: &mut HeaderMap) {
    for name in named_by_connection(headers) {
        // What says that there is a body stays: it is here.
        if name != header::CONTENT_LENGTH.as_str() && name != header::TRANSFER_ENCODING.as_str() {
            headers.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_the_connection_end_here() {
        let mut request = Request::builder()
            .header("connection", "Keep-Alive, AUTHORIZATION")
            .header("connection", "cookie,,x y")
            .header("authorization", "Token a")
            .header("authorization", "Token b")
            .header("cookie", "a=b")
            .header("accept", "*/*")
            .body(Body::empty())
            .unwrap();
        normalize_request(&mut request);
        let left: Vec<&str> = request.headers().keys().map(http::HeaderName::as_str).collect();
        assert_eq!(left, ["connection", "accept"]);
    }

    #[test]
    fn a_body_of_which_nothing_is_said_is_not_overlooked() {
        let mut request = Request::new(Body::from("{}"));
        normalize_request(&mut request);
        assert!(has_body(request.headers()));
        let mut request = Request::new(Body::empty());
        normalize_request(&mut request);
        assert!(!has_body(request.headers()));
    }
}
