//! What the miniature answers: status, headers and body as Alyx has them (ALYX.md 4.3).

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use serde_json::{Map, Value, json};

use crate::alyx::filterset::{AlyxError, QueryError};

/// An answer before its links are moved and its view's headers are set.
#[derive(Debug, Clone)]
pub(super) struct ViewResponse {
    pub(super) status: StatusCode,
    pub(super) content_type: &'static str,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) body: Bytes,
    /// Whether the body has links that begin with the sample's base.
    pub(super) links: bool,
    /// Whether it was refused before anyone looked who asks.
    pub(super) early: bool,
}

const JSON: &str = "application/json";
const HTML: &str = "text/html; charset=utf-8";

impl ViewResponse {
    pub(super) fn new(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self { status, content_type, headers: Vec::new(), body: body.into(), links: false, early: false }
    }

    /// Records: JSON with links of the sample.
    pub(super) fn records(status: StatusCode, text: String) -> Self {
        Self { links: true, ..Self::new(status, JSON, text) }
    }

    /// JSON without links.
    pub(super) fn json(status: StatusCode, value: &Value) -> Self {
        Self::new(status, JSON, value.to_string())
    }

    pub(super) fn empty(status: StatusCode) -> Self {
        Self::new(status, "", Bytes::new())
    }

    /// An error of Django REST framework: the status is the last key.
    pub(super) fn refused(status: StatusCode, detail: &str) -> Self {
        Self::json(status, &json!({"detail": detail, "status_code": status.as_u16()}))
    }

    /// Invalid input: messages for each field.
    pub(super) fn invalid<'a>(fields: impl IntoIterator<Item = (&'a str, Vec<String>)>) -> Self {
        let mut body = Map::new();
        for (field, messages) in fields {
            body.insert(field.to_owned(), json!(messages));
        }
        body.insert("status_code".to_owned(), json!(400));
        Self::json(StatusCode::BAD_REQUEST, &Value::Object(body))
    }

    /// An exception in Alyx's own code: the status is the first key.
    pub(super) fn failed(detail: &str) -> Self {
        let body = json!({"status_code": 500, "detail": detail});
        Self::json(StatusCode::INTERNAL_SERVER_ERROR, &body)
    }

    /// What the miniature can't answer as Alyx would.
    pub(super) fn beyond(what: &str) -> Self {
        Self::refused(StatusCode::NOT_IMPLEMENTED, &format!("the miniature Alyx does not {what}"))
    }

    pub(super) fn not_found(model: &str) -> Self {
        Self::refused(StatusCode::NOT_FOUND, &format!("No {model} matches the given query."))
    }

    /// A path that is not routed, in words of our own; Alyx has a page of Django's there.
    pub(super) fn not_routed() -> Self {
        let page = "<!doctype html>\n<html lang=\"en\">\n<head><title>Not Found</title></head>\n\
                    <body><h1>Not Found</h1><p>The miniature Alyx has nothing at this path.</p></body>\n</html>\n";
        Self::new(StatusCode::NOT_FOUND, HTML, page)
    }

    pub(super) fn html(status: StatusCode, text: &'static str) -> Self {
        Self::new(status, HTML, text)
    }

    pub(super) fn early(mut self) -> Self {
        self.early = true;
        self
    }

    pub(super) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    pub(super) fn into_response(self) -> Response<axum::body::Body> {
        let mut response = Response::new(axum::body::Body::from(self.body));
        *response.status_mut() = self.status;
        response.headers_mut().extend(self.headers);
        if !self.content_type.is_empty() {
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        }
        response
    }
}

impl From<QueryError> for ViewResponse {
    fn from(unanswered: QueryError) -> Self {
        match unanswered {
            QueryError::Refused(AlyxError { status, body }) => {
                // Every status of a refusal is one.
                let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                Self::new(status, JSON, body)
            }
            QueryError::Undecided(reason) => Self::refused(StatusCode::NOT_IMPLEMENTED, &reason.to_string()),
        }
    }
}
