//! The pages about the mirror: what it can answer, for people and as JSON.

use askama::Template;
use http::StatusCode;

use super::Proxy;
use crate::mirror::answers::{self, Answers};

/// How all pages of the proxy look.
pub(super) const STYLE: &str = include_str!("../../templates/style.css");

#[derive(Template)]
#[template(path = "answers.html")]
struct Page {
    endpoints: Vec<Answers>,
}

impl Proxy {
    /// What can be answered here, by endpoint and parameter.
    fn answers(&self) -> Vec<Answers> {
        let states = self.mirror.as_ref().map(|mirror| mirror.states());
        answers::all(&|endpoint, details| {
            let state = states.as_ref().and_then(|states| states.of(endpoint));
            state.is_some_and(|state| state.details || !details)
        })
    }

    /// The page of it.
    pub(super) fn answers_page(&self) -> Result<String, StatusCode> {
        Page { endpoints: self.answers() }.render().map_err(|error| {
            tracing::error!(%error, "the page of answers can't be made");
            StatusCode::INTERNAL_SERVER_ERROR
        })
    }

    /// The same as JSON.
    pub(super) fn answers_json(&self) -> String {
        serde_json::json!({ "endpoints": self.answers() }).to_string()
    }
}
