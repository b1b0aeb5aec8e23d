//! Making the response from a stored one: its age, and what the request's conditions and ranges leave of it.

use std::time::Duration;

use axum::body::Body;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};

use super::StoredResponse;
use crate::http::{RequestedRange, Validators, cache_status::CacheStatus, not_modified, wanted};

/// The response that gives what is stored and has this age; `status` tells where it came from (RFC 9211).
pub(super) fn give(
    stored: &StoredResponse,
    age: Duration,
    method: &Method,
    request: &HeaderMap,
    status: CacheStatus,
) -> Response<Body> {
    let mut headers = stored.headers.clone();
    let age = age.as_secs().min(u32::MAX.into());
    headers.insert(header::AGE, HeaderValue::from(age));
    let mut response = Response::new(Body::empty());
    if not_modified(request, stored.status, &stored.headers, stored.received_at()) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        headers.remove(header::CONTENT_LENGTH);
        *response.headers_mut() = headers;
        status.mark(&mut response);
        return response;
    }
    *response.status_mut() = stored.status;
    let mut body = stored.body.clone();
    if stored.status == StatusCode::OK && *method == Method::GET {
        let version = Validators {
            tag: stored.headers.get(header::ETAG),
            modified: stored.headers.get(header::LAST_MODIFIED),
        };
        let length = body.len() as u64;
        let range = wanted(request, version, length);
        headers.extend(range.content_range(length).map(|field| (header::CONTENT_RANGE, field)));
        match range {
            RequestedRange::Whole => {}
            RequestedRange::Part { start, end } => {
                *response.status_mut() = StatusCode::PARTIAL_CONTENT;
                let at = |place: u64| usize::try_from(place).unwrap_or(usize::MAX);
                body = body.slice(at(start)..at(end + 1));
            }
            RequestedRange::Unsatisfiable => {
                *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
                body.clear();
            }
        }
    }
    if stored.status != StatusCode::NO_CONTENT {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    }
    *response.headers_mut() = headers;
    status.mark(&mut response);
    if *method != Method::HEAD {
        *response.body_mut() = Body::from(body);
    }
    response
}
