//! What all pages have in common: head, navigation, who is logged in, and what browsers are told to refuse.

use askama::Template;
use axum::body::Body;
use http::{HeaderValue, Response, StatusCode, header};

use super::{Visit, error::ProxyError, session::Session, text_response};
use crate::{
    clock,
    proxy::{ServedSnapshot, core::Core},
};

/// What the base template needs.
#[derive(Debug)]
pub(super) struct Frame {
    /// Which of the navigation's pages this is.
    pub(super) here: &'static str,
    pub(super) title: String,
    pub(super) user: Option<String>,
    pub(super) csrf: String,
    /// `up`, `down` or `unknown`.
    pub(super) state: &'static str,
    /// The same for people.
    pub(super) state_text: String,
    pub(super) version: &'static str,
}

/// Only what comes from here, and no script or style within a page.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

impl Visit {
    pub(super) fn frame(&self, here: &'static str, title: impl Into<String>) -> Frame {
        Frame::of(&self.admin.core, self.session.as_deref(), here, title)
    }
}

impl Frame {
    /// That of a page for whoever looks at it.
    pub(super) fn of(
        core: &Core,
        session: Option<&Session>,
        here: &'static str,
        title: impl Into<String>,
    ) -> Self {
        let state = core.upstream.health.state();
        let state_text = match state.name() {
            "up" => "Alyx answers".to_owned(),
            "down" if core.mode.snapshot().is_some() => {
                let at = core.mode.snapshot().map(ServedSnapshot::as_of).unwrap_or_default();
                format!("snapshot of {}", clock::for_people(at))
            }
            "down" if state.is_on_purpose() => "offline on purpose".to_owned(),
            "down" => "Alyx is out of reach".to_owned(),
            _ => "not known yet".to_owned(),
        };
        Self {
            here,
            title: title.into(),
            user: session.map(|session| session.name().to_owned()),
            csrf: session.map(|session| session.csrf().to_owned()).unwrap_or_default(),
            state: state.name(),
            state_text,
            version: env!("CARGO_PKG_VERSION"),
        }
    }
}

/// A page from its template.
pub(super) fn page(template: &impl Template, status: u16) -> Response<Body> {
    let html = match template.render() {
        Ok(html) => html,
        Err(error) => {
            tracing::error!(%error, "a page can't be made");
            return ProxyError::refused(
                StatusCode::INTERNAL_SERVER_ERROR,
                "The page can't be made; the log says more.",
            )
            .into();
        }
    };
    let mut response = text_response(&html, "text/html; charset=utf-8");
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
