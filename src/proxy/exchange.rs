//! A request as the floors see it.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use axum::body::Body;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header};

use super::{core::Core, error::ProxyError};
use crate::{
    alyx::{Route, query_string, route::classify},
    http::forwarded,
    settings::{ServerSettings, Settings},
};

/// No request has more parameters. ONE sends a handful; a list of values is one parameter.
const MOST_PARAMETERS: usize = 1000;

/// A request without its body, and what is known of it before it is answered.
#[derive(Debug, Clone)]
pub(crate) struct Exchange {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    /// What it addresses.
    pub(crate) route: Route,
    /// The base URL under which its client knows this proxy.
    pub(crate) base: String,
    /// The address of its client.
    pub(crate) client: IpAddr,
    /// The settings as they were when it came.
    pub(crate) settings: Arc<Settings>,
}

/// Refuses an address that is longer than may be, or has too many parameters.
pub(crate) fn within_limits(uri: &Uri, settings: &ServerSettings) -> Result<(), ProxyError> {
    let length = uri.path_and_query().map_or(0, |both| both.as_str().len());
    if length > settings.max_url.bytes() {
        return Err(ProxyError::refused(
            StatusCode::URI_TOO_LONG,
            "The path and query of this request are longer than `server.max_url` allows.",
        ));
    }
    let parameters = uri.query().map_or(0, |query| query.split('&').count());
    if parameters > MOST_PARAMETERS {
        let text =
            format!("This request has {parameters} parameters; no more than {MOST_PARAMETERS} are read.");
        return Err(ProxyError::refused(StatusCode::URI_TOO_LONG, &text));
    }
    Ok(())
}

/// Reads what a request addresses under these settings, or refuses it.
pub(crate) fn ask(
    core: &Core,
    knows_alyx: bool,
    peer: SocketAddr,
    request: Request<Body>,
    settings: Arc<Settings>,
) -> Result<(Exchange, Body), ProxyError> {
    let (parts, body) = request.into_parts();
    if !parts.uri.path().starts_with('/') {
        let text = format!("The target of this request, {}, is no path.", parts.uri);
        return Err(ProxyError::refused(StatusCode::BAD_REQUEST, &text));
    }
    if knows_alyx && !query_string::is_unambiguous(parts.uri.path()) {
        let text = "The path of this request has segments `.` or `..`, or a backslash: write out the path that is meant.";
        return Err(ProxyError::refused(StatusCode::BAD_REQUEST, text));
    }
    if parts.method == Method::CONNECT {
        // Of a target that is a path, HTTP libraries would make one that is a host.
        let text = "Method \"CONNECT\" not allowed: no tunnel begins here.";
        let allowed = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
        return Err(ProxyError::refused(StatusCode::METHOD_NOT_ALLOWED, text).header(header::ALLOW, allowed));
    }
    within_limits(&parts.uri, &settings.server)?;
    let base = forwarded::of(&parts, peer.ip(), &settings.server)
        .map_err(|error| ProxyError::refused(StatusCode::BAD_REQUEST, &error.to_string()))?;
    let client = forwarded::client(&parts.headers, peer.ip(), &settings.server);
    core.activity.client(client, &parts.headers);
    let segments = query_string::segments(parts.uri.path());
    let route = classify(&segments.iter().map(String::as_str).collect::<Vec<_>>());
    let (method, uri, headers) = (parts.method, parts.uri, parts.headers);
    Ok((Exchange { method, uri, headers, route, base, client, settings }, body))
}
