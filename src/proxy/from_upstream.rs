//! The floor that asks Alyx, once for all who ask the same.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use axum::body::Body;
use http::{HeaderMap, Response, header};

use super::{
    authorize::{Authorization, authorize, caller},
    core::Core,
    denied, files,
    floors::decide_without_alyx,
    from_cache::CachedEntry,
    passthrough::give_unstored,
    read::Read,
    respond::{ResponseOptions, respond},
    verify,
};
use crate::{
    alyx::error_body,
    auth::{Credentials, TokenStatus},
    cache::{Entry, Freshness, Question, is_personal},
    clock::Millis,
    http::{
        cache_status::{CacheStatus, ForwardReason},
        reuse::Staleness,
    },
    single_flight::{Flights, SendState, Waiter},
    storage::types::{CacheKey, TokenHash},
    upstream::{UpstreamError, UpstreamRequest, UpstreamResponse},
};

/// Grace period for a request that was never sent to report why.
const REPORT_GRACE: Duration = Duration::from_millis(100);

/// An answer that was too large to be remembered may be smaller the next time.
const LARGE_TTL: Duration = Duration::from_mins(10);

/// What a flight brings: Alyx's answer and, if it may be remembered, its entry.
pub(super) type FlightResult = Result<Arc<Fetched>, UpstreamError>;

/// Who may share a flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum CoalesceScope {
    /// All whose tokens Alyx has accepted.
    Shared,
    /// The holders of one token that Alyx has yet to judge.
    PerToken(TokenHash),
    /// Nobody else.
    Never(u64),
    /// Those who let an answer be refreshed behind their backs and are let in only because everybody is.
    Background,
}

/// Requests coalesce if key, scope and the time of the last write are equal.
type FlightKey = (CacheKey, CoalesceScope, Millis);

/// An answer fresh from Alyx.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) answer: UpstreamResponse,
    pub(super) entry: Option<Arc<Entry>>,
}

/// The floor that asks Alyx.
#[derive(Debug)]
pub(crate) struct FromUpstream {
    flights: Flights<FlightKey, FlightResult>,
    /// Questions whose answers are too large to be remembered: they are passed on at once.
    large: moka::sync::Cache<CacheKey, ()>,
    /// Numbers for flights that nobody may share.
    alone: AtomicU64,
}

impl FromUpstream {
    pub(super) fn new() -> Self {
        let large = moka::sync::Cache::builder().max_capacity(10_000).time_to_live(LARGE_TTL).build();
        Self { flights: Flights::default(), large, alone: AtomicU64::default() }
    }

    /// Whether the answer to this question was too large to be stored lately.
    pub(super) fn was_too_large(&self, question: &Question) -> bool {
        self.large.contains_key(&question.key)
    }
}

impl Core {
    /// Asks Alyx, remembers what it says, and learns what the token is worth.
    async fn ask_alyx(
        &self,
        request: UpstreamRequest,
        state: SendState,
        question: Question,
        credentials: Credentials,
    ) -> FlightResult {
        let answer = self.upstream.fetch_coalesced(&request, &state).await?;
        self.learn(&credentials, &answer).await;
        if let Some(token) = credentials.token() {
            denied::learn(self, token, &question.route, &answer).await;
        }
        let entry = self.responses.remember(&question, &answer).await;
        Ok(Arc::new(Fetched { answer, entry }))
    }
}

impl Read<'_> {
    /// Alyx's answer, or what stands in for it; `None` if it is too large to be remembered.
    pub(super) async fn ask_alyx(&self) -> Option<Response<Body>> {
        let mut waiter = self.join(false);
        let start = self.core.clock.instant();
        let mut joined = waiter.joined;
        let slow = self.when_slow();
        tokio::pin!(slow);
        for _ in 0..2 {
            let outcome = tokio::select! {
                outcome = self.outcome(&mut waiter, start) => outcome,
                answer = &mut slow => {
                    // What is stored is refreshed all the same.
                    if self.cached.is_some() {
                        waiter.detach();
                    }
                    return Some(self.give(answer).await);
                }
            };
            match outcome {
                // Another one's token was refused, what came is for that one only, or the flight was lost: each for itself.
                Some(Ok(fetched)) if joined && is_of_one_alone(&fetched.answer) => {}
                None => {}
                Some(Ok(fetched)) => return Some(self.deliver(&fetched, joined).await),
                Some(Err(UpstreamError::TooLarge)) => {
                    self.floors.upstream.large.insert(self.question.key, ());
                    return None;
                }
                Some(Err(failure)) => return Some(self.without_alyx(&failure).await),
            }
            waiter = self.join(true);
            joined = false;
        }
        Some(self.without_alyx(&UpstreamError::Reset).await)
    }

    /// What can be said where asking Alyx came to this.
    pub(super) async fn without_alyx(&self, failure: &UpstreamError) -> Response<Body> {
        self.give(decide_without_alyx(self, failure).await).await
    }

    /// Asks Alyx for a caller whom it has yet to judge. `None` where it has accepted the caller; otherwise what it said, or
    /// what can be said without it.
    pub(super) async fn judge(&self) -> Option<Response<Body>> {
        match self.outcome(&mut self.join(true), self.core.clock.instant()).await {
            Some(Ok(_)) if authorize(self.core, self.credentials, self.exchange).sees_stored() => None,
            Some(Ok(fetched)) => Some(self.deliver(&fetched, false).await),
            Some(Err(failure)) => Some(self.without_alyx(&failure).await),
            None => Some(self.without_alyx(&UpstreamError::Reset).await),
        }
    }

    /// Joins the in-flight fetch for this question, or starts one.
    fn join(&self, alone: bool) -> Waiter<FlightResult> {
        // A token that Alyx has yet to judge must not get what was fetched with another one.
        self.join_within(match (self.authorization, self.credentials.token()) {
            (Authorization::Granted, token) if !alone && !self.is_unknown(token) => CoalesceScope::Shared,
            (_, Some(token)) => CoalesceScope::PerToken(token),
            (_, None) => CoalesceScope::Never(self.floors.upstream.alone.fetch_add(1, Ordering::Relaxed)),
        })
    }

    /// Has a stored answer refreshed while it is given: once, however many ask for it meanwhile.
    pub(super) fn revalidate(&self) {
        let unknown = self.is_unknown(self.credentials.token());
        self.join_within(if unknown { CoalesceScope::Background } else { CoalesceScope::Shared }).detach();
    }

    fn join_within(&self, scope: CoalesceScope) -> Waiter<FlightResult> {
        let (core, question, credentials) =
            (self.core.clone(), self.question.clone(), self.credentials.clone());
        let request = self.request();
        let key = (question.key, scope, core.responses.written_at(&question));
        self.floors.upstream.flights.get_or_start(key, move |state| async move {
            core.ask_alyx(request, state, question, credentials).await
        })
    }

    /// What a flight brings, as long as it may be waited for: `upstream.timeout` from `start`, and while Alyx is not
    /// known to be away.
    async fn outcome(&self, waiter: &mut Waiter<FlightResult>, start: Instant) -> Option<FlightResult> {
        let deadline = start + self.exchange.settings.upstream.timeout.0;
        tokio::select! {
            outcome = waiter.wait() => return outcome,
            () = tokio::time::sleep_until(deadline.into()) => {}
            () = self.core.upstream.health.until_down() => return Some(Err(UpstreamError::Offline)),
        }
        if waiter.send_state.is_sent() {
            return Some(Err(UpstreamError::Timeout));
        }
        let why = tokio::time::timeout(REPORT_GRACE, waiter.wait()).await;
        why.unwrap_or_else(|_| Some(Err(self.core.upstream.saturated(start))))
    }

    /// Whether the token is to be asked about again, and this answer says nothing of it.
    pub(super) fn leaves_token_open(&self, response: &Response<Body>) -> bool {
        let status = response.status();
        let said =
            status.is_success() || status.is_redirection() || matches!(status.as_u16(), 401 | 403 | 429);
        let asked = matches!(response.extensions().get(), Some(CacheStatus::Forwarded { .. }));
        self.authorization == Authorization::GrantedAfterRevalidation && asked && !said
    }

    /// Asks Alyx something else with the token; whether it counts.
    pub(super) async fn check_token(&self) -> bool {
        denied::check_token(self.core, self.credentials, self.request()).await
    }

    /// Whether somebody is let in only because everybody is (`access.anonymous`).
    fn is_unknown(&self, token: Option<TokenHash>) -> bool {
        let access = &self.exchange.settings.access;
        let vouched = |token| self.core.tokens.status(&token, access) == TokenStatus::Vouched;
        access.anonymous && !token.is_some_and(vouched)
    }

    fn request(&self) -> UpstreamRequest {
        let headers = &self.exchange.headers;
        let authorization = match self.credentials {
            Credentials::Token { field, .. } => Some(field.clone()),
            _ => headers.get(header::AUTHORIZATION).cloned(),
        };
        let upstream = &self.exchange.settings.upstream;
        UpstreamRequest {
            path_and_query: self.question.path_and_query.clone(),
            // The answer is everybody's who asks the same: nothing goes along that is not part of the question.
            accept: Some(self.question.media.accept()),
            authorization,
            who: caller(self.core, self.credentials, &self.question.route),
            extra: HeaderMap::new(),
            timeout: upstream.timeout.0,
            retries: upstream.retries,
            max_body: self.exchange.settings.cache.max_response.bytes(),
        }
    }

    /// What Alyx has just said.
    async fn deliver(&self, fetched: &Fetched, collapsed: bool) -> Response<Body> {
        let status = fetched.answer.status.as_u16();
        if !collapsed {
            let took = fetched.answer.received_at - fetched.answer.asked_at;
            let took = std::time::Duration::from_millis(took.max(0).unsigned_abs());
            self.floors.mirror.costs.note(&self.question.route, took);
            if verify::is_strange(&self.miss) {
                self.floors.mirror.sample(self.question);
            }
        }
        if files::describes_all(self.question)
            && files::offers_none(fetched.answer.status)
            && self.floors.tables.may_have_own(self.exchange, self.credentials).await
            && let Some(own) = self.floors.tables.give_own_description(self.exchange, None).await
        {
            return own;
        }
        let how =
            CacheStatus::Forwarded { why: self.why(), status, stored: fetched.entry.is_some(), collapsed };
        match &fetched.entry {
            Some(entry) => {
                respond(self.core, self.exchange, self.question, entry, ResponseOptions::plainly(how)).await
            }
            None => give_unstored(self.core, self.exchange, &fetched.answer, how),
        }
    }

    fn why(&self) -> ForwardReason {
        match &self.cached {
            _ if self.known && self.authorization != Authorization::Granted => ForwardReason::Token,
            Some(CachedEntry { freshness: Freshness::Stale(staleness), .. }) => {
                ForwardReason::Stale(*staleness)
            }
            Some(_) => ForwardReason::Stale(Staleness::Request),
            None => self.miss.name().map_or(ForwardReason::UriMiss, ForwardReason::MirrorMiss),
        }
    }
}

/// Whether an answer is about whoever asked: nobody else shares it.
fn is_of_one_alone(answer: &UpstreamResponse) -> bool {
    error_body::is_token_refused(answer.status, &answer.body)
        || error_body::is_permission_denied(answer.status, &answer.body)
        || is_personal(&answer.headers)
}
