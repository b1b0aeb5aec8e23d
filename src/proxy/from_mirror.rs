//! The floor of the mirror: questions that nobody asked before, answered from whole tables.
//!
//! While Alyx can be reached only tables answer that were synchronised lately enough and after the last write
//! through this proxy that may have touched them. While it can't, tables of any age do.
//!
//! Responses do not depend on the user (ALYX.md 4.1), so what the service account saw may be given to whoever
//! has a token that Alyx accepts. What `access.private_paths` keeps apart is the exception: whoever set it does not
//! trust that, so it is never answered from here.

use std::sync::Arc;

use axum::body::Body;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use super::{
    Exchange,
    catch_up::Costs,
    core::Core,
    error::notice,
    hot_cache::RepeatTerms,
    mirror_budget,
    respond::{ResponseOptions, respond},
    unsealed,
    verify::Samples,
};
use crate::{
    alyx::{Endpoint, Route, filterset::Undecidable},
    cache::{Entry, Question},
    http::{
        Directives,
        cache_status::{CacheStatus, ServedStale},
    },
    mirror::{
        self, Mirror, MirrorError,
        answer::{MirrorAnswer, MirrorOutcome, Recency, TableUse},
        state::States,
    },
    settings::Settings,
    storage::types::CacheKey,
    store::reader_pool::Owner,
};

/// What the mirror has to say to a question.
#[derive(Debug, Clone)]
pub(crate) enum MirrorLookup {
    /// The answer.
    Answer(Arc<Entry>),
    /// Nothing, because of this.
    Miss(MirrorMiss),
}

/// Why the mirror says nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MirrorMiss {
    /// The question is none for a mirror, or there is no mirror.
    NotAsked,
    /// What is asked for must be current.
    Volatile,
    /// The request wants Alyx's own answer.
    Request,
    /// The question can't be decided here.
    Undecided(Undecidable),
    /// These tables are older than is wished, or than a write.
    Old(Vec<&'static str>),
    /// These tables do not hold what was written through the proxy, and Alyx can't be asked.
    Written(Vec<&'static str>),
    /// There is no such record here; a moment ago it may have been created. Of a list without records the tables that were
    /// looked at longer ago than that is believed.
    MayBeNew(Vec<&'static str>),
    /// It had no time for the question.
    Busy,
}

impl MirrorMiss {
    /// One word for it, for `Cache-Status` and explanations; none where there is nothing to say.
    pub(crate) fn name(&self) -> Option<&'static str> {
        match self {
            Self::NotAsked => None,
            Self::Volatile => Some("never-fresh"),
            Self::Request => Some("request"),
            Self::Undecided(reason) => Some(reason.name()),
            Self::Old(_) => Some("not-synchronised"),
            Self::Written(_) => Some(WRITTEN),
            Self::MayBeNew(_) => Some("may-be-new"),
            Self::Busy => Some("mirror-busy"),
        }
    }
}

/// Why what may be from before a write is not given.
pub(super) const WRITTEN: &str = "written";

/// What a question asks of the mirror.
#[derive(Debug)]
pub(crate) struct MirrorQuery<'a> {
    pub(crate) mirror: &'a Arc<Mirror>,
    pub(crate) endpoint: &'static Endpoint,
    /// The key of a detail.
    pub(crate) key: Option<String>,
}

/// An answer that is kept for as long as the tables stay as they are.
#[derive(Debug, Clone)]
pub(crate) struct CachedAnswer {
    pub(crate) version: i64,
    today: jiff::civil::Date,
    zone: jiff::tz::TimeZone,
    /// The tables that it was made from.
    pub(crate) tables: Vec<TableUse>,
    /// The parameters that took effect.
    pub(crate) used: Vec<&'static str>,
    pub(crate) entry: Arc<Entry>,
}

impl CachedAnswer {
    /// Whether it was made on this day.
    pub(super) fn is_of_day(&self, today: jiff::civil::Date) -> bool {
        self.today == today
    }
}

/// Answers of the mirror that were given lately, by the key of the question.
#[derive(Debug)]
pub(crate) struct MirrorAnswerCache(moka::sync::Cache<CacheKey, CachedAnswer>);

impl MirrorAnswerCache {
    /// Keeps so many bytes at the most.
    pub(crate) fn new(bytes: u64) -> Self {
        let weight =
            |_: &CacheKey, kept: &CachedAnswer| u32::try_from(kept.entry.weight()).unwrap_or(u32::MAX);
        Self(moka::sync::Cache::builder().weigher(weight).max_capacity(bytes).build())
    }
}

/// The floor of the mirror.
#[derive(Debug)]
pub(crate) struct FromMirror {
    pub(crate) core: Arc<Core>,
    /// What the mirror said lately.
    answers: MirrorAnswerCache,
    /// Some of the questions that it answered, to be put to Alyx too.
    pub(crate) samples: Samples,
    /// How long Alyx takes for questions.
    pub(super) costs: Costs,
}

impl FromMirror {
    pub(crate) fn new(core: Arc<Core>, bytes: u64) -> Self {
        Self {
            core,
            answers: MirrorAnswerCache::new(bytes),
            samples: Samples::default(),
            costs: Costs::default(),
        }
    }

    /// The mirror's answer to a question while Alyx can be reached.
    pub(crate) async fn mirrored_now(
        &self,
        asked: &Exchange,
        question: &Question,
        directives: &Directives,
        owner: Owner,
    ) -> MirrorLookup {
        match self.recency(question, &asked.settings, directives) {
            Ok(recency) => self.mirrored_since(asked, question, recency, owner).await,
            Err(silence) => MirrorLookup::Miss(silence),
        }
    }

    /// The same from tables that are so recent.
    pub(crate) async fn mirrored_since(
        &self,
        asked: &Exchange,
        question: &Question,
        recency: Recency,
        owner: Owner,
    ) -> MirrorLookup {
        self.mirrored(question, &asked.settings, Some(recency), owner).await
    }

    /// The mirror's answer to a question; from tables of any age where `recency` is none.
    pub(crate) async fn mirrored(
        &self,
        question: &Question,
        settings: &Settings,
        recency: Option<Recency>,
        owner: Owner,
    ) -> MirrorLookup {
        let budget = self.core.synchroniser.as_ref().map(|synchroniser| &synchroniser.budget);
        let is_online = recency.is_some();
        match self.kept(question, settings, recency, owner).await {
            Ok(kept) => {
                if let Some(budget) = budget {
                    budget.note_uses(kept.tables.iter().map(|table| table.endpoint));
                }
                match self.may_be_new(&kept, settings).filter(|_| is_online) {
                    Some(tables) => MirrorLookup::Miss(MirrorMiss::MayBeNew(tables)),
                    None => MirrorLookup::Answer(kept.entry),
                }
            }
            Err(miss) => {
                if let (Some(budget), MirrorMiss::Old(tables)) = (budget, &miss) {
                    budget.note_uses(tables.iter().copied());
                }
                mirror_budget::note(&self.core.activity, question, &miss);
                MirrorLookup::Miss(miss)
            }
        }
    }

    /// The same with what is known of the answer.
    pub(crate) async fn kept(
        &self,
        question: &Question,
        settings: &Settings,
        recency: Option<Recency>,
        owner: Owner,
    ) -> Result<CachedAnswer, MirrorMiss> {
        let MirrorQuery { mirror, endpoint, key } = self.mirror_for(question)?;
        let today = self.core.mode.today(settings, self.core.clock.now());
        let zone = self.core.mode.zone(settings);
        // What a snapshot was made of was written before.
        let alone = || {
            self.core
                .mode
                .snapshot()
                .is_none()
                .then(|| Recency::alone(self.core.responses.surely_written_lists()))
        };
        let recency = recency.or_else(alone);
        if let Some(kept) = self.answers.0.get(&question.key)
            && kept.version == mirror.version()
            && kept.today == today
            && kept.zone == zone
            && recency.as_ref().is_none_or(|recency| allowed(&kept.tables, recency, &mirror.states()))
        {
            return Ok(kept);
        }
        let is_alone = recency.as_ref().is_none_or(|recency| recency.alone);
        let request = mirror_budget::request(question, owner, settings, is_alone);
        let (question, base) = (question.clone(), self.core.upstream.base().to_owned());
        let seal = self.core.seal.clone();
        let look = move |connection: &rusqlite::Connection, states: &Arc<mirror::state::States>| {
            let asked = mirror::answer::MirrorQuestion {
                endpoint,
                key: key.as_deref(),
                pairs: &question.pairs,
                url: &format!("{base}{}", question.path),
                today,
                zone: Some(&zone),
                recency: recency.as_ref(),
            };
            let outcome = mirror::answer::answer(connection, states, &asked)?;
            let outcome = unsealed::opened(outcome, endpoint.name, &seal);
            Ok(outcome.map(|answer| (question.key, keep(answer, &question, (today, zone.clone()), &base))))
        };
        match mirror.read_within(request, look).await {
            Ok(MirrorOutcome::Answer((key, Some(kept)))) => {
                self.answers.0.insert(key, kept.clone());
                Ok(kept)
            }
            Ok(MirrorOutcome::Answer((_, None))) => {
                tracing::error!(endpoint = endpoint.name, "the mirror made an answer that is no JSON");
                Err(MirrorMiss::NotAsked)
            }
            Ok(MirrorOutcome::Undecided(reason)) => Err(MirrorMiss::Undecided(reason)),
            Ok(MirrorOutcome::Old(tables)) if is_alone => Err(MirrorMiss::Written(tables)),
            Ok(MirrorOutcome::Old(tables)) => Err(MirrorMiss::Old(tables)),
            Err(error) => Err(failed(&error)),
        }
    }

    /// What was said lately to this question.
    pub(super) fn lately(&self, question: &Question) -> Option<CachedAnswer> {
        self.answers.0.get(&question.key)
    }

    /// The mirror, and what a question asks of it.
    pub(crate) fn mirror_for(&self, question: &Question) -> Result<MirrorQuery<'_>, MirrorMiss> {
        let mirror = self.core.mirror.as_ref().ok_or(MirrorMiss::NotAsked)?;
        let (endpoint, key) = match &question.route {
            Route::List(endpoint) => (*endpoint, None),
            Route::Detail(endpoint, key) => (*endpoint, Some(key.clone())),
            Route::Service(_) | Route::Other => return Err(MirrorMiss::NotAsked),
        };
        if mirror.states().iter().next().is_none() {
            return Err(MirrorMiss::NotAsked);
        }
        if !question.media.is_plain() {
            let what = "make any other form of JSON than Alyx's plain one from its tables";
            return Err(MirrorMiss::Undecided(Undecidable::unsupported(what)));
        }
        if question.owner.is_some() {
            let what = "answer from its tables what `access.private_paths` keeps apart";
            return Err(MirrorMiss::Undecided(Undecidable::unsupported(what)));
        }
        Ok(MirrorQuery { mirror, endpoint, key })
    }

    /// Gives an answer of the mirror's: for which reason, where its tables are not as recent as they should be, and whether
    /// one was brought up to date for it; on what terms it may be given again.
    pub(crate) async fn give_mirrored(
        &self,
        asked: &Exchange,
        question: &Question,
        entry: &Arc<Entry>,
        (reason, caught_up): (Option<ServedStale>, bool),
        again: Option<RepeatTerms>,
    ) -> Response<Body> {
        let clock = match &question.route {
            Route::List(endpoint) | Route::Detail(endpoint, _) => !endpoint.clock.is_empty(),
            Route::Service(_) | Route::Other => false,
        };
        let as_synchronised = clock && entry.status == StatusCode::OK;
        let how = CacheStatus::Mirror { reason, as_synchronised, caught_up };
        let notice = reason.and_then(|reason| notice(&self.core, reason));
        respond(&self.core, asked, question, entry, ResponseOptions { how, notice, again }).await
    }
}

/// What it means that the mirror could not be looked into.
fn failed(error: &MirrorError) -> MirrorMiss {
    match error {
        MirrorError::TooCostly => MirrorMiss::Undecided(Undecidable::TooCostly),
        MirrorError::Busy => MirrorMiss::Busy,
        error => {
            // Damage is told once, by the mirror itself.
            if error.is_corruption() {
                tracing::debug!(%error, "the mirror can't be read");
            } else {
                tracing::error!(%error, "the mirror can't be read");
            }
            MirrorMiss::NotAsked
        }
    }
}

fn allowed(tables: &[TableUse], recency: &Recency, states: &States) -> bool {
    tables.iter().all(|table| recency.allows(table, states))
}

fn keep(
    mut answer: MirrorAnswer,
    question: &Question,
    (today, zone): (jiff::civil::Date, jiff::tz::TimeZone),
    base: &str,
) -> Option<CachedAnswer> {
    let synced_at = answer.synced_at();
    let status = StatusCode::from_u16(answer.status).ok()?;
    let body = std::mem::take(&mut answer.body).into();
    let entry = Entry::made(status, headers_of(&question.route), body, question, synced_at, base)?;
    let MirrorAnswer { tables, used, version, .. } = answer;
    Some(CachedAnswer { version, today, zone, tables, used, entry: Arc::new(entry) })
}

/// The fields of Alyx's own answers of this route.
fn headers_of(route: &Route) -> HeaderMap {
    const ALWAYS: [(&str, &str); 6] = [
        ("content-type", "application/json"),
        ("vary", "Accept, Cookie"),
        ("x-frame-options", "DENY"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
    ];
    let mut headers: HeaderMap = ALWAYS
        .into_iter()
        .map(|(name, value)| (header::HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect();
    if let Ok(methods) = HeaderValue::try_from(route.methods()) {
        headers.insert(header::ALLOW, methods);
    }
    headers
}
