//! The proxy's own paths, below `/-/`: whether it lives, whether it is ready, what it is doing.

use std::{net::IpAddr, sync::Arc};

use axum::body::Body;
use http::{HeaderValue, Request, Response, header};
use serde_json::json;

use super::{Proxy, asked, control, load, pages, refusal};
use crate::{
    clock,
    http::{cache_status::CacheStatus, forwarded},
    telemetry::metrics::recorder,
};

/// Answers a request for one of the proxy's own paths.
pub(super) async fn answer(proxy: &Arc<Proxy>, peer: IpAddr, request: Request<Body>) -> Response<Body> {
    let path = request.uri().path();
    if let Some(action) = path.strip_prefix("/-/api/").map(str::to_owned) {
        return control::answer(proxy, peer, &action, request).await;
    }
    if let (Some(miniature), Some(wish)) = (proxy.demo.get(), path.strip_prefix("/-/demo/")) {
        return network(proxy, miniature, wish).await;
    }
    match path {
        "/-/health" => text("ok\n", "text/plain; charset=utf-8"),
        "/-/ready" => text("ready\n", "text/plain; charset=utf-8"),
        "/-/metrics" => {
            proxy.set_gauges().await;
            text(&recorder().render(), "text/plain; version=0.0.4; charset=utf-8")
        }
        "/-/asked" => asked::answer(proxy, request.uri(), request.headers()).await,
        // These ask Alyx, or have passwords tried, for anybody: they count as other requests do.
        path if path.starts_with("/-/explore") || path.starts_with("/-/login") => {
            let settings = proxy.settings.load_full();
            let client = forwarded::client(request.headers(), peer, &settings.server);
            match proxy.place(client, &settings.server) {
                Ok(place) => load::hold(page(proxy, peer, request).await, place),
                Err(refusal) => *refusal,
            }
        }
        _ => page(proxy, peer, request).await,
    }
}

async fn page(proxy: &Arc<Proxy>, peer: IpAddr, request: Request<Body>) -> Response<Body> {
    pages::answer(proxy, peer, request).await.unwrap_or_else(|| refusal::plain(404, NO_PAGE))
}

const NO_PAGE: &str = "The proxy has no such page. It has /-/status, /-/explore, /-/mirror, /-/answers, /-/docs, \
                       /-/health, /-/ready and /-/metrics; pages are JSON too, with .json behind the name.";

/// The demo's switch: cuts or restores the network between the proxy and its miniature Alyx, and
/// answers when the proxy has noticed.
async fn network(proxy: &Proxy, miniature: &crate::demo::Miniature, wish: &str) -> Response<Body> {
    let offline = match wish {
        "offline" => true,
        "online" => false,
        _ => return refusal::plain(404, "The demo knows /-/demo/offline and /-/demo/online."),
    };
    if offline {
        // The demo promises that anything can be asked then.
        if let Some(synchroniser) = proxy.synchroniser() {
            synchroniser.idle().await;
        }
        miniature.cut();
    } else if let Err(error) = miniature.restore().await {
        return refusal::plain(500, &format!("The miniature Alyx can't listen again: {error}"));
    }
    let noticed = proxy.upstream.health.look_until(offline);
    let limit = proxy.settings.load().health.timeout.0;
    if tokio::time::timeout(limit, noticed).await.is_err() {
        return refusal::plain(500, "The proxy has not noticed the change of the network in time.");
    }
    let network = if offline { "cut" } else { "whole" };
    text(&format!("{}\n", json!({ "network": network })), "application/json")
}

pub(super) fn text(body: &str, media_type: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(body.to_owned()));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    CacheStatus::Internal.mark(&mut response);
    response
}

impl Proxy {
    /// What the proxy is doing, for programs and for `alyx-proxy status`.
    pub(super) fn status(&self) -> serde_json::Value {
        let state = self.upstream.health.state();
        let stored = self.responses.stored();
        let answers: serde_json::Map<String, serde_json::Value> = self
            .counters
            .by_name()
            .into_iter()
            .map(|(name, count)| (name.to_owned(), count.into()))
            .collect();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "uptime_seconds": (clock::now() - self.started_at).max(0) / 1000,
            "listen": self.bound.get().map(ToString::to_string),
            "upstream": {
                "url": self.upstream.base(),
                "state": state.name(),
                "since": state.since().map(clock::for_machines),
                "reason": state.reason(),
                "on_purpose": state.is_on_purpose(),
            },
            "snapshot": self.frozen().map(|frozen| json!({
                "name": frozen.manifest().name,
                "as_of": clock::for_machines(frozen.as_of()),
            })),
            "answers": answers,
            "stored": { "responses": stored.responses, "bytes": stored.bytes, "limit": stored.limit },
            "mirror": self.mirror_status(),
            "activity": self.activity_status(),
            "tokens": self.tokens.len(),
            "trouble": self.store.trouble().map(|trouble| trouble.for_machines()),
            "set_aside": self.set_aside().map(|path| path.display().to_string()),
        })
    }

    /// Adds the notice that Alyx is away.
    pub(super) fn add_notice(&self, response: &mut Response<Body>) {
        if let Some(notice) = self.notice_away() {
            response.headers_mut().insert(refusal::NOTICE, notice);
        }
    }
}

/// The last word on a panic: an error in Alyx's shape instead of a broken connection.
pub(super) fn after_panic(_: Box<dyn std::any::Any + Send + 'static>) -> Response<Body> {
    let body = crate::alyx::errors::detail(500, "The proxy failed on this request; its log says more.");
    refusal::json(500, body, CacheStatus::Refused("panic"))
}
