//! A write goes to Alyx with the caller's own token, and its answer comes back as it is.
//!
//! What it may change is noted on disk before it leaves (a crash in between must not bring old
//! answers back) and marked stale when it has ended; not where Alyx refused it.

use std::sync::Arc;

use axum::body::Body;
use http::Response;

use super::{Asked, Proxy, pass, refusal, status::Forward};
use crate::alyx::{Route, Service, errors, writes};

const NO_DISK: &str = "This proxy can't write to its disk, so it could not remember what this request \
                       changes. The request was not passed on to Alyx.";

/// Answers a POST, PUT, PATCH or DELETE, and whatever else may write.
pub(super) async fn answer(proxy: &Arc<Proxy>, asked: Asked, body: Body) -> Response<Body> {
    if let Some(frozen) = proxy.frozen() {
        let text = format!("This is {}: nothing can be written into it.", frozen.for_people());
        return proxy.refuse(403, errors::detail(403, &text), "snapshot");
    }
    if proxy.upstream.health.is_down() {
        return proxy.failed_pass(&crate::upstream::Failure::Away);
    }
    let scopes = writes::changed_by(&asked.method, &asked.route);
    let route = asked.route.clone();
    let pending = match proxy.responses.begin_write(&scopes).await {
        Ok(pending) => pending,
        Err(error) => {
            tracing::error!(%error, "what a write may change can't be noted; it is not passed on");
            return refusal::plain(507, NO_DISK);
        }
    };
    let result = pass::through(proxy, asked, body, Forward::Method).await;
    let changed = match &result {
        Ok(response) => pass::may_have_written(response.status()) || partly_done(&route, response),
        Err(failure) => !failure.never_sent(),
    };
    if let Err(error) = proxy.responses.end_write(pending, changed).await {
        tracing::error!(%error, "what a write changed was not marked anew on disk");
    }
    match result {
        // After the marks: what is synchronised from now on has seen the write.
        Ok(response) if changed && !scopes.is_empty() => proxy.tell_mirror(&route, response).await,
        Ok(response) => response,
        Err(failure) => {
            if changed && let Some(synchroniser) = &proxy.synchroniser {
                synchroniser.request_cycle();
            }
            proxy.failed_pass(&failure)
        }
    }
}

/// `/register-file` registers one file after the other and may fail in between (REST.md 7).
fn partly_done(route: &Route, response: &Response<Body>) -> bool {
    *route == Route::Service(Service::RegisterFile) && response.status() == http::StatusCode::BAD_REQUEST
}
