//! The floors without a socket: what they decide, and that an explanation says the same.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};

use super::{
    Exchange, Mode,
    core::Core,
    exchange::ask,
    floors::{Decision, Floors, LocalAnswer, decide},
    read::{Read, question},
};
use crate::{
    auth::{SecretKey, credentials},
    clock::{self, SystemClock},
    http::cache_status::{BypassReason, ServedStale},
    settings::Settings,
    upstream::UpstreamResponse,
};

const KNOWN: &str = "Token 1111111111111111111111111111111111111111";
const UNKNOWN: &str = "Token 2222222222222222222222222222222222222222";
const RECORD: &str = "/subjects/KS004";
const MINUTE: i64 = 60_000;

async fn open(folder: &std::path::Path) -> Arc<Floors> {
    let mut settings = Settings::default();
    settings.storage.data_dir = folder.to_owned();
    // Nobody is asked: nothing is carried out here.
    "http://127.0.0.1:9".clone_into(&mut settings.upstream.url);
    crate::data_dir::make_private(folder).unwrap();
    let key = SecretKey::of(folder).unwrap();
    let core = Core::open(settings, Mode::Live, key, Arc::new(SystemClock)).await.unwrap();
    Floors::open(core).await.unwrap()
}

fn exchange(floors: &Floors, token: &str, field: Option<(&'static str, &'static str)>) -> Exchange {
    let mut request = Request::get(RECORD).header(header::HOST, "lab").header(header::AUTHORIZATION, token);
    if let Some((name, value)) = field {
        request = request.header(name, value);
    }
    let peer = "127.0.0.1:1000".parse().unwrap();
    let settings = floors.core.settings.load_full();
    ask(&floors.core, true, peer, request.body(Body::empty()).unwrap(), settings).unwrap().0
}

/// Has Alyx said this so long ago, to someone whose token it accepts.
async fn stored(floors: &Floors, age: i64) {
    let exchange = exchange(floors, KNOWN, None);
    let credentials = credentials(&exchange.headers, &floors.core.key);
    let at = clock::now() - age;
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let answer = UpstreamResponse {
        status: StatusCode::OK,
        headers,
        body: Bytes::from_static(br#"{"nickname": "KS004"}"#),
        json: true,
        asked_at: at,
        received_at: at,
    };
    let question = question(&exchange, &credentials, false).unwrap();
    floors.core.learn_success(&credentials, StatusCode::OK, clock::now());
    floors.core.responses.remember(&question, &answer).await.unwrap();
}

/// What is decided, in a word.
async fn decided(floors: &Floors, token: &str, field: Option<(&'static str, &'static str)>) -> &'static str {
    let exchange = exchange(floors, token, field);
    let credentials = credentials(&exchange.headers, &floors.core.key);
    let question = question(&exchange, &credentials, floors.core.upstream.health.is_down()).unwrap();
    let mut read = Read::new(floors, &exchange, &credentials, &question);
    match decide(&mut read).await {
        Decision::Upstream => "upstream",
        Decision::PassThrough(BypassReason::NoStore) => "no-store",
        Decision::PassThrough(reason) => panic!("passed through: {reason:?}"),
        Decision::Local(LocalAnswer::Fresh { .. }) => "fresh",
        Decision::Local(LocalAnswer::Stale { reason: ServedStale::WhileRevalidating, .. }) => "revalidated",
        Decision::Local(LocalAnswer::Stale { reason: ServedStale::Offline, .. }) => "offline",
        Decision::Local(LocalAnswer::Refuse(_)) => "refused",
        Decision::Local(other) => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn each_floor_answers_or_hands_on() {
    let folder = tempfile::tempdir().unwrap();
    let floors = open(folder.path()).await;
    let current = Some(("cache-control", "no-cache"));
    let cached = Some(("cache-control", "only-if-cached"));
    assert_eq!(decided(&floors, KNOWN, None).await, "upstream", "nothing is stored");
    assert_eq!(decided(&floors, KNOWN, cached).await, "refused");
    assert_eq!(decided(&floors, KNOWN, Some(("cache-control", "no-store"))).await, "no-store");

    stored(&floors, MINUTE).await;
    assert_eq!(decided(&floors, KNOWN, None).await, "fresh");
    assert_eq!(decided(&floors, KNOWN, cached).await, "fresh");
    assert_eq!(decided(&floors, KNOWN, current).await, "upstream");
    assert_eq!(decided(&floors, UNKNOWN, None).await, "upstream", "Alyx judges a token first");

    floors.core.upstream.health.force_offline();
    assert_eq!(decided(&floors, KNOWN, None).await, "offline");
    assert_eq!(decided(&floors, KNOWN, current).await, "offline", "nothing newer can be had");
    assert_eq!(decided(&floors, UNKNOWN, None).await, "refused");
}

#[tokio::test]
async fn what_is_stored_grows_old() {
    // `freshness.records` and `cache.stale_while_revalidate` are five minutes each.
    for (minutes, expected) in [(1, "fresh"), (6, "revalidated"), (11, "upstream")] {
        let folder = tempfile::tempdir().unwrap();
        let floors = open(folder.path()).await;
        stored(&floors, minutes * MINUTE).await;
        assert_eq!(decided(&floors, KNOWN, None).await, expected, "{minutes} minutes old");
        floors.core.upstream.health.force_offline();
        assert_eq!(decided(&floors, KNOWN, None).await, "offline", "{minutes} minutes old");
    }
}
