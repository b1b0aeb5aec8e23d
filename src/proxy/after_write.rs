//! What the mirror does about a write: what Alyx answered to it goes into the tables before its writer has the answer, the
//! record is refreshed behind it where that did not tell all, and a synchronisation is asked for, after which the tables that
//! may show it answer again.

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use http::{Method, Response, StatusCode};
use serde_json::Value;

use super::{core::Core, passthrough::AlyxAnswer};
use crate::{
    alyx::{Endpoint, Route, record},
    cache::Marked,
    mirror::{
        Synchroniser,
        sync::{
            OwnWrite,
            budget::{Purpose, asking_for},
        },
    },
};

/// Answers to writes that are longer are not looked into; the synchronisation finds what was written.
const LONGEST: usize = 4 << 20;

/// What the mirror is told of Alyx's answer to a write.
pub(super) fn answered(response: &Response<Body>) -> (StatusCode, Option<Bytes>) {
    let answer = response.extensions().get::<AlyxAnswer>().map(|AlyxAnswer(body)| body.clone());
    (response.status(), answer.filter(|answer| answer.len() <= LONGEST))
}

/// Tells the mirror of a write that Alyx has answered so; `marked` is what it has made stale, where that is noted.
pub(crate) async fn refresh_mirror(
    core: &Core,
    method: &Method,
    route: &Route,
    (status, answer): (StatusCode, Option<Bytes>),
    marked: Option<Marked>,
) {
    let touched: Vec<_> =
        marked.iter().flat_map(|marked| &marked.endpoints).map(|(endpoint, _)| *endpoint).collect();
    let at = marked.as_ref().map_or_else(|| core.clock.stamp(), |marked| marked.at);
    if let Some(write) = marked.and_then(|marked| own_write(method, route, status, answer.as_ref(), marked)) {
        absorb(core, write).await;
    }
    let Some(synchroniser) = &core.synchroniser else { return };
    match route {
        // It may have done something all the same.
        _ if !status.is_success() => {}
        Route::Detail(endpoint, key) => refresh(synchroniser, endpoint, vec![key.clone()]),
        Route::List(endpoint) if status == StatusCode::CREATED => {
            let created = answer.map(|answer| keys(endpoint, &answer));
            refresh(synchroniser, endpoint, created.unwrap_or_default());
        }
        _ => {}
    }
    synchroniser.request(touched, at);
}

/// Has the mirror look at what a write may have changed, though nobody knows what came of it.
pub(super) fn may_have_written(core: &Core, marked: Option<Marked>) {
    if let (Some(synchroniser), Some(Marked { at, endpoints })) = (&core.synchroniser, marked) {
        synchroniser.request(endpoints.into_iter().map(|(endpoint, _)| endpoint), at);
    }
}

/// What a write says of the record that it wrote.
fn own_write(
    method: &Method,
    route: &Route,
    status: StatusCode,
    answer: Option<&Bytes>,
    marked: Marked,
) -> Option<OwnWrite> {
    let Marked { at, endpoints: marked } = marked;
    let (endpoint, key) = match route {
        Route::Detail(endpoint, key) => (*endpoint, Some(key.clone())),
        Route::List(endpoint) => (*endpoint, None),
        Route::Service(_) | Route::Other => return None,
    };
    let answer = match (method, status) {
        (&Method::DELETE, StatusCode::NO_CONTENT) => None,
        (&Method::PUT | &Method::PATCH, StatusCode::OK) | (&Method::POST, StatusCode::CREATED) => {
            Some(answer?.clone())
        }
        _ => return None,
    };
    Some(OwnWrite { endpoint, key, answer, at, marked })
}

/// Puts what was written into the tables, and waits for that as long as for any question to them.
async fn absorb(core: &Core, write: OwnWrite) {
    let Some(mirror) = core.mirror.clone() else { return };
    let endpoint = write.endpoint.name;
    let absorbed = tokio::spawn(async move { mirror.absorb(write).await });
    let patience = core.settings.load().mirror.query_timeout.0;
    match tokio::time::timeout(patience, absorbed).await {
        Ok(Ok(Ok(()))) => {}
        Ok(Ok(Err(error))) => {
            tracing::warn!(endpoint, %error, "what was written waits for the next synchronisation");
        }
        Ok(Err(_)) | Err(_) => tracing::debug!(endpoint, "what was written goes into the mirror later"),
    }
}

/// Fetches records again behind the answer to whoever wrote them.
pub(super) fn refresh(synchroniser: &Arc<Synchroniser>, endpoint: &'static Endpoint, keys: Vec<String>) {
    let synchroniser = synchroniser.clone();
    tokio::spawn(async move {
        for key in keys {
            // The list of it, and its detail.
            let Some(_room) = synchroniser.budget.reserve(Purpose::Follow, 2) else { return };
            let touched = asking_for(Purpose::Follow, synchroniser.touch(endpoint, &key));
            if let Err(error) = touched.await {
                tracing::debug!(endpoint = endpoint.name, %error, "what was written waits for the next cycle");
            }
        }
    });
}

/// The keys of the records that a POST says it has made: one, or an array of them (ALYX.md 7).
fn keys(endpoint: &Endpoint, body: &Bytes) -> Vec<String> {
    let text = std::str::from_utf8(body).unwrap_or_default();
    match record::parse(text) {
        Value::Array(records) => records.iter().filter_map(|record| endpoint.key_of(record)).collect(),
        record => endpoint.key_of(&record).into_iter().collect(),
    }
}
