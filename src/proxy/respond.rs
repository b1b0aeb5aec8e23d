//! Making the response from a stored answer: its links, coding, validators and fields.

use std::sync::Arc;

use axum::body::Body;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};

use super::{
    Exchange,
    core::Core,
    error::NOTICE,
    hot_cache::{RepeatTerms, Repeatable},
    lost_update::MadeOf,
};
use crate::{
    cache::{ClientView, Entry, Question},
    clock,
    http::{cache_status::CacheStatus, content_coding::Coding},
};

/// How to give an entry: what to say of it, and a warning for the user.
#[derive(Debug)]
pub(crate) struct ResponseOptions {
    pub(crate) how: CacheStatus,
    pub(crate) notice: Option<HeaderValue>,
    /// On what terms the same request may get the same answer again; none where it may not.
    pub(crate) again: Option<RepeatTerms>,
}

impl ResponseOptions {
    /// Without a warning.
    pub(crate) fn plainly(how: CacheStatus) -> Self {
        Self { how, notice: None, again: None }
    }
}

/// The response that gives a stored answer to this asker.
pub(crate) async fn respond(
    core: &Core,
    asked: &Exchange,
    question: &Question,
    entry: &Arc<Entry>,
    giving: ResponseOptions,
) -> Response<Body> {
    let reader = ClientView { base: &asked.base, question };
    let identity = core.responses.representation(&question.key, entry, &reader);
    let wanted = Coding::negotiate(&asked.headers, identity.body.len());
    let (coding, body) =
        match core.responses.coded(&identity, wanted.name(), |body| wanted.encode(body)).await {
            Some(coded) => (wanted, coded),
            None => (Coding::Identity, identity.body.clone()),
        };
    let tag = entity_tag(identity.tag, coding);
    let mut headers = entry.headers.clone();
    add_fields(&mut headers, entry, &giving, &tag);
    let mut response = Response::new(Body::empty());
    if entry.status == StatusCode::OK && crate::http::names(&asked.headers, &tag) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        headers.remove(header::CONTENT_TYPE);
    } else {
        *response.status_mut() = entry.status;
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        if let Some(name) = coding.name() {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(name));
        }
        if let Some(terms) = giving.again {
            let (entry, body, client) = (entry.clone(), body.clone(), asked.client);
            let repeatable = Repeatable { terms, entry, body, client, given: None, walk: None };
            response.extensions_mut().insert(repeatable);
        }
        if asked.method != Method::HEAD {
            *response.body_mut() = Body::from(body);
        }
    }
    *response.headers_mut() = headers;
    response.extensions_mut().insert(MadeOf(entry.clone()));
    giving.how.mark(&mut response);
    response
}

fn add_fields(headers: &mut HeaderMap, entry: &Entry, giving: &ResponseOptions, tag: &HeaderValue) {
    let age = clock::age_field(entry.received_at);
    headers.insert(header::AGE, HeaderValue::from(age));
    headers.insert(header::ETAG, tag.clone());
    headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    if let Some(notice) = &giving.notice {
        headers.insert(NOTICE, notice.clone());
    }
}

/// A strong entity tag: other bytes, other tag (RFC 9110 8.8.3).
fn entity_tag(tag: [u8; 16], coding: Coding) -> HeaderValue {
    let hash = u128::from_be_bytes(tag);
    let text = match coding.name() {
        Some(name) => format!("\"{hash:032x}-{name}\""),
        None => format!("\"{hash:032x}\""),
    };
    // Hexadecimal digits and a name are always fit for a field.
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("\"\""))
}
