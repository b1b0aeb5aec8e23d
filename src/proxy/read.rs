//! A GET or HEAD: which question it asks, and who answers it.
//!
//! The floors (`super::floors`) decide, and what they decide is carried out here. Nobody waits for an Alyx that is known
//! to be away. Where Alyx is merely slow, whoever has a stored answer gets it after `upstream.serve_stale_after`, while
//! the request goes on and is remembered. Whoever asks for what is current waits for it, as long as Alyx is not known to
//! be away: who wrote, who says so (`no-cache`, `max-age`), who asks for what decides about an animal, or for what may
//! just have been made.

use std::sync::Arc;

use axum::body::Body;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};

use super::{
    Exchange,
    authorize::{Authorization, authorize},
    core::Core,
    error::notice,
    explain,
    floors::{Decision, Floors, LocalAnswer, decide},
    from_cache::CachedEntry,
    from_mirror::MirrorMiss,
    hot_cache::{RepeatTerms, RepeatedFrom},
    list_walks::{self, WalkedPage},
    lost_update, passthrough,
    respond::{ResponseOptions, respond},
};
use crate::{
    alyx::{Route, filterset, query_string},
    auth::{Credentials, credentials},
    cache::{JsonVariant, Question},
    clock::Millis,
    http::{
        Directives,
        body::has_body,
        cache_status::{BypassReason, CacheStatus, ForwardReason, ServedStale},
    },
    storage::types::TokenHash,
};

/// A read on its way down the floors, with what they have found so far.
#[derive(Debug)]
pub(super) struct Read<'a> {
    pub(super) floors: &'a Floors,
    pub(super) core: &'a Arc<Core>,
    pub(super) exchange: &'a Exchange,
    pub(super) credentials: &'a Credentials,
    pub(super) question: &'a Question,
    /// What the request says of how old an answer may be.
    pub(super) directives: Directives,
    /// What its caller may have.
    pub(super) authorization: Authorization,
    /// Whether anything is stored for it, be it for others.
    pub(super) known: bool,
    /// What is stored for it and may be given to this caller.
    pub(super) cached: Option<CachedEntry>,
    /// Why the mirror does not answer it.
    pub(super) miss: MirrorMiss,
    /// The page of this list that the caller was given last, where it goes on with it now.
    pub(super) page_before: Option<Arc<WalkedPage>>,
    /// Whether what is decided is only told.
    pub(super) explains: bool,
    /// What Alyx would be asked so that the mirror can answer.
    pub(super) would_ask: Vec<String>,
}

/// The field by which `alyx-proxy pack` has an answer kept for a journey.
const PACKED: HeaderName = HeaderName::from_static("x-alyx-proxy-packed");

fn is_accepted(core: &Core, token: &TokenHash, exchange: &Exchange) -> bool {
    core.tokens.counts_until(token, &exchange.settings.access).is_some()
}

/// Answers a GET or HEAD.
pub(crate) async fn answer(floors: &Floors, exchange: Exchange, body: Body) -> Response<Body> {
    let core = &floors.core;
    let credentials = credentials(&exchange.headers, &core.key);
    let question = match question(&exchange, &credentials, core.upstream.health.is_down()) {
        Ok(question) => question,
        Err(reason) => {
            return passthrough::answer(core, exchange, body, ForwardReason::Bypass(reason)).await;
        }
    };
    let mut response = Read::new(floors, &exchange, &credentials, &question).answer(body).await;
    if let Some(token) = credentials.token() {
        lost_update::note(core, &exchange, &question, token, &mut response);
    }
    let answered = response.status().is_success() || response.status() == StatusCode::NOT_MODIFIED;
    if answered && let Some(token) = credentials.token() {
        core.history.note(token, &question, exchange.settings.access.query_history.0, &core.store);
        if exchange.headers.contains_key(PACKED) && is_accepted(core, &token, &exchange) {
            core.responses.pin(&question, token);
        }
    }
    response
}

/// The question that may be remembered, or why this read is none.
pub(super) fn question(
    exchange: &Exchange,
    credentials: &Credentials,
    down: bool,
) -> Result<Question, BypassReason> {
    if matches!(credentials, Credentials::Foreign) || matches!(credentials, Credentials::OtherScheme) && !down
    {
        return Err(BypassReason::ForeignCredentials);
    }
    let class = exchange.route.class().ok_or(match exchange.route {
        Route::Other => BypassReason::NotRest,
        _ => BypassReason::NeverStored,
    })?;
    if has_body(&exchange.headers)
        && exchange.headers.get(header::CONTENT_LENGTH) != Some(&HeaderValue::from_static("0"))
    {
        return Err(BypassReason::RequestBody);
    }
    let pairs = query_string::parse(exchange.uri.query().unwrap_or_default());
    let format = pairs.iter().rev().find(|(name, _)| name == "format").map(|(_, value)| value.as_str());
    let variant = JsonVariant::negotiate(&exchange.route, exchange.headers.get(header::ACCEPT), format)
        .ok_or(BypassReason::NotJson)?;
    let path = query_string::canonical_path(&query_string::segments(exchange.uri.path()));
    let owner = if exchange.settings.access.keeps_apart(&path) { credentials.token() } else { None };
    let question = Question::new(exchange.route.clone(), class, &exchange.uri, &variant, owner);
    if let Route::List(endpoint) = &question.route
        && filterset::secret(endpoint, &question.pairs).is_some()
    {
        // Alyx lets secrets be guessed so; nobody shall have such an answer but by a token of their own.
        return Err(BypassReason::Secret);
    }
    Ok(question)
}

impl<'a> Read<'a> {
    pub(super) fn new(
        floors: &'a Floors,
        exchange: &'a Exchange,
        credentials: &'a Credentials,
        question: &'a Question,
    ) -> Self {
        let core = &floors.core;
        let mut directives = Directives::of(&exchange.headers);
        // Who writes gets what is current, as if it asked for that.
        directives.no_cache |=
            !directives.only_if_cached && lost_update::must_be_current(core, credentials, question);
        Self {
            floors,
            core,
            exchange,
            credentials,
            question,
            directives,
            authorization: authorize(core, credentials, exchange),
            known: false,
            cached: None,
            miss: MirrorMiss::NotAsked,
            page_before: None,
            explains: false,
            would_ask: Vec::new(),
        }
    }

    async fn answer(mut self, body: Body) -> Response<Body> {
        if explain::is_wished(&self.exchange.headers) {
            return self.explain().await;
        }
        if !self.core.upstream.health.is_down() {
            self.page_before = self.core.walks.before(self.exchange, self.credentials, self.question);
        }
        let reason = match decide(&mut self).await {
            Decision::Local(answer) => {
                let mirrored = matches!(answer, LocalAnswer::Mirror { stands_in: None, .. });
                let response = self.give(answer).await;
                return self.noted(response, mirrored).await;
            }
            Decision::Upstream => match self.ask_alyx().await {
                Some(response) => return self.asked(response).await,
                // Alyx is asked once more, as a stream.
                None => BypassReason::TooLarge,
            },
            Decision::PassThrough(reason) => reason,
        };
        passthrough::answer(self.core, self.exchange.clone(), body, ForwardReason::Bypass(reason)).await
    }

    /// What Alyx said. Where that leaves open what the token is worth, something else is asked with it; and if it counts, what
    /// is here may answer better than whatever refused this one question.
    async fn asked(mut self, response: Response<Body>) -> Response<Body> {
        let open = self.leaves_token_open(&response);
        if !open || !self.check_token().await {
            return self.noted(response, false).await;
        }
        self.authorization = Authorization::Granted;
        match decide(&mut self).await {
            Decision::Local(answer) => self.give(answer).await,
            _ => response,
        }
    }

    /// Notes which page of a list is given.
    async fn noted(&self, mut response: Response<Body>, mirrored: bool) -> Response<Body> {
        let fits = mirrored || self.page_before.is_some();
        list_walks::note(self.core, self.exchange, self.credentials, self.question, &mut response, fits)
            .await;
        response
    }

    /// The response for what was decided without Alyx.
    pub(super) async fn give(&self, answer: LocalAnswer) -> Response<Body> {
        match answer {
            LocalAnswer::Mirror { entry, stands_in, caught_up } => {
                let (mirror, question) = (&self.floors.mirror, self.question);
                if stands_in.is_none() {
                    mirror.sample(question);
                }
                let again = self
                    .token_until()
                    .filter(|_| stands_in.is_none())
                    .and_then(|until| mirror.repeat_terms(question, &entry, &self.exchange.settings, until));
                mirror.give_mirrored(self.exchange, question, &entry, (stands_in, caught_up), again).await
            }
            LocalAnswer::Fresh { cached, left } => {
                let again = self
                    .token_until()
                    .map(|until| RepeatTerms { from: RepeatedFrom::Memory(self.question.key), until });
                let how = CacheStatus::Hit(cached.tier, left);
                let options = ResponseOptions { again, ..ResponseOptions::plainly(how) };
                self.give_cached(&cached, options).await
            }
            LocalAnswer::Stale { cached, reason } => {
                if reason == ServedStale::WhileRevalidating {
                    self.revalidate();
                }
                let how = CacheStatus::Stale { reason, tier: cached.tier, ttl: cached.freshness.ttl() };
                let notice = notice(self.core, reason);
                self.give_cached(&cached, ResponseOptions { notice, ..ResponseOptions::plainly(how) }).await
            }
            LocalAnswer::Own(response) => *response,
            LocalAnswer::Refuse(error) => error.into(),
        }
    }

    /// Until when the same request may get the same answer for its token's sake. How old an answer a request allows is looked
    /// at each time.
    fn token_until(&self) -> Option<Millis> {
        let token = self.credentials.token().filter(|_| self.directives == Directives::default())?;
        self.core.tokens.vouched_until(&token, &self.exchange.settings.access)
    }

    async fn give_cached(&self, cached: &CachedEntry, options: ResponseOptions) -> Response<Body> {
        respond(self.core, self.exchange, self.question, &cached.entry, options).await
    }
}
