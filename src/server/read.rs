//! A read: stored and fresh, or Alyx, or stored however old, or a refusal.
//!
//! Nobody waits for an Alyx that is known to be away. Where Alyx is merely slow, whoever has a
//! stored answer gets it after `upstream.patience`, while the request goes on and is remembered.
//! Whoever asks for what is current waits for it, as long as Alyx is not known to be away: who wrote, who says so
//! (`no-cache`, `max-age`), who asks for what decides about an animal, or for what may just have been made.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use axum::body::Body;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};

use super::{
    Asked,
    answer::{Giving, respond},
    core::Core,
    explain, files,
    floors::Floors,
    mirrored::{MirrorLookup, MirrorMiss},
    pass::{self, give_unstored},
    refusal::{gateway_timeout, not_stored, notice, refuse, retry_later},
    unchanged,
    verdict::{May, authorize, caller, is_away, refuse_caller},
    walks,
};
use crate::{
    access::{Credentials, Standing, TokenHash, credentials},
    alyx::{Route, ask, errors, query, route::appended_slash},
    caching::Directives,
    clock::{self, Millis},
    http::{
        cache_status::{CacheStatus, ForwardReason, ServedStale, Tier},
        reuse::Staleness,
    },
    responses::{Entry, Key, Media, Question, Verdict, is_personal},
    single_flight::{Departure, Flights, Seat},
    upstream::{Answer, Ask, Failure, has_body},
};

/// Why what is stored is not given.
const ONLY_OLDER: &str = "An older answer is stored, but a current one was asked for, or what is asked must be current, and Alyx \
                          is not known to be away. Try again.";

/// What a request that can't be sent takes to say so.
const A_MOMENT: Duration = Duration::from_millis(100);

/// What a flight brings: Alyx's answer and, if it may be remembered, its entry.
pub(super) type Outcome = Result<Arc<Fetched>, Failure>;

/// Who may share a flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Company {
    /// All whose tokens Alyx has accepted.
    Accepted,
    /// The holders of one token that Alyx has yet to judge.
    Token(TokenHash),
    /// Nobody else.
    Alone(u64),
    /// Those who let an answer be refreshed behind their backs and are let in only because everybody is.
    Behind,
}

/// Requests are the same if question and company are, and no write came between them.
pub(super) type FlightKey = (Key, Company, Millis);

/// An answer fresh from Alyx.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) answer: Answer,
    pub(super) entry: Option<Arc<Entry>>,
}

/// A stored answer and what it is worth for one request.
#[derive(Debug)]
struct Held {
    entry: Arc<Entry>,
    tier: Tier,
    verdict: Verdict,
}

/// A read on its way.
#[derive(Debug)]
struct Reading<'a> {
    floors: &'a Floors,
    core: &'a Arc<Core>,
    asked: &'a Asked,
    credentials: &'a Credentials,
    question: &'a Question,
    may: May,
    /// Whether anything is stored for it, be it for others.
    known: bool,
    /// What is stored for it and may be given to this caller.
    held: Option<Held>,
    /// Why the mirror does not answer it.
    silence: MirrorMiss,
    /// What the request says of how old an answer may be.
    directives: Directives,
}

impl Held {
    /// Whether it may be given while Alyx is slow, or fails though it is not known to be away.
    fn may_stand_in(&self) -> bool {
        match self.verdict {
            Verdict::Fresh { .. } => true,
            Verdict::Stale(staleness) => staleness.may_stand_in(),
        }
    }
}

/// Answers a GET or HEAD.
pub(super) async fn answer(floors: &Floors, asked: Asked, body: Body) -> Response<Body> {
    let core = &floors.core;
    let credentials = credentials(&asked.headers, &core.key);
    let question = match question(&asked, &credentials, core.upstream.health.is_down()) {
        Ok(question) => question,
        Err(reason) => return pass::answer(core, asked, body, ForwardReason::Bypass(reason)).await,
    };
    if let Route::List(endpoint) = &question.route
        && ask::secret(endpoint, &question.pairs).is_some()
    {
        // Alyx lets secrets be guessed so; nobody shall have such an answer but by a token of their own.
        return pass::answer(core, asked, body, ForwardReason::Bypass("secret")).await;
    }
    let mut response = read(floors, &asked, body, &credentials, &question).await;
    if let Some(token) = credentials.token() {
        unchanged::note(core, &asked, &question, token, &mut response);
    }
    let answered = response.status().is_success() || response.status() == StatusCode::NOT_MODIFIED;
    if answered && let Some(token) = credentials.token() {
        core.history.note(token, &question, asked.settings.access.history.0, &core.store);
    }
    response
}

async fn read(
    floors: &Floors,
    asked: &Asked,
    body: Body,
    credentials: &Credentials,
    question: &Question,
) -> Response<Body> {
    let core = &floors.core;
    let mut directives = Directives::of(&asked.headers);
    // Who writes gets what is current, as if it asked for that.
    directives.no_cache |=
        !directives.only_if_cached && unchanged::must_be_current(core, credentials, question);
    if directives.no_store && !core.upstream.health.is_down() {
        return pass::answer(core, asked.clone(), body, ForwardReason::Bypass("no-store")).await;
    }
    let may = authorize(core, credentials, asked);
    let up = !core.upstream.health.is_down();
    let explain = explain::is_wished(&asked.headers);
    let mut silence = MirrorMiss::NotAsked;
    let before = core.walks.before(asked, credentials, question).filter(|_| up && !explain);
    if may == May::Have && up && !explain && before.as_ref().is_none_or(|page| page.is_mirrored()) {
        match floors.mirror.mirrored_now(asked, question, &directives).await {
            MirrorLookup::Answer(entry) => {
                floors.mirror.sample(question);
                let mut response = floors.mirror.give_mirrored(asked, question, &entry, None).await;
                walks::note(core, asked, credentials, question, &mut response, true).await;
                return response;
            }
            MirrorLookup::Miss(why) => silence = why,
        }
    }
    let stored = core.held(question, asked, &directives).await;
    let known = stored.is_some();
    // That Alyx has no tables is no answer to stay with: the proxy makes its own.
    let none = |held: &Held| held.entry.status != StatusCode::OK && files::describes_all(question);
    let held = stored.filter(|held| may.sees_stored() && !none(held));
    let reading =
        Reading { floors, core, asked, credentials, question, may, known, held, silence, directives };
    if explain {
        return reading.explain().await;
    }
    if let Some(before) = &before {
        let hit = reading.held.as_ref().is_some_and(|held| matches!(held.verdict, Verdict::Fresh { .. }));
        if let Err(refusal) = walks::fits(core, asked, credentials, before, hit).await {
            return *refusal;
        }
    }
    if floors.upstream.large.contains_key(&question.key) && up {
        return pass::answer(core, asked.clone(), body, ForwardReason::Bypass("too-large")).await;
    }
    if let Some(mut response) = reading.answer().await {
        walks::note(core, asked, credentials, question, &mut response, before.is_some()).await;
        return response;
    }
    // Too large to be remembered: Alyx is asked once more, as a stream.
    floors.upstream.large.insert(question.key, ());
    pass::answer(core, asked.clone(), body, ForwardReason::Bypass("too-large")).await
}

/// Django's own redirect to the path with a slash, which ONE counts on (ALYX.md 5).
fn moved_permanently(to: &str) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    if let Ok(to) = HeaderValue::try_from(to) {
        headers.insert(header::LOCATION, to);
    }
    CacheStatus::Refused("offline-redirect").mark(&mut response);
    response
}

/// The question that may be remembered, or why this read is none.
fn question(asked: &Asked, credentials: &Credentials, down: bool) -> Result<Question, &'static str> {
    if matches!(credentials, Credentials::Foreign) || matches!(credentials, Credentials::OtherScheme) && !down
    {
        return Err("foreign-credentials");
    }
    let class = asked.route.class().ok_or(match asked.route {
        Route::Other => "not-rest",
        _ => "never-stored",
    })?;
    if has_body(&asked.headers)
        && asked.headers.get(header::CONTENT_LENGTH) != Some(&HeaderValue::from_static("0"))
    {
        return Err("request-body");
    }
    let pairs = query::parse(asked.uri.query().unwrap_or_default());
    let format = pairs.iter().rev().find(|(name, _)| name == "format").map(|(_, value)| value.as_str());
    let media =
        Media::negotiate(&asked.route, asked.headers.get(header::ACCEPT), format).ok_or("not-json")?;
    let path = query::canonical_path(&query::segments(asked.uri.path()));
    let owner = if asked.settings.access.keeps_apart(&path) { credentials.token() } else { None };
    Ok(Question::new(asked.route.clone(), class, &asked.uri, &media, owner))
}

/// The floor that asks Alyx, once for all who ask the same.
#[derive(Debug)]
pub(super) struct FromUpstream {
    flights: Flights<FlightKey, Outcome>,
    /// Questions whose answers are too large to be remembered: they are passed on at once.
    large: moka::sync::Cache<Key, ()>,
    /// Numbers for flights that nobody may share.
    alone: AtomicU64,
}

/// An answer that was too large to be remembered may be smaller the next time.
const LARGE: Duration = Duration::from_mins(10);

impl FromUpstream {
    pub(super) fn new() -> Self {
        let large = moka::sync::Cache::builder().max_capacity(10_000).time_to_live(LARGE).build();
        Self { flights: Flights::default(), large, alone: AtomicU64::default() }
    }
}

impl Core {
    async fn held(&self, question: &Question, asked: &Asked, directives: &Directives) -> Option<Held> {
        let (entry, tier) = self.responses.find(question).await?;
        let age = Duration::from_millis(u64::try_from(clock::now() - entry.received_at).unwrap_or(0));
        let verdict =
            self.responses.verdict(question, &entry, &asked.settings).await.for_request(directives, age);
        Some(Held { entry, tier, verdict })
    }

    /// Asks Alyx, remembers what it says, and learns what the token is worth.
    async fn ask_alyx(
        &self,
        ask: Ask,
        departure: Departure,
        question: Question,
        credentials: Credentials,
    ) -> Outcome {
        let answer = self.upstream.fetch_on(&ask, &departure).await?;
        self.learn(&credentials, &answer).await;
        let entry = self.responses.remember(&question, &answer).await;
        Ok(Arc::new(Fetched { answer, entry }))
    }
}

impl Reading<'_> {
    /// `None` if the answer is too large to be remembered.
    async fn answer(self) -> Option<Response<Body>> {
        if self.core.upstream.health.is_down() {
            return Some(self.without_alyx(&Failure::Away).await);
        }
        if let (May::Have, Some(held)) = (self.may, &self.held) {
            match held.verdict {
                Verdict::Fresh { left } => {
                    // How old an answer a request allows is looked at each time.
                    let plain = self.directives == Directives::default();
                    let again_until = self.credentials.token().filter(|_| plain).and_then(|token| {
                        self.core.tokens.vouched_until(&token, &self.asked.settings.access)
                    });
                    let how = CacheStatus::Hit(held.tier, left);
                    return Some(self.give(held, Giving { again_until, ..Giving::plainly(how) }).await);
                }
                // One page of many would be of another time than those that are asked for after it.
                Verdict::Stale(staleness)
                    if staleness.may_be_refreshed_behind(&self.asked.settings) && held.entry.is_alone() =>
                {
                    self.refresh_behind();
                    return Some(self.stand_in(held, ServedStale::WhileRevalidating).await);
                }
                Verdict::Stale(_) => {}
            }
        }
        if self.directives.only_if_cached {
            let text = "The request allows only what is stored, and nothing fresh is stored for it.";
            return Some(refuse(504, errors::detail(504, text), "only-if-cached"));
        }
        self.ask_or_wait().await
    }

    /// Says what would be done; a token that Alyx has yet to judge is judged first.
    async fn explain(&self) -> Response<Body> {
        if self.core.upstream.health.is_down() {
            if let Some(refusal) = refuse_caller(self.core, self.may, &Failure::Away, &self.question.route) {
                return refusal;
            }
        } else if !self.may.sees_stored() {
            match self.outcome(&mut self.board(true), Instant::now()).await {
                Some(Ok(_)) if authorize(self.core, self.credentials, self.asked).sees_stored() => {}
                Some(Ok(fetched)) => return self.deliver(&fetched, false).await,
                Some(Err(failure)) => return self.without_alyx(&failure).await,
                None => return self.without_alyx(&Failure::Reset).await,
            }
        }
        let stored = self.held.as_ref().map(|held| (held.entry.asked_at, held.verdict));
        self.floors.mirror.explain(self.asked, self.question, &self.directives, stored).await
    }

    /// Takes a seat on the flight of this question.
    fn board(&self, alone: bool) -> Seat<Outcome> {
        // A token that Alyx has yet to judge must not get what was fetched with another one.
        self.board_with(match (self.may, self.credentials.token()) {
            (May::Have, token) if !alone && !self.is_unknown(token) => Company::Accepted,
            (_, Some(token)) => Company::Token(token),
            (_, None) => Company::Alone(self.floors.upstream.alone.fetch_add(1, Ordering::Relaxed)),
        })
    }

    /// Has a stored answer refreshed while it is given: once, however many ask for it meanwhile.
    fn refresh_behind(&self) {
        let unknown = self.is_unknown(self.credentials.token());
        self.board_with(if unknown { Company::Behind } else { Company::Accepted }).keep();
    }

    fn board_with(&self, company: Company) -> Seat<Outcome> {
        let (core, question, credentials) =
            (self.core.clone(), self.question.clone(), self.credentials.clone());
        let ask = self.ask();
        let key = (question.key, company, core.responses.written_at(&question));
        self.floors.upstream.flights.board(key, move |departure| async move {
            core.ask_alyx(ask, departure, question, credentials).await
        })
    }

    /// What a flight brings, as long as it may be waited for: `upstream.timeout` from `start`, and while Alyx is not
    /// known to be away.
    async fn outcome(&self, seat: &mut Seat<Outcome>, start: Instant) -> Option<Outcome> {
        let deadline = start + self.asked.settings.upstream.timeout.0;
        tokio::select! {
            outcome = seat.wait() => return outcome,
            () = tokio::time::sleep_until(deadline.into()) => {}
            () = self.core.upstream.health.until_down() => return Some(Err(Failure::Away)),
        }
        if seat.departure.has_left() {
            return Some(Err(Failure::Timeout));
        }
        // It was not sent in time, and says why in a moment.
        let why = tokio::time::timeout(A_MOMENT, seat.wait()).await;
        why.unwrap_or_else(|_| Some(Err(self.core.upstream.no_turn(start))))
    }

    /// Whether somebody is let in only because everybody is (`access.open`).
    fn is_unknown(&self, token: Option<TokenHash>) -> bool {
        let access = &self.asked.settings.access;
        let vouched = |token| self.core.tokens.standing(&token, access) == Standing::Vouched;
        access.open && !token.is_some_and(vouched)
    }

    fn ask(&self) -> Ask {
        /// Fields of ONE and of interface descriptions that Alyx may come to read.
        const PASSED: [HeaderName; 2] =
            [HeaderName::from_static("accept-version"), HeaderName::from_static("one-api-version")];
        let headers = &self.asked.headers;
        let extra: HeaderMap =
            PASSED.iter().filter_map(|name| Some((name.clone(), headers.get(name)?.clone()))).collect();
        let authorization = match self.credentials {
            Credentials::Token { field, .. } => Some(field.clone()),
            _ => headers.get(header::AUTHORIZATION).cloned(),
        };
        let upstream = &self.asked.settings.upstream;
        Ask {
            path_and_query: self.question.path_and_query.clone(),
            accept: headers.get(header::ACCEPT).cloned(),
            authorization,
            who: caller(self.core, self.credentials, &self.question.route),
            extra,
            timeout: upstream.timeout.0,
            retries: upstream.retries,
            max_body: self.asked.settings.cache.max_response.bytes(),
        }
    }

    async fn ask_or_wait(&self) -> Option<Response<Body>> {
        let mut seat = self.board(false);
        let start = Instant::now();
        let mut joined = seat.joined;
        let slow = self.when_slow();
        tokio::pin!(slow);
        for _ in 0..2 {
            let outcome = tokio::select! {
                outcome = self.outcome(&mut seat, start) => outcome,
                response = &mut slow => {
                    // What is stored is refreshed all the same.
                    if self.held.is_some() {
                        seat.keep();
                    }
                    return Some(response);
                }
            };
            match outcome {
                // Another one's token was refused, what came is for that one only, or the flight was lost: each for itself.
                Some(Ok(fetched))
                    if joined
                        && (errors::is_token_refused(fetched.answer.status, &fetched.answer.body)
                            || is_personal(&fetched.answer.headers)) => {}
                None => {}
                Some(Ok(fetched)) => return Some(self.deliver(&fetched, joined).await),
                Some(Err(Failure::TooLarge)) => return None,
                Some(Err(failure)) => return Some(self.without_alyx(&failure).await),
            }
            seat = self.board(true);
            joined = false;
        }
        Some(self.without_alyx(&Failure::Reset).await)
    }

    /// What Alyx has just said.
    async fn deliver(&self, fetched: &Fetched, collapsed: bool) -> Response<Body> {
        let status = fetched.answer.status.as_u16();
        if files::describes_all(self.question)
            && files::offers_none(fetched.answer.status)
            && self.floors.tables.may_have_own(self.asked, self.credentials).await
            && let Some(own) = self.floors.tables.give_own_description(self.asked, None).await
        {
            return own;
        }
        let how =
            CacheStatus::Forwarded { why: self.why(), status, stored: fetched.entry.is_some(), collapsed };
        match &fetched.entry {
            Some(entry) => respond(self.core, self.asked, self.question, entry, Giving::plainly(how)).await,
            None => give_unstored(self.core, self.asked, &fetched.answer, how),
        }
    }

    fn why(&self) -> ForwardReason {
        match &self.held {
            _ if self.known && self.may != May::Have => ForwardReason::Token,
            Some(Held { verdict: Verdict::Stale(staleness), .. }) => ForwardReason::Stale(*staleness),
            Some(_) => ForwardReason::Stale(Staleness::Request),
            None => self.silence.name().map_or(ForwardReason::UriMiss, ForwardReason::MirrorMiss),
        }
    }

    /// What can be said without Alyx.
    async fn without_alyx(&self, failure: &Failure) -> Response<Body> {
        // Django redirects before it asks who is there.
        if let Some(to) = appended_slash(&self.question.route, &self.question.path) {
            return moved_permanently(&to);
        }
        if let Some(refusal) = refuse_caller(self.core, self.may, failure, &self.question.route) {
            return refusal;
        }
        let away = is_away(self.core, failure);
        let held = self.held.as_ref().filter(|held| away || held.may_stand_in());
        let mirrored = if away {
            self.floors.mirror.mirrored(self.question, &self.asked.settings, None).await
        } else {
            self.mirrored_when_slow().await
        };
        match (held, mirrored) {
            (Some(held), MirrorLookup::Answer(entry)) if self.prefers(held, &entry) => {
                self.stand_in(held, ServedStale::Offline).await
            }
            (_, MirrorLookup::Answer(entry)) => self.give_mirrored(&entry, ServedStale::Offline).await,
            (Some(held), MirrorLookup::Miss(_)) => self.stand_in(held, ServedStale::Offline).await,
            (None, MirrorLookup::Miss(silence)) => self.refuse(failure, &silence).await,
        }
    }

    /// Neither stored nor mirrored. ONE's cache tables can be made all the same.
    async fn refuse(&self, failure: &Failure, silence: &MirrorMiss) -> Response<Body> {
        if files::describes_all(self.question)
            && let Some(own) =
                self.floors.tables.give_own_description(self.asked, Some(ServedStale::Offline)).await
        {
            return own;
        }
        match retry_later(failure) {
            Some(refusal) => refusal,
            None if self.held.is_some() => gateway_timeout(self.core, failure, ONLY_OLDER),
            None => not_stored(self.core, failure, self.question, silence).await,
        }
    }

    /// Whether a stored answer is to be preferred to the mirror's: it is the newer one, and no write came
    /// after it. One page of many is not: its siblings come from the mirror, and pages of two times don't fit.
    fn prefers(&self, held: &Held, mirrored: &Entry) -> bool {
        let one_of_many = self.question.window.is_some_and(|window| {
            window.offset > 0 || held.entry.count().is_some_and(|count| count > window.limit)
        });
        let written = held.verdict == Verdict::Stale(Staleness::Written);
        held.entry.asked_at > mirrored.asked_at && !written && !one_of_many
    }

    /// What is given when patience is at its end; never completes where there is nothing to give.
    async fn when_slow(&self) -> Response<Body> {
        tokio::time::sleep(self.asked.settings.upstream.patience.0).await;
        let held = self.held.as_ref().filter(|held| held.may_stand_in());
        let mirrored = self.mirrored_when_slow().await;
        match (held, mirrored) {
            (Some(held), MirrorLookup::Answer(entry)) if self.prefers(held, &entry) => {
                self.stand_in(held, ServedStale::Slow).await
            }
            (_, MirrorLookup::Answer(entry)) => self.give_mirrored(&entry, ServedStale::Slow).await,
            (Some(held), MirrorLookup::Miss(_)) => self.stand_in(held, ServedStale::Slow).await,
            (None, MirrorLookup::Miss(_)) => std::future::pending().await,
        }
    }

    /// From tables of any age that have seen the last write, where the request asks for nothing fresher; nobody shall
    /// miss their own.
    async fn mirrored_when_slow(&self) -> MirrorLookup {
        if !self.may.sees_stored() || self.directives.min_fresh.is_some() {
            return MirrorLookup::Miss(MirrorMiss::Request);
        }
        let directives = Directives { max_stale: Some(Duration::MAX), ..self.directives };
        self.floors.mirror.mirrored_now(self.asked, self.question, &directives).await
    }

    async fn give_mirrored(&self, entry: &Arc<Entry>, reason: ServedStale) -> Response<Body> {
        self.floors.mirror.give_mirrored(self.asked, self.question, entry, Some(reason)).await
    }

    async fn stand_in(&self, held: &Held, reason: ServedStale) -> Response<Body> {
        let notice = notice(self.core, reason);
        let how = CacheStatus::Stale { reason, tier: held.tier, ttl: held.verdict.ttl() };
        self.give(held, Giving { notice, ..Giving::plainly(how) }).await
    }

    async fn give(&self, held: &Held, giving: Giving) -> Response<Body> {
        respond(self.core, self.asked, self.question, &held.entry, giving).await
    }
}
