//! By which name a request calls this proxy, and what that allows ([`hosts`]): under a name that is not known nothing is given
//! without credentials, as whoever made that name may be a page on the web.

use std::{net::IpAddr, sync::Arc};

use axum::body::Body;
use http::{Request, StatusCode};

use super::App;
use crate::{
    alyx::{Route, Service, query_string, route::classify},
    auth::{Credentials, credentials},
    http::{forwarded, hosts},
    proxy::error::ProxyError,
    settings::Settings,
};

/// Own paths that show nothing of what is here.
const OPEN: [&str; 4] = ["/-/health", "/-/ready", "/-/one-setup.py", "/-/one-setup.json"];

/// The settings under which a request is answered that came by this name, or its refusal.
pub(super) fn settings_for(
    app: &App,
    peer: IpAddr,
    request: &Request<Body>,
    own: bool,
) -> Result<Arc<Settings>, ProxyError> {
    let settings = app.core.settings.load_full();
    let host = forwarded::host(request.uri(), request.headers(), peer, &settings.server)
        .map_err(|error| ProxyError::refused(StatusCode::BAD_REQUEST, &error.to_string()))?;
    // What says no name is no browser.
    let Some(host) = host else { return Ok(settings) };
    let path = request.uri().path();
    let exempt = OPEN.contains(&path) || !own && (!settings.access.anonymous || is_log_in(path));
    if exempt || hosts::is_known(host, &app.machine, &settings.server) {
        return Ok(settings);
    }
    let unknown = || {
        let text = format!(
            "This proxy is not known by the name `{host}`, and gives nothing without a token under it. If that is a name of \
             its own, add it to the setting `server.hosts` (or set `server.public_url`)."
        );
        ProxyError::refused(StatusCode::MISDIRECTED_REQUEST, &text)
    };
    let token = match credentials(request.headers(), &app.core.key) {
        Credentials::Token { hash, .. } => hash,
        // Only Alyx answers what comes with its cookies.
        Credentials::Foreign if !own => return Ok(settings),
        // Asked for the administrator's token, it gives nothing without.
        _ if path.starts_with("/-/api/") || app.admin.has_token(request.headers(), peer) => {
            return Ok(settings);
        }
        _ => return Err(unknown()),
    };
    if app.core.tokens.counts_until(&token, &settings.access).is_some() {
        return Ok(settings);
    }
    // Any page can make up a token: only Alyx can say what this one is worth.
    if own || app.core.mode.snapshot().is_some() {
        return Err(unknown());
    }
    let mut closed = (*settings).clone();
    closed.access.anonymous = false;
    Ok(Arc::new(closed))
}

fn is_log_in(path: &str) -> bool {
    let segments = query_string::segments(path);
    classify(&segments.iter().map(String::as_str).collect::<Vec<_>>()) == Route::Service(Service::AuthToken)
}
