//! Keeps the descriptions of the interface ([`DESCRIPTIONS`]): they are asked for under the mirror's account and remembered as
//! anybody's answer would be, and so go into snapshots, so that a client that nobody has used before needs nothing that isn't
//! here. That Alyx has one of them not (404) is an answer, too: ONE then asks for the other.
//!
//! They also tell what this Alyx is ([`AlyxSpec`]): how its answers are understood, and whether it has become another.
//!
//! [`AlyxSpec`]: crate::alyx::AlyxSpec

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, StatusCode, Uri};
use serde_json::Value;

use crate::proxy::core::Core;
use crate::{
    alyx::{
        Class,
        descriptions::{COREAPI, DESCRIPTIONS, DescriptionDocument as Document, OPENAPI},
        query_string,
        route::classify,
        spec::Description,
    },
    cache::{JsonVariant, Question},
    clock::Millis,
    mirror::{
        Described, Mirror, Synchroniser,
        sync::budget::{Purpose, asking_for},
    },
};

/// How soon it is looked again where one could not be had,
const SOON: Duration = Duration::from_mins(1);
/// and where all are here: that Alyx has been upgraded is noticed within this time.
pub(super) const LATER: Duration = Duration::from_hours(1);

/// A look asks for each of them.
pub(super) const REQUESTS: u64 = DESCRIPTIONS.len() as u64;

/// What Alyx said of a document: its body, empty where it has none.
type Said = Option<Bytes>;

/// Keeps them for as long as it is polled; `all` is what [`fetch`] has just said.
#[allow(clippy::disallowed_methods, reason = "a pause between two looks, which no deadline depends on")]
pub(super) async fn keep(core: Arc<Core>, mut all: bool) {
    loop {
        tokio::time::sleep(if all { LATER } else { SOON }).await;
        let Some(synchroniser) = &core.synchroniser else { continue };
        if let Some(_room) = synchroniser.budget.reserve(Purpose::Description, REQUESTS) {
            all = fetch(&core).await;
        }
    }
}

/// Learns from what is stored what Alyx is, where nobody has noted it yet.
pub(super) async fn recall(core: &Core) {
    let Some(mirror) = core.mirror.as_ref().filter(|mirror| mirror.states().spec().description().is_none())
    else {
        return;
    };
    let mut said = Vec::new();
    for document in DESCRIPTIONS {
        said.push(stored(core, document, None).await);
    }
    learn(core, mirror, said).await;
}

/// Asks for them; whether Alyx gave all of them, or said that it has none. The older one, where there is the newer, clients
/// alone need, and no sooner again than `freshness.schema` says.
pub(super) async fn fetch(core: &Core) -> bool {
    let (Some(synchroniser), Some(mirror)) = (&core.synchroniser, &core.mirror) else { return false };
    let mut openapi = ask(core, synchroniser, OPENAPI).await;
    let asked = openapi.is_some();
    if !asked {
        openapi = stored(core, OPENAPI, None).await;
    }
    let longest = core.settings.load().freshness.schema.millis();
    let kept = openapi.as_ref().is_some_and(|document| !document.is_empty()).then_some(longest);
    let mut coreapi = match kept {
        Some(longest) => stored(core, COREAPI, Some(longest)).await,
        None => None,
    };
    if coreapi.is_none() {
        coreapi = ask(core, synchroniser, COREAPI).await;
    }
    let all = asked && coreapi.is_some();
    if coreapi.is_none() {
        coreapi = stored(core, COREAPI, None).await;
    }
    learn(core, mirror, vec![openapi, coreapi]).await;
    all
}

/// A stored one that is no older.
async fn stored(core: &Core, document: Document, longest: Option<Millis>) -> Said {
    let question = question(document)?;
    let (entry, _) = core.responses.find(&question).await?;
    let age = core.clock.now() - entry.received_at;
    let fits = longest.is_none_or(|longest| (0..longest).contains(&age));
    fits.then(|| if entry.status == StatusCode::OK { entry.body.clone() } else { Bytes::new() })
}

async fn ask(core: &Core, synchroniser: &Synchroniser, document: Document) -> Said {
    let question = question(document).filter(|_| !core.upstream.health.is_down())?;
    let asking = synchroniser.ask_as(document.path, HeaderValue::from_static(document.accept));
    match asking_for(Purpose::Description, asking).await {
        Ok(answer) if matches!(answer.status, StatusCode::OK | StatusCode::NOT_FOUND) => {
            let body = if answer.status == StatusCode::OK { answer.body.clone() } else { Bytes::new() };
            core.responses.remember(&question, &answer).await.map(|_| body)
        }
        Ok(answer) => {
            let status = answer.status.as_u16();
            tracing::debug!(path = document.path, status, "the description of the interface is not given");
            None
        }
        Err(error) => {
            tracing::debug!(path = document.path, %error, "the description of the interface is not given");
            None
        }
    }
}

/// Notes what these documents tell of Alyx, and has all read anew where it has become another.
async fn learn(core: &Core, mirror: &Mirror, said: Vec<Said>) {
    // They are large.
    let read = tokio::task::spawn_blocking(move || describe(&said)).await;
    let Ok(Some(description)) = read else { return };
    match mirror.describe(description).await {
        Ok(Described::Same) => {}
        Ok(Described::First) => tracing::info!("{}", mirror.states().spec().summary()),
        Ok(Described::Changed) => {
            let now = mirror.states();
            tracing::warn!(
                "Alyx has become another: {}. All tables are read anew, and what is stored is asked again.",
                now.spec().summary()
            );
            if let Err(error) = core.responses.doubt().await {
                tracing::error!(%error, "what is stored does not count as old, though Alyx has become another");
            }
            if let Some(synchroniser) = &core.synchroniser {
                synchroniser.request_cycle();
            }
        }
        Err(error) => tracing::error!(%error, "what Alyx is can't be noted"),
    }
}

/// What these documents tell; none where it isn't known yet. Where there is the newer one the older is not true any more.
fn describe(said: &[Said]) -> Option<Description> {
    let mut of = DESCRIPTIONS.iter().zip(said);
    let mut said = |wanted: Document| of.find(|(document, _)| **document == wanted)?.1.clone();
    let (openapi, coreapi) = (said(OPENAPI)?, said(COREAPI));
    let read = |body: &Bytes| serde_json::from_slice::<Value>(body).ok();
    if !openapi.is_empty() {
        return Some(Description::of_openapi(&read(&openapi)?).unwrap_or_else(Description::none));
    }
    let coreapi = coreapi?;
    let document = read(&coreapi).unwrap_or_default();
    Some(Description::of_coreapi(&document).unwrap_or_else(Description::none))
}

/// The question as ONE's own is understood.
fn question(document: Document) -> Option<Question> {
    let uri: Uri = document.path.parse().ok()?;
    let segments = query_string::segments(uri.path());
    let route = classify(&segments.iter().map(String::as_str).collect::<Vec<_>>());
    let accept = HeaderValue::from_static(document.accept);
    let media = JsonVariant::negotiate(&route, Some(&accept), None)?;
    Some(Question::new(route, Class::Schema, &uri, &media, None))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alyx::schema;

    #[test]
    fn the_older_document_counts_only_where_there_is_no_newer_one() {
        let openapi = Bytes::from(schema::document().to_string());
        let coreapi = Bytes::from(
            r#"{"_type":"document","labs":{"list":{"_type":"link","url":"/labs","action":"get",
            "fields":[{"name":"name","location":"query"},{"name":"limit","location":"query"}]}}}"#,
        );
        let newest = Some(Description::newest().clone());
        assert_eq!(describe(&[Some(openapi.clone()), Some(coreapi.clone())]), newest);
        assert_eq!(describe(&[Some(openapi), None]), newest);
        let older = describe(&[Some(Bytes::new()), Some(coreapi.clone())]).unwrap();
        assert!(!older.is_empty() && Some(&older) != newest.as_ref());
        assert_eq!(describe(&[Some(Bytes::new()), Some(Bytes::new())]), Some(Description::none()));
        // One that could not be had may yet be another.
        assert_eq!(describe(&[None, Some(coreapi)]), None);
        assert_eq!(describe(&[Some(Bytes::new()), None]), None);
        assert_eq!(describe(&[Some(Bytes::from("<html>")), None]), None);
    }
}
