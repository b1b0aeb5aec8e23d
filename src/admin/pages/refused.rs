//! What a browser is shown in place of a page of Alyx's own: the way to where that is given or, where it can't be had, the
//! proxy's refusal. Everybody else gets what Alyx sent, or the refusal as JSON.

use std::sync::Arc;

use askama::Template;
use axum::body::{Body, to_bytes};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, header, uri::PathAndQuery};

use super::{
    AdminSite, Visit,
    error::ProxyError,
    frame::{Frame, page},
};
use crate::http::{
    cache_status::{CacheStatus, RefusalReason},
    response_fields,
};

/// No refusal is longer.
const LONGEST: usize = 64 << 10;

#[derive(Template)]
#[template(path = "refused.html")]
struct RefusedPage<'p> {
    frame: Frame,
    text: &'p str,
    path: &'p str,
}

#[derive(Template)]
#[template(path = "alyx_page.html")]
struct AlyxPage<'p> {
    frame: Frame,
    place: &'p str,
}

#[derive(Template)]
#[template(path = "no_page.html")]
struct NoPage<'p> {
    frame: Frame,
    text: &'p str,
}

impl Visit {
    /// That there is no such page: to a browser as one, to others as JSON.
    pub(super) fn no_page(&self, text: &str) -> Response<Body> {
        let is_browser = is_browser(&self.headers);
        if !is_browser {
            return ProxyError::refused(StatusCode::NOT_FOUND, text).into();
        }
        page(&NoPage { frame: self.frame("", "No such page"), text }, 404)
    }
}

/// MATLAB says that it takes HTML, but of XHTML only browsers speak.
fn is_browser(headers: &HeaderMap) -> bool {
    let says = |accept: &http::HeaderValue| {
        accept.to_str().is_ok_and(|accept| accept.contains("application/xhtml+xml"))
    };
    headers.get_all(header::ACCEPT).iter().any(says)
}

/// Whoever wants to look at a page.
#[derive(Debug)]
pub(crate) struct Looker {
    uri: Uri,
    headers: HeaderMap,
}

impl Looker {
    /// A browser that opens a page; none where a program asks.
    pub(crate) fn of(request: &Request<Body>) -> Option<Self> {
        let reads = matches!(*request.method(), Method::GET);
        (reads && is_browser(request.headers()))
            .then(|| Self { uri: request.uri().clone(), headers: request.headers().clone() })
    }

    /// Whether it is the address of the proxy alone that somebody has typed: Alyx has nothing for people there.
    pub(crate) fn is_at_the_door(&self) -> bool {
        self.uri.path() == "/" && self.uri.query().is_none()
    }

    /// The way to the first of the proxy's own pages.
    pub(crate) fn shown_in() -> Response<Body> {
        super::to("/-/status")
    }

    /// The response as it is; a page where the proxy refuses it for want of Alyx; the way to where it is given, where it is a
    /// page of Alyx's own: to `place`, or to Alyx itself.
    pub(crate) async fn shown(
        self,
        admin: &Arc<AdminSite>,
        response: Response<Body>,
        place: Option<String>,
    ) -> Response<Body> {
        if response_fields::is_page(response.headers()) && !response.status().is_redirection() {
            return self.way_to_alyx(admin, place);
        }
        let refused = matches!(
            response.extensions().get(),
            Some(CacheStatus::Refused(RefusalReason::Offline | RefusalReason::Upstream(_)))
        );
        if !refused || response.status().as_u16() < 500 {
            return response;
        }
        let (head, body) = response.into_parts();
        let Ok(body) = to_bytes(body, LONGEST).await else {
            return Response::from_parts(head, Body::empty());
        };
        let detail = serde_json::from_slice::<serde_json::Value>(&body).unwrap_or_default();
        let Some(text) = detail["detail"].as_str() else { return Response::from_parts(head, body.into()) };
        let session = admin.sessions.any(&self.headers);
        let frame = Frame::of(&admin.core, session.as_deref(), "", "This page can't be had now");
        let status = head.status.as_u16();
        let mut page = page(&RefusedPage { frame, text, path: self.uri.path() }, status);
        for (name, value) in &head.headers {
            if ![header::CONTENT_TYPE, header::CONTENT_LENGTH, header::CONTENT_SECURITY_POLICY].contains(name)
            {
                page.headers_mut().insert(name.clone(), value.clone());
            }
        }
        *page.extensions_mut() = head.extensions;
        page
    }

    fn way_to_alyx(&self, admin: &Arc<AdminSite>, place: Option<String>) -> Response<Body> {
        if let Some(place) = place {
            return super::to(&place);
        }
        let path_and_query = self.uri.path_and_query().map_or("/", PathAndQuery::as_str);
        let place = format!("{}{path_and_query}", admin.core.upstream.base());
        let session = admin.sessions.any(&self.headers);
        let frame = Frame::of(&admin.core, session.as_deref(), "", "A page of Alyx itself");
        page(&AlyxPage { frame, place: &place }, 200)
    }
}
