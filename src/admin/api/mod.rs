//! `/-/api/`: what an administrator can have the proxy do.
//!
//! ```text
//! POST /-/api/purge    {"all": true} | {"endpoint": "sessions"} | {"prefix": "/sessions/"} | {"question": "/sessions?lab=x"}
//! POST /-/api/sync     {"endpoints": ["sessions"], "wait": true}    all that are kept, if none is named
//! POST /-/api/verify   {}                             compares answers of the mirror with Alyx's, now
//! POST /-/api/offline  {}                             keeps away from Alyx
//! POST /-/api/online   {}                             asks Alyx again
//! POST /-/api/export   {"name": "paper", "choice": {"lab": "x"}}      answers with a snapshot
//! POST /-/api/import   a snapshot, as `application/zstd`; ?trust=NAME, ?once or ?unsigned, where it is of somebody unknown
//! ```
//!
//! Each asks for `Authorization: Bearer` with the administrator's token. No browser sends that header, nor JSON, of its
//! own accord for another site's page, and no answer here allows other sites anything (CORS); what a browser says
//! of the page that asks is looked at besides ([`cross_site`](crate::http::cross_site)).

mod actions;
mod snapshot;

use std::{net::IpAddr, sync::Arc};

use axum::body::Body;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use serde_json::Value;

use super::router::AdminSite;
use crate::{
    auth::Admission,
    http::{
        cache_status::{CacheStatus, RefusalReason},
        cross_site::is_foreign,
        forwarded,
    },
    proxy::error::{self, ProxyError},
    telemetry::audit::{AuditEntry, AuditStream},
    upstream::seconds,
};
pub(crate) use actions::ActionError;

/// Maximum size of the body of an action.
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
        return ProxyError::refused(StatusCode::FORBIDDEN, "Pages of other sites can't control this proxy.")
            .into();
    }
    let client = forwarded::client(&parts.headers, peer, &settings.server);
    if let Err(refusal) = admit(admin, &parts.headers, client) {
        return refusal.into();
    }
    if parts.method != Method::POST {
        return ProxyError::refused(
            StatusCode::METHOD_NOT_ALLOWED,
            "What controls the proxy is sent by POST.",
        )
        .header(header::ALLOW, HeaderValue::from_static("POST"))
        .into();
    }
    if action == "import" {
        return snapshot::import(&admin.floors, &parts, body, client).await;
    }
    let request = match read_request(admin, &parts.headers, body).await {
        Ok(request) => request,
        Err(error) => return error.into(),
    };
    let details = actions::details(action, &request);
    let done = if action == "export" {
        snapshot::export(&admin.floors, request, client).await
    } else {
        admin
            .execute(action, request)
            .await
            .map(|done| error::json(StatusCode::OK, format!("{done}\n"), CacheStatus::Internal))
    };
    match done {
        Ok(mut response) => {
            response.extensions_mut().insert(details);
            response
        }
        Err(ActionError { status, why }) => {
            let mut response: Response<Body> = ProxyError::refused(status, &why).into();
            response.extensions_mut().insert(details);
            response
        }
    }
}

/// The body of an action: a JSON object.
async fn read_request(admin: &AdminSite, headers: &HeaderMap, body: Body) -> Result<Value, ProxyError> {
    let json = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if json.is_none_or(|value| !value.to_ascii_lowercase().starts_with("application/json")) {
        return Err(ProxyError::refused(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "An action is sent as JSON: `Content-Type: application/json`.",
        ));
    }
    let timeout = admin.core.settings.load().server.client_timeout.0;
    let body = crate::proxy::in_flight::whole(body, "An action", MAX_BODY, timeout).await?;
    match serde_json::from_slice::<Value>(&body) {
        Ok(request @ Value::Object(_)) => Ok(request),
        Ok(_) => Err(ProxyError::refused(
            StatusCode::BAD_REQUEST,
            "The body of an action is a JSON object, `{}` where there is nothing to say.",
        )),
        Err(error) => Err(ProxyError::refused(
            StatusCode::BAD_REQUEST,
            &format!("The body of this action is not JSON: {error}."),
        )),
    }
}

/// Whether a request carries the administrator's token.
pub(super) fn admit(admin: &AdminSite, headers: &HeaderMap, client: IpAddr) -> Result<(), ProxyError> {
    let field = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = field.and_then(|field| field.split_once(' '));
    let token = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let admission = match token {
        Some((_, token)) => admin.token.admit(token.trim(), client, &admin.core.settings.load().access),
        None => Admission::Refused,
    };
    match admission {
        Admission::Granted => Ok(()),
        Admission::Refused => {
            if token.is_some() {
                let entry = AuditEntry::new(AuditStream::Refusals, "token", "refused").from(client);
                admin.core.audit.note(entry.plain("of", "administrator"));
            }
            let text = "This needs `Authorization: Bearer` and the administrator's token: the setting \
                        `access.admin_token`, or the file `admin-token` in the proxy's data directory.";
            let field = HeaderValue::from_static("Bearer realm=\"alyx-proxy\"");
            Err(ProxyError::refused(StatusCode::UNAUTHORIZED, text).header(header::WWW_AUTHENTICATE, field))
        }
        Admission::Wait(wait) => {
            let text = "Too many wrong tokens came from this address: one is looked at a second.";
            let after = HeaderValue::from(seconds(wait));
            Err(ProxyError::new(StatusCode::TOO_MANY_REQUESTS, RefusalReason::LogIn, text)
                .header(header::RETRY_AFTER, after))
        }
    }
}
