//! How far a TRACE or an OPTIONS may go: `Max-Forwards` (RFC 9110 7.6.2).

use axum::body::Body;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, Uri, header};

/// Fields that a reflected request does not show (RFC 9110 9.3.8).
const SECRET: [HeaderName; 3] = [header::AUTHORIZATION, header::COOKIE, header::PROXY_AUTHORIZATION];

/// The answer to a request that may go no further than here; another one may go one step less far from now on.
pub(super) fn ends_here(method: &Method, uri: &Uri, headers: &mut HeaderMap) -> Option<Response<Body>> {
    if !matches!(*method, Method::TRACE | Method::OPTIONS) {
        return None;
    }
    let text = headers.get(header::MAX_FORWARDS)?.to_str().ok()?;
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    if let Some(less) = text.parse().unwrap_or(u64::MAX).checked_sub(1) {
        headers.insert(header::MAX_FORWARDS, HeaderValue::from(less));
        return None;
    }
    let mut response = Response::new(Body::empty());
    if *method == Method::TRACE {
        *response.body_mut() = Body::from(reflected(uri, headers));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("message/http"));
    }
    Some(response)
}

/// A TRACE as it came here.
fn reflected(uri: &Uri, headers: &HeaderMap) -> Vec<u8> {
    let mut message = format!("TRACE {uri} HTTP/1.1\r\n").into_bytes();
    for (name, value) in headers.iter().filter(|(name, _)| !SECRET.contains(name)) {
        message.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    message.extend_from_slice(b"\r\n");
    message
}
