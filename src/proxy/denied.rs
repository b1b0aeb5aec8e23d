//! What Alyx refuses to a user whose token it accepts (403, "You do not have permission to perform this action."): to that
//! one, what others were given is not given either. Only Alyx itself answers there, until it gives it after all.
//!
//! What is refused as a list is refused with all its records; a record alone is refused alone. Kept across restarts.

use http::StatusCode;

use super::core::Core;
use crate::{
    alyx::{Route, error_body, invalidates::Scope},
    auth::{Credentials, TokenStatus},
    storage::types::TokenHash,
    upstream::{UpstreamRequest, UpstreamResponse},
};

/// What every Alyx answers at once, to whoever it accepts.
const CHEAP: &str = "/labs?limit=1";

/// Whether Alyx last refused this to the holder of this token.
pub(super) fn is_denied(core: &Core, token: TokenHash, route: &Route) -> bool {
    if !core.responses.any_denied() {
        return false;
    }
    let denied = |place: &str| core.responses.marked_at(&Scope::Denied(hex(token), place.to_owned()));
    let granted = |place: &str| core.responses.marked_at(&Scope::Granted(hex(token), place.to_owned()));
    let Some(own) = place(route) else { return false };
    // A record that was given although its list is not is given; nothing else of that list is.
    let with_its_list =
        |list: &str| denied(list) > granted(list).max(granted(&own)) || denied(&own) > granted(&own);
    match route {
        Route::Detail(endpoint, _) => with_its_list(endpoint.name),
        _ => denied(&own) > granted(&own),
    }
}

/// Learns from an answer of Alyx's to this token what it refuses to its holder, or gives after all.
pub(super) async fn learn(core: &Core, token: TokenHash, route: &Route, answer: &UpstreamResponse) {
    let refused = error_body::is_permission_denied(answer.status, &answer.body);
    let given = answer.json && answer.status == StatusCode::OK;
    let known = is_denied(core, token, route);
    let Some(place) = place(route).filter(|_| refused && !known || given && known) else { return };
    let scope = if refused { Scope::Denied(hex(token), place) } else { Scope::Granted(hex(token), place) };
    let marked = match core.responses.begin_write(&[scope]).await {
        Ok(pending) => core.responses.end_write(pending, true).await,
        Err(error) => Err(error),
    };
    if let Err(error) = marked {
        tracing::error!(%error, "what Alyx refuses to a user is not noted on disk");
    }
}

/// What is refused or given: a list with all its records, or a record.
fn place(route: &Route) -> Option<String> {
    match route {
        Route::List(endpoint) => Some(endpoint.name.to_owned()),
        Route::Detail(endpoint, key) => Some(format!("{}/{key}", endpoint.name)),
        Route::Service(service) => Some(format!("{service:?}")),
        Route::Other => None,
    }
}

fn hex(token: TokenHash) -> String {
    blake3::Hash::from_bytes(token.0).to_hex().to_string()
}

/// Asks Alyx something cheap with a token that is to be asked about again, where the answer to its own question said nothing
/// of it (a gateway's 414, a page for a 500). Whether it counts now.
pub(super) async fn check_token(core: &Core, credentials: &Credentials, ask: UpstreamRequest) -> bool {
    let Credentials::Token { hash, .. } = credentials else { return false };
    let ask = UpstreamRequest { path_and_query: CHEAP.to_owned(), ..ask };
    if let Ok(answer) = core.upstream.fetch(&ask).await {
        core.learn(credentials, &answer).await;
    }
    core.tokens.status(hash, &core.settings.load().access) == TokenStatus::Vouched
}
