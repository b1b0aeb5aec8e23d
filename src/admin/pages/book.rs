//! `/-/docs`: the documentation of this very version.

use askama::Template;
use axum::body::Body;
use http::{Response, header};

use super::{
    Visit,
    frame::{Frame, page},
    text_response,
};
use crate::docs::{self, Chapter, DocPage};

/// The proxy's address as the pages have it: the reader's is shown instead.
const EXAMPLES: [&str; 2] = ["http://127.0.0.1:8040", "http://lab-server:8040"];

#[derive(Template)]
#[template(path = "docs.html")]
struct Book {
    frame: Frame,
    chapters: &'static [Chapter],
    page: &'static DocPage,
    /// Its text, with the address of this proxy.
    html: String,
    setup: Option<SetUp>,
}

/// What to type on one's own machine for ONE to ask this proxy.
struct SetUp {
    url: String,
    /// Whether the reader's browser runs on Windows.
    windows: bool,
}

impl Visit {
    /// The page or picture behind `/-/docs`; none where there is none.
    pub(super) fn book(&self, rest: &str) -> Option<Response<Body>> {
        if let Some(picture) = docs::picture(rest) {
            return Some(text_response(picture, "image/svg+xml"));
        }
        let name = rest.strip_suffix(".html").unwrap_or(rest);
        let text = docs::page(if name.is_empty() { "index" } else { name })?;
        let frame = self.frame("docs", text.title.clone());
        let agent = self.headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
        let windows = agent.is_some_and(|agent| agent.contains("Windows"));
        let html = EXAMPLES.into_iter().fold(text.html.clone(), |html, url| html.replace(url, &self.base));
        let setup = matches!(text.name, "start" | "one").then(|| SetUp { url: self.base.clone(), windows });
        Some(page(&Book { frame, chapters: docs::chapters(), page: text, html, setup }, 200))
    }
}
