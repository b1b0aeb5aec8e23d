//! Alyx's own pages (HTML), which have no place on the origin of the proxy's: their scripts could do there what a visitor
//! can. They are given at an address of their own (`server.alyx_pages_listen`), or a browser is shown the way to Alyx.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use axum::body::Body;
use http::{HeaderMap, Request, Response, StatusCode, Uri, uri::PathAndQuery};

use super::{App, called, data_view::AskedBelow, serve::serve};
use crate::{
    alyx::query_string, http::response_fields, proxy::error::ProxyError, server::listener::RequestHandler,
    settings::Settings,
};

/// Where Alyx keeps what users have uploaded: never a page of its own.
const UPLOADS: [&str; 2] = ["media", "uploaded"];

/// The proxy as it is seen at the address of Alyx's pages: all of Alyx, and nothing of the proxy's own.
#[derive(Debug, Clone)]
pub(super) struct AlyxPages(pub(super) Arc<App>);

/// Marks a request that came to that address.
#[derive(Debug, Clone, Copy)]
pub(super) struct ToAlyxPages;

impl RequestHandler for AlyxPages {
    fn has_interim_responses(&self) -> bool {
        false
    }

    fn serve(
        &self,
        peer: SocketAddr,
        mut request: Request<Body>,
    ) -> impl Future<Output = Response<Body>> + Send + 'static {
        request.extensions_mut().insert(ToAlyxPages);
        serve(self.0.clone(), peer, request)
    }
}

/// The settings under which a request is answered, or its refusal: at that address there is nothing of the proxy's own, and
/// it has a base URL of its own.
pub(super) fn settings_for(
    app: &App,
    peer: IpAddr,
    request: &Request<Body>,
    own: bool,
    on_alyx_pages: bool,
) -> Result<Arc<Settings>, ProxyError> {
    let settings = called::settings_for(app, peer, request, own)?;
    if !on_alyx_pages {
        let below = request.extensions().get::<AskedBelow>();
        return Ok(below.map_or_else(|| settings.clone(), |below| below.settings(&settings)));
    }
    if own {
        let text = "Alyx's own pages are at this address; those of the proxy are at `server.listen`.";
        return Err(ProxyError::refused(StatusCode::NOT_FOUND, text));
    }
    let mut there = (*settings).clone();
    there.server.public_url.clone_from(&there.server.alyx_pages_url);
    Ok(Arc::new(there))
}

/// Has a body of Alyx's do nothing in a browser, unless it is a page of Alyx's at the address of those.
pub(super) fn guard(headers: &mut HeaderMap, path: &str, on_alyx_pages: bool) {
    if on_alyx_pages && response_fields::is_page(headers) && !is_upload(path) {
        response_fields::forbid_sniffing(headers);
    } else {
        response_fields::disarm(headers);
    }
}

/// Web servers make one slash of several, and some file systems one case of two.
fn is_upload(path: &str) -> bool {
    let segments = query_string::segments(path);
    let first = segments.iter().find(|segment| !segment.is_empty());
    first.is_some_and(|first| {
        let first = first.to_ascii_lowercase();
        UPLOADS.iter().any(|uploads| first == *uploads || first.starts_with(&format!("{uploads}/")))
    })
}

/// Where a page is at that address, for who asks for it below `base`; none where there is no such address.
pub(super) fn place(app: &App, base: &str, settings: &Settings, uri: &Uri) -> Option<String> {
    let listening = app.admin.alyx_pages.get()?;
    let path_and_query = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    if !settings.server.alyx_pages_url.is_empty() {
        return Some(format!("{}{path_and_query}", settings.server.alyx_pages_url));
    }
    let mut url = url::Url::parse(base).ok()?;
    url.set_port(Some(listening.port())).ok()?;
    Some(format!("{}{path_and_query}", url.origin().ascii_serialization()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_is_no_page_however_its_path_is_spelt() {
        for path in
            ["/media/a.html", "//media/a", "/%6dedia/a", "/Media/a", "/uploaded/x", "/media%2fx", "/media"]
        {
            assert!(is_upload(path), "{path}");
        }
        for path in ["/admin/media", "/", "/mediation", "/sessions"] {
            assert!(!is_upload(path), "{path}");
        }
    }
}
