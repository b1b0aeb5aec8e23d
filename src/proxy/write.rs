//! A write goes to Alyx with the caller's own token, and its answer comes back as it is.
//!
//! What it may change is noted on disk before it leaves (a crash in between must not bring old
//! answers back) and marked stale when it has ended; not where Alyx refused it.
//!
//! What Alyx says of it is passed on. What the proxy itself says is one of two things: 503, it was not sent; or 504, it was
//! sent and nobody knows what came of it. 4xx only where sending it again can never help.

use axum::body::Body;
use http::{Method, Response, StatusCode};

use super::{
    Exchange,
    after_write::{answered, may_have_written, refresh_mirror},
    core::Core,
    error::{self, ProxyError},
    lost_update, passthrough,
    together::{self, NotNoted},
    write_outcome::WriterStanding,
};
use crate::{
    alyx::invalidates,
    auth::credentials,
    http::cache_status::{ForwardReason, RefusalReason},
    upstream::UpstreamError,
};

const NO_DISK: &str = "This proxy can't write to its disk, so it could not remember what this request \
                       changes. The request was not passed on to Alyx.";

/// Answers a POST, PUT, PATCH or DELETE, and whatever else may write.
pub(crate) async fn answer(core: &Core, asked: Exchange, body: Body) -> Response<Body> {
    if let Some(frozen) = core.mode.snapshot() {
        // No 4xx: clients take 403 for a bad token, and throw the write away for others.
        let text = format!(
            "This is {}: nothing can be written into it. The request was not sent to Alyx.",
            frozen.for_people()
        );
        return ProxyError::new(StatusCode::GATEWAY_TIMEOUT, RefusalReason::Snapshot, &text).into();
    }
    if core.upstream.health.is_down() {
        return failed(core, &asked.method, &UpstreamError::Offline).into();
    }
    let (body, wrote) = match lost_update::clear(core, &asked, body).await {
        Ok(cleared) => cleared.into_parts(),
        Err(refusal) => return refusal.into(),
    };
    let (method, route) = (asked.method.clone(), asked.route.clone());
    let (writer, uri, settings) =
        (WriterStanding::of(core, &asked), asked.uri.clone(), asked.settings.clone());
    let token = credentials(&asked.headers, &core.key).token();
    // Whoever logs in to the admin pages, or fails to, changes no record.
    let mut scopes = Vec::new();
    if writer.can_write(&route, &uri) {
        scopes = invalidates::changed_by(&method, &route);
    }
    if !scopes.is_empty() {
        scopes.extend(token.map(lost_update::writer));
    }
    let marking = match together::begin(core, &scopes).await {
        Ok(marking) => marking,
        Err(not_noted) => return refusal_of(not_noted).into(),
    };
    let result = passthrough::forward(core, asked, body, ForwardReason::Method).await;
    let writer = writer.judged(core, token, &settings.access);
    let changed = writer.may_have_changed(&route, &uri, &result);
    if let Ok(response) = &result {
        lost_update::wrote(core, wrote, response.status());
    }
    let (marked, acknowledging) = together::end(core, marking, changed).await;
    if let Err(error) = &marked {
        tracing::error!(%error, "what a write changed was not marked anew on disk");
    }
    let mut response = match result {
        // After the marks: what is synchronised from now on has seen the write.
        Ok(response) if changed && !scopes.is_empty() => {
            refresh_mirror(core, &method, &route, answered(&response), marked.ok()).await;
            response
        }
        Ok(response) => response,
        Err(failure) => {
            may_have_written(core, marked.ok().filter(|_| changed));
            failed(core, &method, &failure).into()
        }
    };
    acknowledging.wait(core, &mut response).await;
    response
}

/// The refusal of a write that can't be noted.
fn refusal_of(not_noted: NotNoted) -> ProxyError {
    match not_noted {
        NotNoted::Cluster => together::refusal(),
        NotNoted::Disk(error) => {
            tracing::error!(%error, "what a write may change can't be noted; it is not passed on");
            ProxyError::refused(StatusCode::INSUFFICIENT_STORAGE, NO_DISK)
        }
    }
}

/// The refusal of a request that Alyx did not get, or of which it did not say what came. Who asks by GET (`check-protected`)
/// is told as any reader: to ask once more does no harm.
fn failed(core: &Core, method: &Method, failure: &UpstreamError) -> ProxyError {
    match failure {
        UpstreamError::BodyTooLarge => passthrough::too_large(),
        UpstreamError::Malformed => passthrough::malformed(),
        UpstreamError::BadAddress => passthrough::bad_address(),
        failure if method.is_safe() => passthrough::failed_pass(core, failure),
        failure if failure.never_sent() => error::not_sent(core, failure),
        failure => error::outcome_unknown(core, failure),
    }
}
