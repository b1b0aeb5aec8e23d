//! `/-/api/`: what an administrator can have the proxy do.
//!
//! ```text
//! POST /-/api/purge    {"all": true} | {"endpoint": "sessions"} | {"prefix": "/sessions/"} | {"question": "/sessions?lab=x"}
//! POST /-/api/sync     {"endpoints": ["sessions"], "wait": true}    all that are kept, if none is named
//! POST /-/api/verify   {}                             compares answers of the mirror with Alyx's, now
//! POST /-/api/offline  {}                             keeps away from Alyx
//! POST /-/api/online   {}                             asks Alyx again
//! POST /-/api/export   {"name": "paper", "choice": {"lab": "x"}}      answers with a snapshot
//! POST /-/api/import   a snapshot, as `application/zstd`
//! ```
//!
//! Each asks for `Authorization: Bearer` with the administrator's token. No browser sends that header, nor JSON, of its
//! own accord for another site's page, and no answer here allows other sites anything (CORS); what a browser says
//! of the page that asks is looked at besides ([`cross_site`](crate::http::cross_site)).

mod actions;
mod snapshot;

use std::{net::IpAddr, sync::Arc};

use axum::body::Body;
use http::{HeaderMap, HeaderValue, Method, Request, Response, header};
use serde_json::Value;

use super::router::AdminSite;
use crate::{
    http::{cache_status::CacheStatus, cross_site::is_foreign, forwarded},
    proxy::refusal,
};
pub(crate) use actions::ActionError;

/// No wish is longer.
const MAX_BODY: usize = 64 << 10;

/// Answers a request for a path below `/-/api/`.
pub(crate) async fn answer(
    admin: &Arc<AdminSite>,
    peer: IpAddr,
    action: &str,
    request: Request<Body>,
) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let settings = admin.core.settings.load_full();
    let base = forwarded::of(&parts, peer, &settings.server).unwrap_or_default();
    if is_foreign(&parts.headers, &base) {
        return refusal::plain(403, "Pages of other sites can't control this proxy.");
    }
    if !is_admin(admin, &parts.headers) {
        let text = "This needs `Authorization: Bearer` and the administrator's token: the setting \
                    `access.admin_token`, or the file `admin-token` in the proxy's data directory.";
        let mut response = refusal::plain(401, text);
        response
            .headers_mut()
            .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"alyx-proxy\""));
        return response;
    }
    if parts.method != Method::POST {
        let mut response = refusal::plain(405, "What controls the proxy is sent by POST.");
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
        return response;
    }
    if action == "import" {
        return snapshot::import(&admin.floors, &parts.headers, body).await;
    }
    let json = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if json.is_none_or(|value| !value.to_ascii_lowercase().starts_with("application/json")) {
        return refusal::plain(415, "A wish is JSON: `Content-Type: application/json`.");
    }
    let timeout = admin.core.settings.load().server.client_timeout.0;
    let body = match crate::proxy::in_flight::whole(body, "A wish", MAX_BODY, timeout).await {
        Ok(body) => body,
        Err(refusal) => return *refusal,
    };
    let wish = match serde_json::from_slice::<Value>(&body) {
        Ok(wish @ Value::Object(_)) => wish,
        Ok(_) => return refusal::plain(400, "A wish is a JSON object, `{}` where there is nothing to say."),
        Err(error) => return refusal::plain(400, &format!("The wish is not JSON: {error}.")),
    };
    let done = if action == "export" {
        snapshot::export(&admin.floors, wish).await
    } else {
        admin
            .execute(action, wish)
            .await
            .map(|done| refusal::json(200, format!("{done}\n"), CacheStatus::Internal))
    };
    match done {
        Ok(response) => response,
        Err(ActionError { status, why }) => refusal::plain(status, &why),
    }
}

/// Whether a request carries the administrator's token.
pub(crate) fn is_admin(admin: &AdminSite, headers: &HeaderMap) -> bool {
    let field = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    field
        .and_then(|field| field.split_once(' '))
        .is_some_and(|(scheme, token)| scheme.eq_ignore_ascii_case("bearer") && admin.token.is(token.trim()))
}
