//! Why a read is answered as it is: with `X-Alyx-Proxy-Explain: 1` it gets this instead of records.
//!
//! It says what would be done now: whether the mirror, a stored answer or Alyx would answer, why, from which
//! tables and by which SQL. It takes the same token as the read itself: the SQL shows nothing of the records,
//! but errors of a plan may.

use std::{collections::BTreeSet, sync::Arc};

use axum::body::Body;
use http::{HeaderMap, HeaderName, Response, StatusCode};
use serde::Serialize;
use serde_json::Value;

use super::{
    Asked,
    mirrored::{FromMirror, MirrorLookup, MirrorMiss},
    refusal,
};
use crate::{
    alyx::{
        Endpoint,
        ask::{Refusal, Unanswered, Undecided},
        paging::Window,
    },
    caching::Directives,
    clock,
    http::cache_status::CacheStatus,
    mirror::{
        plan::{self, Failed},
        state::States,
    },
    responses::{Question, Verdict},
};

/// The field that asks for an explanation.
const WISH: HeaderName = HeaderName::from_static("x-alyx-proxy-explain");

/// Whether a request asks for an explanation.
pub(super) fn is_wished(headers: &HeaderMap) -> bool {
    headers.get(WISH).is_some_and(|wish| !matches!(wish.as_bytes(), b"" | b"0" | b"false"))
}

#[derive(Debug, Serialize)]
struct Explanation {
    path: String,
    endpoint: Option<&'static str>,
    /// `mirror`, `stored`, `forwarded` or `refused`.
    decision: &'static str,
    /// Why, in a sentence.
    why: String,
    /// What would have the mirror answer it.
    remedy: Option<String>,
    /// What would answer it without Alyx: `mirror`, `stored` or nothing (`refused`).
    offline: &'static str,
    /// Whether Alyx can be reached, as far as is known.
    upstream: &'static str,
    /// The plan of the mirror's answer, where it has one.
    plan: Option<Planned>,
    /// What is stored for this very question.
    stored: Option<Stored>,
}

#[derive(Debug, Default, Serialize)]
struct Planned {
    /// The tables that it needs.
    tables: Vec<Table>,
    /// The parameters that take effect; all others are disregarded, as by Alyx.
    parameters: Vec<String>,
    /// The SQL that counts.
    count: Option<String>,
    /// The SQL that finds the page's records.
    page: Option<String>,
    /// Alyx's own refusal, where it refuses.
    refusal: Option<Refused>,
}

#[derive(Debug, Serialize)]
struct Refused {
    status: u16,
    body: Value,
}

#[derive(Debug, Serialize)]
struct Table {
    endpoint: &'static str,
    details: bool,
    rows: u64,
    synced_at: String,
    age_seconds: i64,
    scope: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Stored {
    asked_at: String,
    age_seconds: i64,
    fresh: bool,
}

impl FromMirror {
    /// Explains what would be done about a read; the caller may have its answer.
    pub(super) async fn explain(
        &self,
        asked: &Asked,
        question: &Question,
        directives: &Directives,
        stored: Option<(clock::Millis, Verdict)>,
    ) -> Response<Body> {
        let down = self.core.upstream.health.is_down();
        let away = self.mirrored(question, &asked.settings, None).await;
        let offline = match (&away, &stored) {
            (MirrorLookup::Answer(_), _) => "mirror",
            (MirrorLookup::Miss(_), Some(_)) => "stored",
            (MirrorLookup::Miss(_), None) => "refused",
        };
        let mirrored = if down { away } else { self.mirrored_now(asked, question, directives).await };
        let fresh = matches!(stored, Some((_, Verdict::Fresh { .. })));
        let (decision, why, remedy) = match &mirrored {
            MirrorLookup::Answer(_) => ("mirror", "The tables that it needs are here.".to_owned(), None),
            MirrorLookup::Miss(silence) => {
                let decision = match (stored.is_some(), down) {
                    (true, true) => "stored",
                    (true, false) if fresh => "stored",
                    (_, false) => "forwarded",
                    (false, true) => "refused",
                };
                (decision, silence.sentence(), silence.remedy())
            }
        };
        let explanation = Explanation {
            path: question.path_and_query.clone(),
            endpoint: self.mirror_for(question).ok().map(|target| target.endpoint.name),
            decision,
            why,
            remedy,
            offline,
            upstream: self.core.upstream.health.state().name(),
            plan: self.planned(asked, question).await,
            stored: stored.map(|(asked_at, _)| Stored {
                asked_at: clock::for_machines(asked_at),
                age_seconds: age(asked_at),
                fresh,
            }),
        };
        let body = serde_json::to_string_pretty(&explanation).unwrap_or_default();
        refusal::json(StatusCode::OK.as_u16(), format!("{body}\n"), CacheStatus::Internal)
    }

    async fn planned(&self, asked: &Asked, question: &Question) -> Option<Planned> {
        let target = self.mirror_for(question).ok()?;
        let today = self.core.mode.today(&asked.settings);
        let (endpoint, key, question) = (target.endpoint, target.key, question.clone());
        let look = move |connection: &rusqlite::Connection, states: &Arc<States>| {
            if let Some(key) = key {
                of_detail(plan::detail(connection, states, endpoint, &key), endpoint, states)
            } else {
                let window = Window::of(&question.pairs);
                of_list(plan::list(connection, states, endpoint, &question.pairs, today), window, states)
            }
        };
        target.mirror.read(look).await.ok()?
    }
}

fn of_list(
    plan: Result<plan::Plan, Failed>,
    window: Window,
    states: &States,
) -> rusqlite::Result<Option<Planned>> {
    match plan {
        Ok(plan) => {
            let (count, page) = plan.shown(window);
            Ok(Some(Planned {
                tables: tables(states, &plan.needs),
                parameters: plan.used.iter().map(ToString::to_string).collect(),
                count: Some(count),
                page: Some(page),
                refusal: None,
            }))
        }
        Err(failed) => of_failed(failed),
    }
}

fn of_detail(
    text: Result<String, Failed>,
    endpoint: &'static Endpoint,
    states: &States,
) -> rusqlite::Result<Option<Planned>> {
    match text {
        Ok(_) => {
            let needs = BTreeSet::from([(endpoint.name, endpoint.has_own_details())]);
            Ok(Some(Planned { tables: tables(states, &needs), ..Planned::default() }))
        }
        Err(failed) => of_failed(failed),
    }
}

fn of_failed(failed: Failed) -> rusqlite::Result<Option<Planned>> {
    match failed {
        Failed::Sqlite(error) => Err(error),
        Failed::Unanswered(Unanswered::Undecided(_)) => Ok(None),
        Failed::Unanswered(Unanswered::Refused(Refusal { status, body })) => {
            let body = serde_json::from_str(&body).unwrap_or_default();
            Ok(Some(Planned { refusal: Some(Refused { status, body }), ..Planned::default() }))
        }
    }
}

fn tables(states: &States, needs: &BTreeSet<(&'static str, bool)>) -> Vec<Table> {
    let table = |(endpoint, details): &(&'static str, bool)| {
        let state = states.of(endpoint)?;
        Some(Table {
            endpoint,
            details: *details,
            rows: state.rows,
            synced_at: clock::for_machines(state.synced_at),
            age_seconds: age(state.synced_at),
            scope: state.scope.iter().map(|(name, value)| format!("{name}={value}")).collect(),
        })
    };
    needs.iter().filter_map(table).collect()
}

fn age(at: clock::Millis) -> i64 {
    (clock::now() - at).max(0) / 1000
}

impl MirrorMiss {
    /// Why the mirror does not answer, in a sentence.
    fn sentence(&self) -> String {
        match self {
            Self::NotAsked => "Nothing of the kind is mirrored here.".to_owned(),
            Self::Volatile => "It must be current, so Alyx is asked while it can be reached.".to_owned(),
            Self::Request => "The request wants Alyx's own answer.".to_owned(),
            Self::Undecided(reason) => reason.to_string(),
            Self::Old(table) => format!(
                "The table /{table}, which is needed, was synchronised longer ago than `mirror.max_age` or \
                 `[freshness]` allows, or before a write through this proxy that may have changed it."
            ),
            Self::MayBeNew => {
                "There is no such record here, but it may have been created since the last synchronisation."
                    .to_owned()
            }
        }
    }

    /// What would have the mirror answer it.
    fn remedy(&self) -> Option<String> {
        match self {
            Self::Undecided(reason) => Undecided::remedy(reason),
            Self::Old(_) => Some("It answers again after the next synchronisation.".to_owned()),
            Self::NotAsked | Self::Volatile | Self::Request | Self::MayBeNew => None,
        }
    }
}
