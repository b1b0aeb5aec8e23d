//! `/-/answers`: what can be answered here, and what it needs.

use askama::Template;
use axum::body::Body;
use http::Response;

use super::{
    Visit,
    frame::{Frame, page},
};
use crate::{
    admin::router::AdminSite,
    mirror::capabilities::{self, Capabilities},
};

#[derive(Template)]
#[template(path = "answers.html")]
struct AnswersPage {
    frame: Frame,
    endpoints: Vec<Capabilities>,
}

impl Visit {
    pub(super) fn answers_page(&self) -> Response<Body> {
        let frame = self.frame("answers", "What this proxy can answer");
        page(&AnswersPage { frame, endpoints: self.admin.answers() }, 200)
    }
}

impl AdminSite {
    /// What can be answered here, by endpoint and parameter.
    fn answers(&self) -> Vec<Capabilities> {
        let states = self.core.mirror.as_ref().map(|mirror| mirror.states());
        capabilities::all(&|endpoint, details| {
            let state = states.as_ref().and_then(|states| states.of(endpoint));
            state.is_some_and(|state| state.details || !details)
        })
    }

    /// The same as JSON.
    pub(super) fn answers_json(&self) -> String {
        serde_json::json!({ "endpoints": self.answers() }).to_string()
    }
}
