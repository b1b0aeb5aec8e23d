//! The proxy's own paths, below `/-/`: whether it lives, whether it is ready, what it is doing.

use std::{
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::{Arc, OnceLock},
};

use axum::body::Body;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use serde_json::json;

use super::{acts::Act, api, history, pages};
use crate::{
    auth::{self, credentials},
    clock::{self, Millis},
    http::{cache_status::CacheStatus, cross_site, forwarded, response_fields},
    proxy::{
        core::Core,
        error::ProxyError,
        floors::Floors,
        in_flight::{self, Standing},
        mode::Mode,
    },
    server::Tls,
    telemetry::metrics::recorder,
};

/// The proxy's own site: its state, and what it can see and do.
#[derive(Debug)]
pub(crate) struct AdminSite {
    pub(crate) core: Arc<Core>,
    pub(crate) floors: Arc<Floors>,
    pub(crate) load: Arc<in_flight::InFlightLimit>,
    /// The administrator's token.
    pub(crate) token: auth::AdminToken,
    /// Browsers that are logged in to its pages.
    pub(crate) sessions: pages::Sessions,
    pub(crate) started_at: Millis,
    /// Where the proxy listens, once it does: the settings may leave the choice of the port to the system.
    pub(crate) listening: OnceLock<SocketAddr>,
    /// Where it gives Alyx's own pages, if it does.
    pub(crate) alyx_pages: OnceLock<SocketAddr>,
    /// The certificate that it shows, once it listens with one.
    pub(crate) certificate: OnceLock<Arc<Tls>>,
}

impl AdminSite {
    pub(crate) fn new(
        core: Arc<Core>,
        floors: Arc<Floors>,
        load: Arc<in_flight::InFlightLimit>,
        token: auth::AdminToken,
    ) -> Self {
        let (sessions, started_at) = (pages::Sessions::new(core.clock.clone()), core.clock.now());
        Self {
            core,
            floors,
            load,
            token,
            sessions,
            started_at,
            listening: OnceLock::new(),
            alyx_pages: OnceLock::new(),
            certificate: OnceLock::new(),
        }
    }
}

/// Answers a request for one of the proxy's own paths, and notes what it had done.
pub(crate) async fn answer(admin: &Arc<AdminSite>, peer: IpAddr, request: Request<Body>) -> Response<Body> {
    let act = Act::of(admin, peer, &request);
    let response = answer_own(admin, peer, request).await;
    if let Some(act) = act {
        act.note(admin, &response);
    }
    response
}

async fn answer_own(admin: &Arc<AdminSite>, peer: IpAddr, request: Request<Body>) -> Response<Body> {
    if !matches!(*request.method(), Method::GET | Method::HEAD | Method::POST) {
        let text = "The proxy's own pages know no such method.";
        return ProxyError::refused(StatusCode::METHOD_NOT_ALLOWED, text)
            .header(header::ALLOW, HeaderValue::from_static("GET, HEAD, POST"))
            .into();
    }
    let path = request.uri().path();
    if let Some(action) = path.strip_prefix("/-/api/").map(str::to_owned) {
        return api::answer(admin, peer, &action, request).await;
    }
    if let (Mode::Demo(miniature), Some(wish)) = (&admin.core.mode, path.strip_prefix("/-/demo/")) {
        if cross_site::is_foreign(request.headers(), "") {
            let text = "Another site's page may not do that.";
            return ProxyError::refused(StatusCode::FORBIDDEN, text).into();
        }
        return network(&admin.core, miniature, wish).await;
    }
    match path {
        "/-/health" => text_response("ok\n", "text/plain; charset=utf-8"),
        "/-/ready" => {
            // What else it can answer it answers all the same.
            let overdue = admin.core.overdue().map(|it| format!("{}\n", it.for_people())).unwrap_or_default();
            text_response(&format!("ready\n{overdue}"), "text/plain; charset=utf-8")
        }
        "/-/metrics" => {
            admin.set_gauges().await;
            text_response(&recorder().render(), "text/plain; version=0.0.4; charset=utf-8")
        }
        // These ask Alyx, have passwords tried or read much: they count as other requests do.
        path if ["/-/explore", "/-/login", "/-/history"].iter().any(|own| path.starts_with(own)) => {
            let settings = admin.core.settings.load_full();
            let client = forwarded::client(request.headers(), peer, &settings.server);
            match in_flight::place(&admin.load, client, admin.standing(&request), &settings.server) {
                Ok(place) if path == "/-/history" => {
                    let history = history::answer(&admin.core, request.uri(), request.headers()).await;
                    in_flight::hold(history, place)
                }
                Ok(place) => in_flight::hold(page(admin, peer, request).await, place),
                Err(refusal) => refusal.into(),
            }
        }
        _ => page(admin, peer, request).await,
    }
}

async fn page(admin: &Arc<AdminSite>, peer: IpAddr, request: Request<Body>) -> Response<Body> {
    pages::answer(admin, peer, request)
        .await
        .unwrap_or_else(|| ProxyError::refused(StatusCode::NOT_FOUND, NO_PAGE).into())
}

pub(super) const NO_PAGE: &str = "The proxy has no such page. It has /-/status, /-/explore, /-/mirror, /-/answers, /-/cluster, /-/audit, /-/docs, \
                       /-/one-setup.py, /-/health, /-/ready and /-/metrics; pages are JSON too, with .json behind the name.";

/// The demo's switch: cuts or restores the network between the proxy and its miniature Alyx, and
/// answers when the proxy has noticed.
async fn network(core: &Core, miniature: &crate::miniature::Miniature, wish: &str) -> Response<Body> {
    let offline = match wish {
        "offline" => true,
        "online" => false,
        _ => {
            return ProxyError::refused(
                StatusCode::NOT_FOUND,
                "The demo knows /-/demo/offline and /-/demo/online.",
            )
            .into();
        }
    };
    if offline {
        // The demo promises that anything can be asked then.
        if let Some(synchroniser) = &core.synchroniser {
            synchroniser.idle().await;
        }
        miniature.cut();
    } else if let Err(error) = miniature.restore().await {
        return ProxyError::refused(
            StatusCode::INTERNAL_SERVER_ERROR,
            &format!("The miniature Alyx can't listen again: {error}"),
        )
        .into();
    }
    let noticed = core.upstream.health.probe_until(offline);
    let limit = core.settings.load().health.timeout.0;
    if tokio::time::timeout(limit, noticed).await.is_err() {
        return ProxyError::refused(
            StatusCode::INTERNAL_SERVER_ERROR,
            "The proxy has not noticed the change of the network in time.",
        )
        .into();
    }
    let network = if offline { "cut" } else { "whole" };
    text_response(&format!("{}\n", json!({ "network": network })), "application/json")
}

/// Where a file lies; strangers are told only that there is one.
pub(super) fn file_name(path: &Path, names: bool) -> String {
    if names { path.display().to_string() } else { "a file beside the database".to_owned() }
}

pub(crate) fn text_response(body: &str, media_type: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(body.to_owned()));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response_fields::forbid_sniffing(headers);
    CacheStatus::Internal.mark(&mut response);
    response
}

impl AdminSite {
    /// Whose place a request for one of the proxy's own pages takes.
    fn standing(&self, request: &Request<Body>) -> Standing {
        let settings = self.core.settings.load();
        let token = credentials(request.headers(), &self.core.key).token();
        if request.uri().path().starts_with("/-/login") {
            Standing::LogIn
        } else if settings.access.anonymous
            || self.core.mode.snapshot().is_some()
            || self.sessions.has(request.headers())
            || token.is_some_and(|token| self.core.tokens.counts_until(&token, &settings.access).is_some())
        {
            Standing::User
        } else {
            Standing::Stranger
        }
    }

    /// Whether a request's own token says that it may see what things are called: one that Alyx has accepted, or the
    /// administrator's.
    pub(crate) fn has_token(&self, headers: &HeaderMap, client: IpAddr) -> bool {
        let access = &self.core.settings.load().access;
        let token = credentials(headers, &self.core.key).token();
        token.is_some_and(|token| self.core.tokens.counts_until(&token, access).is_some())
            || api::admit(self, headers, client).is_ok()
    }

    /// What clients will not like of the certificate that is served; strangers learn that there is something.
    pub(super) fn certificate_remarks(&self, names: bool) -> Vec<String> {
        let remarks = self.certificate.get().map(|tls| tls.remarks()).unwrap_or_default();
        let how = |remark: &String| format!("the certificate that is served: {remark}");
        if !names && !remarks.is_empty() {
            return vec!["clients may refuse the certificate that is served; log in to see why".to_owned()];
        }
        remarks.iter().map(how).collect()
    }

    /// What the proxy is doing, for programs and for `alyx-proxy status`. Strangers get no `names`: of records, labs, hosts,
    /// files.
    pub(crate) fn status(&self, names: bool) -> serde_json::Value {
        let state = self.core.upstream.health.state();
        let stored = self.core.responses.usage();
        let answers: serde_json::Map<String, serde_json::Value> = self
            .core
            .counters
            .by_name()
            .into_iter()
            .map(|(name, count)| (name.to_owned(), count.into()))
            .collect();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "uptime_seconds": (self.core.clock.now() - self.started_at).max(0) / 1000,
            "listen": self.listening.get().map(ToString::to_string),
            "alyx_pages_listen": self.alyx_pages.get().map(ToString::to_string),
            "upstream": {
                "url": names.then(|| self.core.upstream.base()),
                "state": state.name(),
                "since": state.since().map(clock::for_machines),
                "reason": state.reason().filter(|_| names),
                "forced_offline": state.is_on_purpose(),
                "hint": self.core.likely_mistake().filter(|_| names),
            },
            "snapshot": self.core.mode.snapshot().map(|snapshot| json!({
                "name": names.then(|| &snapshot.manifest().name),
                "as_of": clock::for_machines(snapshot.as_of()),
            })),
            "responses": answers,
            "cache": { "entries": stored.responses, "bytes": stored.bytes, "limit": stored.limit },
            "files": self.core.data_files.as_ref().map(|files| files.usage()),
            "cluster": self.core.cluster.as_ref().map(|cluster| cluster.view(names)),
            "mirror": self.mirror_status(names),
            "activity": self.activity_status(names),
            "tokens": self.core.tokens.len(),
            "certificate_remarks": self.certificate_remarks(names),
            "degraded": self.core.store.degradation().map(|trouble| trouble.for_machines()),
            "quarantined_file": self.core.store.set_aside().map(|path| file_name(&path, names)),
        })
    }
}
