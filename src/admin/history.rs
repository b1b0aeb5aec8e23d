//! `GET /-/history?days=14&limit=100&offset=0`: what the caller asked lately, by the same token as the questions themselves.
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
    proxy::{
        core::Core,
        error::ProxyError,
        history::{HistoryEntry, HistoryPage},
    },
};

const DAY: clock::Millis = 86_400_000;

/// Alyx's "Invalid token." is only Alyx's to say: ONE throws such a token away.
const NOT_KNOWN: &str =
    "This token counts here only after Alyx has accepted it: ask Alyx anything with it first.";

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
        return ProxyError::new(StatusCode::FORBIDDEN, RefusalReason::NotAccepted, NOT_KNOWN).into();
    };
    let pairs = query_string::parse(uri.query().unwrap_or_default());
    let number = |name: &str, otherwise: u32| match pairs.iter().find(|(known, _)| known == name) {
        None => Ok(otherwise),
        Some((_, text)) => text.parse::<u32>().map_err(|_| {
            let text = format!("`{name}` must be a whole number.");
            ProxyError::refused(StatusCode::BAD_REQUEST, &text)
        }),
    };
    let all = HistoryPage::default();
    let asked = number("days", DAYS).and_then(|days| {
        let limit = number("limit", all.limit)?.min(all.limit);
        Ok((days, HistoryPage { limit, offset: number("offset", 0)? }))
    });
    let (days, page) = match asked {
        Ok(asked) => asked,
        Err(refusal) => return refusal.into(),
    };
    let since = core.clock.now().saturating_sub(DAY.saturating_mul(days.into()));
    let kept = settings.access.query_history.0.as_secs() / 86_400;
    match core.history.since(hash, since, page, &core.store).await {
        Ok((count, past)) => {
            // Thousands of questions make a long text.
            let text = move || {
                let question = |past: &HistoryEntry| json!({ "question": past.question, "asked_at": clock::for_machines(past.at) });
                let questions: Vec<_> = past.iter().map(question).collect();
                let until = clock::for_machines(until);
                let body = json!({
                    "days": days, "kept_days": kept, "token_counts_until": until, "count": count,
                    "questions": questions,
                });
                format!("{body:#}\n")
            };
            match tokio::task::spawn_blocking(text).await {
                Ok(text) => text_response(&text, "application/json"),
                Err(error) => failed(&error),
            }
        }
        Err(error) => failed(&error),
    }
}

fn failed(error: &dyn std::error::Error) -> Response<Body> {
    tracing::error!(%error, "what was asked can't be read");
    ProxyError::refused(
        StatusCode::INTERNAL_SERVER_ERROR,
        "What was asked can't be read; the proxy's log says more.",
    )
    .into()
}
