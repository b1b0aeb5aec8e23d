//! The floor that stands in for Alyx, while it is slow or away: what is stored or mirrored, however old.

use std::{sync::Arc, time::Duration};

use axum::body::Body;
use http::{HeaderValue, Response, StatusCode, header};

use super::{
    authorize::{is_away, refuse_caller},
    error::{ProxyError, before_a_write, gateway_timeout, not_stored, retry_later},
    files,
    floors::{LocalAnswer, Step},
    from_cache::{CachedEntry, cut_of},
    from_mirror::{MirrorLookup, MirrorMiss},
    read::Read,
};
use crate::{
    alyx::{Route, filterset::Undecidable, invalidates::Scope, route::appended_slash},
    cache::Entry,
    http::{
        Directives,
        cache_status::{CacheStatus, RefusalReason, ServedStale},
    },
    upstream::UpstreamError,
};

/// Why what is stored is not given.
const ONLY_OLDER: &str = "An older answer is stored, but a current one was asked for, or what is asked must be current, and Alyx \
                          is not known to be away. Try again.";

impl Read<'_> {
    /// Django's own redirect to the path with a slash, which ONE counts on (ALYX.md 5).
    pub(super) fn redirect(&self) -> Step<LocalAnswer> {
        let to = appended_slash(&self.question.route, &self.question.path);
        to.map_or(Step::Next, |to| Step::Answer(LocalAnswer::Own(Box::new(moved_permanently(&to)))))
    }

    /// The refusal of a caller whom only Alyx could judge.
    pub(super) fn unauthorized(&self, failure: &UpstreamError) -> Step<LocalAnswer> {
        let refusal = refuse_caller(self.core, self.authorization, failure, &self.question.route);
        refusal.map_or(Step::Next, |refusal| Step::Answer(LocalAnswer::Refuse(refusal)))
    }

    /// What stands in for an answer of Alyx's; of any age where Alyx is away. Otherwise why the mirror has none.
    pub(super) async fn stale(&self, failure: &UpstreamError) -> Result<LocalAnswer, MirrorMiss> {
        let away = is_away(self.core, failure);
        let mirrored = if away {
            self.floors.mirror.mirrored(self.question, &self.exchange.settings, None, self.owner()).await
        } else {
            self.mirrored_when_slow().await
        };
        let cached = self.cached.as_ref().filter(|cached| match &mirrored {
            _ if !away => cached.may_stand_in(),
            MirrorLookup::Miss(MirrorMiss::Written(_)) => !cached.is_from_before_a_write(),
            _ => !self.is_before_own_write(cached),
        });
        self.newer(cached, mirrored, ServedStale::Offline)
    }

    /// What stands in while Alyx takes its time, once `upstream.serve_stale_after` is over; never completes where
    /// nothing does.
    pub(super) async fn when_slow(&self) -> LocalAnswer {
        let wait = self.exchange.settings.upstream.serve_stale_after.0;
        tokio::time::sleep_until((self.core.clock.instant() + wait).into()).await;
        let cached = self.cached.as_ref().filter(|cached| cached.may_stand_in());
        match self.newer(cached, self.mirrored_when_slow().await, ServedStale::Slow) {
            Ok(answer) => answer,
            Err(_) => std::future::pending().await,
        }
    }

    /// The newer of what is stored and what is mirrored.
    fn newer(
        &self,
        cached: Option<&CachedEntry>,
        mirrored: MirrorLookup,
        reason: ServedStale,
    ) -> Result<LocalAnswer, MirrorMiss> {
        let stale = |cached: &CachedEntry| LocalAnswer::Stale { cached: cached.clone(), reason };
        match (cached, mirrored) {
            (Some(cached), MirrorLookup::Answer(entry)) if self.prefers(cached, &entry) => Ok(stale(cached)),
            (_, MirrorLookup::Answer(entry)) => {
                Ok(LocalAnswer::Mirror { entry, stands_in: Some(reason), caught_up: false })
            }
            (Some(cached), MirrorLookup::Miss(_)) => Ok(stale(cached)),
            (None, MirrorLookup::Miss(miss)) => Err(miss),
        }
    }

    /// Whether just what is asked for was written through the proxy since it was stored: nobody shall have the state before.
    /// Of lists that is known where their tables are here; else an old one is better than none.
    fn is_before_own_write(&self, cached: &CachedEntry) -> bool {
        let since = |scope| self.core.responses.marked_at(&scope) >= cached.entry.asked_at;
        let mirrored =
            |name| self.core.mirror.as_ref().is_some_and(|mirror| mirror.states().of(name).is_some());
        cached.is_from_before_a_write()
            && match &self.question.route {
                Route::Detail(endpoint, key) => since(Scope::Record(endpoint.name, key.clone())),
                Route::List(endpoint) => mirrored(endpoint.name) && since(Scope::Table(endpoint.name)),
                Route::Service(_) | Route::Other => false,
            }
    }

    /// Whether a stored answer is to be preferred to the mirror's: it is the newer one, and no write came
    /// after it. One page of many is not: its siblings come from the mirror, and pages of two times don't fit.
    fn prefers(&self, cached: &CachedEntry, mirrored: &Arc<Entry>) -> bool {
        let one_of_many = self.question.window.is_some_and(|window| {
            window.offset > 0 || cached.entry.count().is_some_and(|count| count > window.limit)
        });
        cached.entry.asked_at > mirrored.asked_at && !cached.is_from_before_a_write() && !one_of_many
    }

    /// From tables of any age that have seen the last write, where the request asks for nothing fresher; nobody shall
    /// miss their own.
    async fn mirrored_when_slow(&self) -> MirrorLookup {
        if !self.authorization.sees_stored() || self.directives.min_fresh.is_some() {
            return MirrorLookup::Miss(MirrorMiss::Request);
        }
        let directives = Directives { max_stale: Some(Duration::MAX), ..self.directives };
        self.floors.mirror.mirrored_now(self.exchange, self.question, &directives, self.owner()).await
    }

    /// ONE's cache tables can be made here, where Alyx has not said how its own are.
    pub(super) async fn own_description(&self) -> Step<LocalAnswer> {
        if !files::describes_all(self.question) {
            return Step::Next;
        }
        let own = self.floors.tables.give_own_description(self.exchange, Some(ServedStale::Offline)).await;
        own.map_or(Step::Next, |own| Step::Answer(LocalAnswer::Own(Box::new(own))))
    }

    /// The refusal where nothing stands in: what is missing, and how to have it next time.
    pub(super) async fn not_stored(&self, failure: &UpstreamError, miss: &MirrorMiss) -> ProxyError {
        let stored = self.core.responses.find(self.question).await;
        let cut = stored.and_then(|(entry, _)| cut_of(self.question, &entry));
        let cut = cut.map(|endpoint| MirrorMiss::Undecided(Undecidable::KeysLeftOut { endpoint }));
        let miss = cut.as_ref().unwrap_or(miss);
        match retry_later(failure) {
            Some(refusal) => refusal,
            None if matches!(miss, MirrorMiss::Written(_)) => {
                not_stored(self.core, failure, self.question, miss).await
            }
            None if self.cached.as_ref().is_some_and(|cached| self.is_before_own_write(cached)) => {
                before_a_write(self.core, failure)
            }
            None if self.cached.is_some() => gateway_timeout(self.core, failure, ONLY_OLDER),
            None => not_stored(self.core, failure, self.question, miss).await,
        }
    }
}

fn moved_permanently(to: &str) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    if let Ok(to) = HeaderValue::try_from(to) {
        headers.insert(header::LOCATION, to);
    }
    CacheStatus::Refused(RefusalReason::OfflineRedirect).mark(&mut response);
    response
}
