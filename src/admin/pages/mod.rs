//! The pages under `/-/`: what the proxy is doing, what it holds and can answer, and Alyx's records to look through.
//!
//! Made on the server from templates; one style sheet, one small script, nothing from outside. Each page is JSON too,
//! at the same address with `.json`. Nothing of Alyx's data is shown without a log-in, no button does anything
//! without the administrator's token.

mod admin;
mod answers;
mod audit;
mod book;
mod chart;
mod cluster;
mod data_files;
mod explore;
mod frame;
mod login;
mod mirror;
mod refused;
mod session;
mod status;

use std::{net::IpAddr, sync::Arc};

use axum::body::Body;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};

pub(crate) use refused::Looker;
pub(crate) use session::Sessions;

use super::router::{AdminSite, text_response};
use crate::{
    http::{cache_status::CacheStatus, cross_site::is_foreign, forwarded},
    proxy::error::{self, ProxyError},
    settings::Settings,
};
use session::Session;

const STYLE: &str = include_str!("../../../templates/style.css");
const ICON: &str = include_str!("../../../templates/icon.svg");
const SCRIPT: &str = include_str!("../../../templates/app.js");

/// No form is larger.
const MAX_FORM: usize = 64 << 10;

/// Somebody who looks at a page.
struct Visit {
    admin: Arc<AdminSite>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    /// The base URL under which the browser knows this proxy.
    base: String,
    client: IpAddr,
    settings: Arc<Settings>,
    /// Who it is, where somebody has logged in.
    session: Option<Arc<Session>>,
}

/// Answers a request for a page; none where there is no such page.
pub(crate) async fn answer(
    admin: &Arc<AdminSite>,
    peer: IpAddr,
    request: Request<Body>,
) -> Option<Response<Body>> {
    let (parts, body) = request.into_parts();
    let settings = admin.core.settings.load_full();
    let base = match forwarded::of(&parts, peer, &settings.server) {
        Ok(base) => base,
        Err(error) => return Some(ProxyError::refused(StatusCode::BAD_REQUEST, &error.to_string()).into()),
    };
    let client = forwarded::client(&parts.headers, peer, &settings.server);
    let session = admin.sessions.of(&parts.headers, base.starts_with("https://"));
    let (method, uri, headers) = (parts.method, parts.uri, parts.headers);
    let visit = Visit { admin: admin.clone(), method, uri, headers, base, client, settings, session };
    let path = visit.uri.path().trim_start_matches("/-").trim_matches('/').to_owned();
    if matches!(visit.method, Method::GET | Method::HEAD) {
        return visit.show(&path).await;
    }
    if visit.method != Method::POST {
        return Some(
            ProxyError::refused(
                StatusCode::METHOD_NOT_ALLOWED,
                "The proxy's own pages are read by GET, and their forms sent by POST.",
            )
            .into(),
        );
    }
    if is_foreign(&visit.headers, &visit.base) {
        return Some(
            ProxyError::refused(StatusCode::FORBIDDEN, "Forms of other sites are not taken.").into(),
        );
    }
    let timeout = visit.admin.core.settings.load().server.client_timeout.0;
    let body = match crate::proxy::in_flight::whole(body, "A form", MAX_FORM, timeout).await {
        Ok(body) => body,
        Err(refusal) => return Some(refusal.into()),
    };
    let form: Vec<(String, String)> = form_urlencoded::parse(&body).into_owned().collect();
    visit.take(&path, &form).await
}

impl Visit {
    async fn show(&self, path: &str) -> Option<Response<Body>> {
        if let Some(rest) = path.strip_prefix("explore")
            && (rest.is_empty() || rest.starts_with('/') || rest == ".json")
        {
            return Some(self.explore(rest.trim_start_matches('/')).await);
        }
        if let Some(rest) = path.strip_prefix("docs")
            && (rest.is_empty() || rest.starts_with('/'))
        {
            return self.book(rest.trim_matches('/'));
        }
        Some(match path {
            "" => to("/-/status"),
            "status" => self.status_page(),
            "status.json" => {
                text_response(&format!("{:#}\n", self.admin.status(self.counts())), "application/json")
            }
            "mirror" => self.mirror_page(""),
            "mirror.json" => text_response(&format!("{:#}\n", self.mirror_json()), "application/json"),
            "answers" => self.answers_page(),
            "answers.json" => text_response(&self.admin.answers_json(), "application/json"),
            "files" => self.files_page().await,
            "files.json" => self.files_json().await,
            "cluster" => self.cluster_page(),
            "cluster.json" => self.cluster_json(),
            "audit" => self.audit_page().await,
            "audit.json" => self.audit_json().await,
            "one-setup.json" => {
                let data = self.admin.core.data_files.as_ref();
                let data = data.map(|files| serde_json::json!({ "origin": files.base() }));
                let upstream = serde_json::json!({ "url": self.admin.core.upstream.base() });
                let behind = serde_json::json!({ "upstream": upstream, "data": data });
                text_response(&format!("{behind:#}\n"), "application/json")
            }
            "one-setup.py" => text_response(&crate::one::script(&self.base), "text/plain; charset=utf-8"),
            "login" => self.login_page("", 200),
            "admin" => self.admin_page("", 200),
            "style.css" => text_response(STYLE, "text/css; charset=utf-8"),
            "icon.svg" => text_response(ICON, "image/svg+xml"),
            "app.js" => text_response(SCRIPT, "text/javascript; charset=utf-8"),
            _ => {
                const PAGES: [&str; 9] =
                    ["status", "explore", "mirror", "answers", "files", "docs", "audit", "admin", "cluster"];
                let meant = crate::spelling::nearest(path, PAGES);
                let meant = meant.map(|page| format!("Did you mean /-/{page}? ")).unwrap_or_default();
                return Some(self.no_page(&format!("{meant}{}", super::router::NO_PAGE)));
            }
        })
    }

    /// A form has been sent.
    async fn take(&self, path: &str, form: &[(String, String)]) -> Option<Response<Body>> {
        Some(match path {
            "login" => self.log_in(form).await,
            "logout" => self.log_out(form),
            "admin" => self.become_admin(form),
            "mirror" => self.mirror_action(form),
            _ => return None,
        })
    }
}

/// The value of a form's field.
fn field<'f>(form: &'f [(String, String)], name: &str) -> &'f str {
    form.iter().find(|(field, _)| field == name).map_or("", |(_, value)| value.as_str())
}

/// Sends the browser to another page of ours.
fn to(place: &str) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = http::StatusCode::SEE_OTHER;
    let place = HeaderValue::try_from(place).unwrap_or_else(|_| HeaderValue::from_static("/-/status"));
    response.headers_mut().insert(header::LOCATION, place);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    CacheStatus::Internal.mark(&mut response);
    response
}
