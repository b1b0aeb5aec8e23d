//! What the mirror does about a write: the record that was written is refreshed at once, and a synchronisation
//! is asked for, after which the tables that may show it answer again.

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use http::{Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use serde_json::Value;

use super::core::Core;
use crate::{
    alyx::{Endpoint, Route, record},
    mirror::Synchroniser,
};

/// Answers to writes that are longer are not looked into; the synchronisation finds what was written.
const LONGEST: usize = 4 << 20;

/// Tells the mirror of a write that Alyx has answered so.
pub(crate) async fn refresh_mirror(core: &Core, route: &Route, response: Response<Body>) -> Response<Body> {
    let Some(synchroniser) = &core.synchroniser else { return response };
    if !response.status().is_success() {
        // It may have done something all the same.
        synchroniser.request_cycle();
        return response;
    }
    let response = match route {
        Route::Detail(endpoint, key) => {
            refresh(synchroniser, endpoint, vec![key.clone()]);
            response
        }
        Route::List(endpoint) if response.status() == StatusCode::CREATED => {
            let (response, created) = created(endpoint, response).await;
            refresh(synchroniser, endpoint, created);
            response
        }
        _ => response,
    };
    synchroniser.request_cycle();
    response
}

/// Fetches records again behind the answer to whoever wrote them.
pub(super) fn refresh(synchroniser: &Arc<Synchroniser>, endpoint: &'static Endpoint, keys: Vec<String>) {
    let synchroniser = synchroniser.clone();
    tokio::spawn(async move {
        for key in keys {
            if let Err(error) = synchroniser.touch(endpoint, &key).await {
                tracing::debug!(endpoint = endpoint.name, %error, "what was written waits for the next cycle");
            }
        }
    });
}

/// The keys of the records that a POST says it has made: one, or an array of them (ALYX.md 7).
async fn created(endpoint: &Endpoint, response: Response<Body>) -> (Response<Body>, Vec<String>) {
    let length = response.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    // Only what has been read whole has its length set, and is JSON.
    if length.and_then(|length| length.parse().ok()).is_none_or(|length: usize| length > LONGEST) {
        return (response, Vec::new());
    }
    let (parts, body) = response.into_parts();
    let Ok(body) = Limited::new(body, LONGEST).collect().await else {
        tracing::error!(endpoint = endpoint.name, "the answer to a write was lost on its way");
        let text = "The write was passed on to Alyx, but its answer was lost.";
        return (super::error::ProxyError::refused(StatusCode::BAD_GATEWAY, text).into(), Vec::new());
    };
    let body = body.to_bytes();
    let keys = keys(endpoint, &body);
    (Response::from_parts(parts, Body::from(body)), keys)
}

fn keys(endpoint: &Endpoint, body: &Bytes) -> Vec<String> {
    let text = std::str::from_utf8(body).unwrap_or_default();
    match record::parse(text) {
        Value::Array(records) => records.iter().filter_map(|record| endpoint.key_of(record)).collect(),
        record => endpoint.key_of(&record).into_iter().collect(),
    }
}
