//! `/-/docs`: the documentation of this very version.

use askama::Template;
use axum::body::Body;
use http::Response;

use super::{
    Visit,
    frame::{Frame, page},
    own,
};
use crate::docs::{self, Chapter, Page};

#[derive(Template)]
#[template(path = "docs.html")]
struct Book {
    frame: Frame,
    chapters: &'static [Chapter],
    page: &'static Page,
}

impl Visit {
    /// The page or picture behind `/-/docs`; none where there is none.
    pub(super) fn book(&self, rest: &str) -> Option<Response<Body>> {
        if let Some(picture) = docs::picture(rest) {
            return Some(own::text(picture, "image/svg+xml"));
        }
        let name = rest.strip_suffix(".html").unwrap_or(rest);
        let text = docs::page(if name.is_empty() { "index" } else { name })?;
        let frame = self.frame("docs", text.title.clone());
        Some(page(&Book { frame, chapters: docs::chapters(), page: text }, 200))
    }
}
