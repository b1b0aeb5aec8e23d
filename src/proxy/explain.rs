//! Why a read is answered as it is: with `X-Alyx-Proxy-Explain: 1` it gets this instead of records.
//!
//! It runs the floors without carrying out what they decide, and says so: whether the mirror, a stored answer or
//! Alyx would answer, why, from which tables and by which SQL. It takes the same token as the read itself: the SQL
//! shows nothing of the records, but errors of a plan may.

use std::{collections::BTreeSet, sync::Arc};

use axum::body::Body;
use http::{HeaderMap, HeaderName, Response, StatusCode};
use serde::Serialize;
use serde_json::Value;

use super::{
    Exchange,
    authorize::{Authorization, authorize},
    error,
    floors::{Decision, LocalAnswer, Step, decide, decide_without_alyx},
    from_mirror::{FromMirror, MirrorLookup, MirrorMiss},
    mirror_budget,
    read::Read,
};
use crate::{
    alyx::{
        Endpoint, Route,
        filterset::{AlyxError, QueryError, Undecidable},
        pagination::Window,
        query_string,
    },
    cache::{Freshness, Question},
    clock::{self, Millis},
    http::cache_status::{BypassReason, CacheStatus},
    mirror::{
        plan::{self, PlanError},
        state::States,
    },
    store::reader_pool::Owner,
    upstream::UpstreamError,
};

/// The field that asks for an explanation.
const WISH: HeaderName = HeaderName::from_static("x-alyx-proxy-explain");

/// Whether a request asks for an explanation.
pub(crate) fn is_wished(headers: &HeaderMap) -> bool {
    headers.get(WISH).is_some_and(|wish| !matches!(wish.as_bytes(), b"" | b"0" | b"false"))
}

#[derive(Debug, Serialize)]
struct Explanation {
    path: String,
    endpoint: Option<&'static str>,
    /// `mirror`, `stored`, `forwarded` or `refused`.
    decision: &'static str,
    /// The word for it in `Cache-Status`, where the mirror does not answer.
    reason: Option<&'static str>,
    /// Why, in a sentence.
    why: String,
    /// What would have the mirror answer it.
    remedy: Option<String>,
    /// What Alyx would be asked so that the mirror can answer it.
    would_ask: Vec<String>,
    /// What would answer it without Alyx: `mirror`, `stored` or nothing (`refused`).
    offline: &'static str,
    /// Whether Alyx can be reached, as far as is known.
    upstream: &'static str,
    /// Parameters that Alyx disregards, as it has none of that name here.
    ignored: Vec<String>,
    /// The plan of the mirror's answer, where it has one.
    plan: Option<Planned>,
    /// What is stored for this very question.
    stored: Option<StoredReport>,
}

#[derive(Debug, Default, Serialize)]
struct Planned {
    /// The tables that it needs.
    tables: Vec<TableReport>,
    /// The parameters that take effect; all others are disregarded, as by Alyx.
    parameters: Vec<String>,
    /// The SQL that counts.
    count: Option<String>,
    /// The SQL that finds the page's records.
    page: Option<String>,
    /// Alyx's own refusal, where it refuses.
    refusal: Option<RefusedReport>,
}

#[derive(Debug, Serialize)]
struct RefusedReport {
    status: u16,
    body: Value,
}

#[derive(Debug, Serialize)]
struct TableReport {
    endpoint: &'static str,
    details: bool,
    rows: u64,
    synced_at: String,
    age_seconds: i64,
    scope: Vec<String>,
}

#[derive(Debug, Serialize)]
struct StoredReport {
    asked_at: String,
    age_seconds: i64,
    fresh: bool,
}

impl Read<'_> {
    /// Says what the floors decide; a caller whom Alyx has yet to judge is judged first.
    pub(super) async fn explain(mut self) -> Response<Body> {
        let down = self.core.upstream.health.is_down();
        self.explains = true;
        if down {
            if let Step::Answer(LocalAnswer::Refuse(refusal)) = self.unauthorized(&UpstreamError::Offline) {
                return refusal.into();
            }
        } else if self.authorization != Authorization::Granted {
            let said = self.judge().await;
            self.authorization = authorize(self.core, self.credentials, self.exchange);
            if let Some(said) = said.filter(|_| !self.authorization.sees_stored()) {
                return said;
            }
        }
        let decision = decide(&mut self).await;
        self.look_up().await;
        let offline = decide_without_alyx(&self, &UpstreamError::Offline).await;
        let (name, offline, why) = (name_of(&decision), name_of(&offline.into()), known_reason(&decision));
        let (reason, why, remedy) = if let Some(why) = why {
            (None, why.to_owned(), None)
        } else {
            let miss = self.why_no_mirror(down).await;
            let remedy = match &miss {
                MirrorMiss::Undecided(undecided) => error::remedy(self.core, undecided),
                miss => miss.remedy(),
            };
            (miss.name(), miss.sentence(), remedy)
        };
        let explanation = Explanation {
            path: self.question.path_and_query.clone(),
            endpoint: self.floors.mirror.mirror_for(self.question).ok().map(|target| target.endpoint.name),
            decision: name,
            reason,
            why,
            remedy,
            would_ask: std::mem::take(&mut self.would_ask),
            offline,
            upstream: self.core.upstream.health.state().name(),
            ignored: ignored(self.question),
            plan: self.floors.mirror.planned(self.exchange, self.question, self.owner()).await,
            stored: self.cached.as_ref().map(|cached| StoredReport {
                asked_at: clock::for_machines(cached.entry.asked_at),
                age_seconds: age(self.core.clock.now(), cached.entry.asked_at),
                fresh: matches!(cached.freshness, Freshness::Fresh { .. }),
            }),
        };
        let body = serde_json::to_string_pretty(&explanation).unwrap_or_default();
        error::json(StatusCode::OK, format!("{body}\n"), CacheStatus::Internal)
    }

    /// Why the mirror does not answer.
    async fn why_no_mirror(&self, down: bool) -> MirrorMiss {
        if down {
            match self
                .floors
                .mirror
                .mirrored(self.question, &self.exchange.settings, None, self.owner())
                .await
            {
                MirrorLookup::Miss(miss) => miss,
                MirrorLookup::Answer(_) => MirrorMiss::NotAsked,
            }
        } else {
            self.miss.clone()
        }
    }
}

/// Why it is decided so, where that is not for the mirror to say.
fn known_reason(decision: &Decision) -> Option<&'static str> {
    match decision {
        Decision::Local(LocalAnswer::Mirror { .. } | LocalAnswer::Own(_)) => {
            Some("The tables that it needs are here.")
        }
        Decision::PassThrough(BypassReason::TooLarge) => {
            Some("Its answer was larger than `cache.max_response` a moment ago.")
        }
        Decision::PassThrough(_) => Some("The request wants Alyx's own answer, and nothing of it kept."),
        Decision::Local(_) | Decision::Upstream => None,
    }
}

/// The parameters of a question that Alyx disregards, as it has none of that name here: mostly typing mistakes.
fn ignored(question: &Question) -> Vec<String> {
    let known = |name: &str| match &question.route {
        Route::List(endpoint) => {
            ["limit", "offset", "format"].contains(&name) || endpoint.filter(name).is_some()
        }
        Route::Detail(..) => name == "format",
        Route::Service(_) | Route::Other => true,
    };
    query_string::parse(question.query())
        .into_iter()
        .map(|(name, _)| name)
        .filter(|name| !known(name))
        .collect()
}

fn name_of(decision: &Decision) -> &'static str {
    match decision {
        Decision::Local(LocalAnswer::Mirror { .. } | LocalAnswer::Own(_)) => "mirror",
        Decision::Local(LocalAnswer::Fresh { .. } | LocalAnswer::Stale { .. }) => "stored",
        Decision::Local(LocalAnswer::Refuse(_)) => "refused",
        Decision::Upstream | Decision::PassThrough(_) => "forwarded",
    }
}

impl FromMirror {
    async fn planned(&self, asked: &Exchange, question: &Question, owner: Owner) -> Option<Planned> {
        let target = self.mirror_for(question).ok()?;
        let request = mirror_budget::request(question, owner, &asked.settings, false);
        let now = self.core.clock.now();
        let today = plan::Today {
            date: self.core.mode.today(&asked.settings, now),
            zone: Some(self.core.mode.zone(&asked.settings)),
        };
        let (endpoint, key, question) = (target.endpoint, target.key, question.clone());
        let look = move |connection: &rusqlite::Connection, states: &Arc<States>| {
            if let Some(key) = key {
                of_detail(plan::detail(connection, states, endpoint, &key), endpoint, states, now)
            } else {
                let window = Window::of(&question.pairs);
                of_list(plan::list(connection, states, endpoint, &question.pairs, today), window, states, now)
            }
        };
        target.mirror.read_within(request, look).await.ok()?
    }
}

fn of_list(
    plan: Result<plan::ListPlan, PlanError>,
    window: Window,
    states: &States,
    now: Millis,
) -> rusqlite::Result<Option<Planned>> {
    match plan {
        Ok(plan) => {
            let (count, page) = plan.shown(window);
            Ok(Some(Planned {
                tables: tables(now, states, &plan.needs),
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
    text: Result<String, PlanError>,
    endpoint: &'static Endpoint,
    states: &States,
    now: Millis,
) -> rusqlite::Result<Option<Planned>> {
    match text {
        Ok(_) => {
            let needs = BTreeSet::from([(endpoint.name, endpoint.has_own_details())]);
            Ok(Some(Planned { tables: tables(now, states, &needs), ..Planned::default() }))
        }
        Err(failed) => of_failed(failed),
    }
}

fn of_failed(failed: PlanError) -> rusqlite::Result<Option<Planned>> {
    match failed {
        PlanError::Sqlite(error) => Err(error),
        PlanError::Unanswered(QueryError::Undecided(_)) => Ok(None),
        PlanError::Unanswered(QueryError::Refused(AlyxError { status, body })) => {
            let body = serde_json::from_str(&body).unwrap_or_default();
            Ok(Some(Planned { refusal: Some(RefusedReport { status, body }), ..Planned::default() }))
        }
    }
}

fn tables(now: Millis, states: &States, needs: &BTreeSet<(&'static str, bool)>) -> Vec<TableReport> {
    let table = |(endpoint, details): &(&'static str, bool)| {
        let state = states.of(endpoint)?;
        Some(TableReport {
            endpoint,
            details: *details,
            rows: state.rows,
            synced_at: clock::for_machines(state.synced_at),
            age_seconds: age(now, state.synced_at),
            scope: state.scope.iter().map(|(name, value)| format!("{name}={value}")).collect(),
        })
    };
    needs.iter().filter_map(table).collect()
}

fn age(now: Millis, at: Millis) -> i64 {
    (now - at).max(0) / 1000
}

impl MirrorMiss {
    /// Why the mirror does not answer, in a sentence.
    fn sentence(&self) -> String {
        match self {
            Self::NotAsked => "Nothing of the kind is mirrored here.".to_owned(),
            Self::Volatile => "It must be current, so Alyx is asked while it can be reached.".to_owned(),
            Self::Request => "The request wants Alyx's own answer.".to_owned(),
            Self::Undecided(reason) => reason.to_string(),
            Self::Old(tables) => format!(
                "The table /{}, which is needed, was synchronised longer ago than `mirror.max_age` or \
                 `[freshness]` allows, or before a write through this proxy that may have changed it.",
                tables.join(", /")
            ),
            Self::Written(tables) => format!(
                "The table /{}, which is needed, was synchronised before something was written through this proxy that may \
                 have changed it.",
                tables.join(", /")
            ),
            Self::Busy => {
                "The mirror had no time for it: it answers others, or its disk is slow. Try again.".to_owned()
            }
            Self::MayBeNew(_) => {
                "There is no such record here, but it may have been created since the last synchronisation."
                    .to_owned()
            }
        }
    }

    /// What would have the mirror answer it.
    fn remedy(&self) -> Option<String> {
        match self {
            Self::Undecided(reason) => Undecidable::remedy(reason),
            Self::Old(_) | Self::Written(_) => {
                Some("It answers again after the next synchronisation.".to_owned())
            }
            Self::NotAsked | Self::Volatile | Self::Request | Self::MayBeNew(_) | Self::Busy => None,
        }
    }
}
