//! Keeps the descriptions of the interface ([`DESCRIPTIONS`]), so that a client that nobody has used before needs nothing
//! that isn't here: they are asked for under the mirror's account and remembered as anybody's answer would be, and so go
//! into snapshots. That Alyx has one of them not (404) is an answer, too: ONE then asks for the other.

use std::{sync::Arc, time::Duration};

use http::{HeaderValue, StatusCode, Uri};

use crate::proxy::core::Core;
use crate::{
    alyx::{
        Class,
        descriptions::{DESCRIPTIONS, Description},
        query_string,
        route::classify,
    },
    cache::{JsonVariant, Question},
    mirror::Synchroniser,
};

/// How soon it is looked again where one could not be had,
const SOON: Duration = Duration::from_mins(1);
/// and where all are here.
const LATER: Duration = Duration::from_hours(1);

/// Keeps them for as long as it is polled.
#[allow(clippy::disallowed_methods, reason = "a pause between two looks, which no deadline depends on")]
pub(super) async fn keep(core: Arc<Core>) {
    loop {
        let all = fetch(&core).await;
        tokio::time::sleep(if all { LATER } else { SOON }).await;
    }
}

/// Asks for those that are not here, or are here for longer than `freshness.schema`; whether all are here then.
pub(super) async fn fetch(core: &Core) -> bool {
    let Some(synchroniser) = &core.synchroniser else { return false };
    let mut all = true;
    for description in DESCRIPTIONS {
        all &= is_here(core, description).await || ask(core, synchroniser, description).await;
    }
    all
}

async fn is_here(core: &Core, description: Description) -> bool {
    let Some(question) = question(description) else { return false };
    let Some((entry, _)) = core.responses.find(&question).await else { return false };
    let longest = core.settings.load().freshness.schema.millis();
    (0..=longest).contains(&(core.clock.now() - entry.received_at))
}

async fn ask(core: &Core, synchroniser: &Synchroniser, description: Description) -> bool {
    let accept = HeaderValue::from_static(description.accept);
    let (Some(question), false) = (question(description), core.upstream.health.is_down()) else {
        return false;
    };
    match synchroniser.ask_as(description.path, accept).await {
        Ok(answer) if matches!(answer.status, StatusCode::OK | StatusCode::NOT_FOUND) => {
            core.responses.remember(&question, &answer).await.is_some()
        }
        Ok(answer) => {
            let status = answer.status.as_u16();
            tracing::debug!(path = description.path, status, "the description of the interface is not given");
            false
        }
        Err(error) => {
            tracing::debug!(path = description.path, %error, "the description of the interface is not given");
            false
        }
    }
}

/// The question as ONE's own is understood.
fn question(description: Description) -> Option<Question> {
    let uri: Uri = description.path.parse().ok()?;
    let segments = query_string::segments(uri.path());
    let route = classify(&segments.iter().map(String::as_str).collect::<Vec<_>>());
    let accept = HeaderValue::from_static(description.accept);
    let media = JsonVariant::negotiate(&route, Some(&accept), None)?;
    Some(Question::new(route, Class::Schema, &uri, &media, None))
}
