//! `/-/docs`: the documentation of this very version.

use askama::Template;
use axum::body::Body;
use http::{Response, StatusCode};

use super::own;
use crate::docs::{self, Chapter, Page};

#[derive(Template)]
#[template(path = "docs.html")]
struct Book {
    chapters: &'static [Chapter],
    page: &'static Page,
}

/// The page or picture behind `/-/docs`; none where there is none.
pub(super) fn answer(rest: &str) -> Option<Response<Body>> {
    if let Some(picture) = docs::picture(rest) {
        return Some(own::text(picture, "image/svg+xml"));
    }
    let name = rest.strip_suffix(".html").unwrap_or(rest);
    let page = docs::page(if name.is_empty() { "index" } else { name })?;
    let book = Book { chapters: docs::chapters(), page };
    Some(match book.render() {
        Ok(html) => own::text(&html, "text/html; charset=utf-8"),
        Err(error) => {
            tracing::error!(%error, "a page of the documentation can't be made");
            super::refusal::plain(
                StatusCode::INTERNAL_SERVER_ERROR.as_u16(),
                "The page can't be made; the log says more.",
            )
        }
    })
}
