//! `GET /-/history?days=14`: what the caller asked lately, by the same token as the questions themselves.
//!
//! And until when that token counts here without Alyx. Nobody else's: it is found by the hash of the token, and what was asked with another token is not.

use axum::body::Body;
use http::{HeaderMap, Response, StatusCode, Uri};
use serde_json::json;

use super::router::text_response;
use crate::{
    alyx::{error_body, query_string},
    auth::{Credentials, credentials},
    clock,
    http::cache_status::RefusalReason,
    proxy::{core::Core, error::ProxyError},
};

const DAY: clock::Millis = 86_400_000;

/// How far back it goes where nothing is said.
const DAYS: u32 = 14;

/// Answers a request for the caller's own history.
pub(crate) async fn answer(core: &Core, uri: &Uri, headers: &HeaderMap) -> Response<Body> {
    let settings = core.settings.load_full();
    let Credentials::Token { hash, .. } = credentials(headers, &core.key) else {
        return ProxyError::new(
            StatusCode::FORBIDDEN,
            RefusalReason::NotAccepted,
            error_body::NO_CREDENTIALS,
        )
        .into();
    };
    let Some(until) = core.tokens.counts_until(&hash, &settings.access) else {
        return ProxyError::new(StatusCode::FORBIDDEN, RefusalReason::NotAccepted, error_body::INVALID_TOKEN)
            .into();
    };
    let pairs = query_string::parse(uri.query().unwrap_or_default());
    let days = match pairs.iter().find(|(name, _)| name == "days").map(|(_, days)| days.parse::<u32>()) {
        None => DAYS,
        Some(Ok(days)) => days,
        Some(Err(_)) => {
            return ProxyError::refused(StatusCode::BAD_REQUEST, "`days` must be a whole number of days.")
                .into();
        }
    };
    let since = clock::now().saturating_sub(DAY.saturating_mul(days.into()));
    match core.history.since(hash, since, &core.store).await {
        Ok(past) => {
            let questions: Vec<_> = past
                .iter()
                .map(|past| json!({ "question": past.question, "asked_at": clock::for_machines(past.at) }))
                .collect();
            let kept = settings.access.query_history.0.as_secs() / 86_400;
            let until = clock::for_machines(until);
            let body = json!({
                "days": days, "kept_days": kept, "token_counts_until": until, "questions": questions,
            });
            text_response(&format!("{body:#}\n"), "application/json")
        }
        Err(error) => {
            tracing::error!(%error, "what was asked can't be read");
            ProxyError::refused(
                StatusCode::INTERNAL_SERVER_ERROR,
                "What was asked can't be read; the proxy's log says more.",
            )
            .into()
        }
    }
}
