//! The pages of one list are never mixed from two times.
//!
//! A page that is stored fits those that were stored in one walk with it (`cache::list_generations`). Here it is seen to that
//! a page that comes from Alyx fits the one before it, which was given from here a while ago: that one is asked for once
//! more. Where it is another by now, nobody can make a list of the two: the walk is refused (409), and begins anew.

use std::{sync::Arc, time::Duration};

use axum::body::Body;
use http::{Method, Response, StatusCode};
use moka::sync::Cache;

use super::{
    Exchange,
    authorize::caller,
    core::Core,
    error::{self, ProxyError},
    floors::{LocalAnswer, Step},
    hot_cache::Repeatable,
    lost_update::MadeOf,
    read::Read,
};
use crate::{
    auth::Credentials,
    cache::{Entry, Freshness, Holder, Question},
    clock::Millis,
    http::cache_status::{CacheStatus, RefusalReason},
    settings::value::Size,
    storage::types::{CacheKey, TokenHash},
    upstream::UpstreamRequest,
};

/// Pages that Alyx itself gives within so long are of one time, as without a proxy.
const AT_ONCE: Millis = 30_000;

/// Whoever goes on later is not taken for going on.
const PAUSE: Duration = Duration::from_hours(1);

/// The page that each reader of a list was given last.
#[derive(Debug)]
pub(crate) struct ListWalks(Cache<(Holder, CacheKey), Arc<WalkedPage>>);

/// That a reader was given a page.
#[derive(Debug, Clone)]
pub(crate) struct WalkStep {
    name: (Holder, CacheKey),
    page: Arc<WalkedPage>,
}

/// A page as it was given.
#[derive(Debug)]
pub(crate) struct WalkedPage {
    question: Question,
    entry: Arc<Entry>,
    /// When Alyx itself gave it to this reader; none where it came from here.
    current: Option<Millis>,
}

impl ListWalks {
    /// Remembers pages of so many bytes.
    pub(crate) fn new(size: Size) -> Self {
        let weight = |_: &(Holder, CacheKey), page: &Arc<WalkedPage>| {
            u32::try_from(page.entry.weight() + 1024).unwrap_or(u32::MAX)
        };
        Self(Cache::builder().weigher(weight).max_capacity(size.0).time_to_live(PAUSE).build())
    }

    /// Notes that the same page is given again; whether it may be: not after one before it that came from elsewhere, which it
    /// has not been compared with.
    pub(crate) fn again(&self, step: &WalkStep) -> bool {
        let last = self.0.get(&step.name);
        if last.as_ref().is_some_and(|last| !step.page.may_follow(last)) {
            return false;
        }
        if last.is_none_or(|last| !Arc::ptr_eq(&last, &step.page)) {
            self.0.insert(step.name, step.page.clone());
        }
        true
    }

    /// The page of this list that this reader was given last, where it asks for a later one now.
    pub(crate) fn before(
        &self,
        exchange: &Exchange,
        credentials: &Credentials,
        question: &Question,
    ) -> Option<Arc<WalkedPage>> {
        if question.offset() == 0 {
            return None;
        }
        let last = self.0.get(&(reader(exchange, credentials), question.family))?;
        (last.question.offset() < question.offset()).then_some(last)
    }
}

impl WalkedPage {
    /// Whether it may be given without a look at the page that was given last.
    fn may_follow(&self, last: &Self) -> bool {
        last.question.offset() >= self.question.offset() || last.is_mirrored() == self.is_mirrored()
    }

    /// Whether the mirror made it.
    pub(crate) fn is_mirrored(&self) -> bool {
        self.entry.is_made()
    }

    /// Whether Alyx itself gave it just now.
    fn is_at_once(&self, now: Millis) -> bool {
        self.current.is_some_and(|at| (0..AT_ONCE).contains(&(now - at)))
    }
}

/// Those without a token are told apart by their addresses alone.
fn reader(exchange: &Exchange, credentials: &Credentials) -> Holder {
    Holder { token: credentials.token().unwrap_or(TokenHash([0; 32])), client: exchange.client }
}

/// Notes which page is given here; `fits` where it was seen to fit the one before it.
pub(crate) async fn note(
    core: &Core,
    exchange: &Exchange,
    credentials: &Credentials,
    question: &Question,
    response: &mut Response<Body>,
    fits: bool,
) {
    let Some(MadeOf(entry)) = response.extensions().get::<MadeOf>().cloned() else { return };
    let given = exchange.method == Method::GET && entry.status == StatusCode::OK;
    if !given || !question.is_page() || entry.is_alone() {
        return;
    }
    let how = response.extensions().get::<CacheStatus>().copied();
    let forwarded = matches!(how, Some(CacheStatus::Forwarded { .. }));
    // Who asks for a page in between says nothing of those before it.
    if forwarded && question.offset() > 0 && !fits {
        core.responses.older_pages(question, entry.asked_at).await;
    }
    let own = matches!(how, Some(CacheStatus::Forwarded { collapsed: false, .. }));
    let (question, current) = (question.clone(), own.then(|| core.clock.now()));
    let name = (reader(exchange, credentials), question.family);
    let step = WalkStep { name, page: Arc::new(WalkedPage { question, entry, current }) };
    core.walks.0.insert(step.name, step.page.clone());
    if let Some(repeatable) = response.extensions_mut().get_mut::<Repeatable>() {
        repeatable.walk = Some(step);
    }
}

/// Whether what a later page will be given from fits the page before it; the refusal where it does not, or where that can't
/// be told. `hit` where it is given from what is stored, and counts as fresh.
async fn fits(
    core: &Core,
    exchange: &Exchange,
    credentials: &Credentials,
    before: &WalkedPage,
    hit: bool,
) -> Result<(), ProxyError> {
    let fits = if hit {
        !before.is_mirrored() && core.responses.is_of_this_generation(&before.question, &before.entry).await
    } else {
        before.is_at_once(core.clock.now())
    };
    if fits {
        return Ok(());
    }
    let request = UpstreamRequest {
        path_and_query: before.question.path_and_query.clone(),
        accept: exchange.headers.get(http::header::ACCEPT).cloned(),
        authorization: exchange.headers.get(http::header::AUTHORIZATION).cloned(),
        who: caller(core, credentials, &exchange.route),
        extra: http::HeaderMap::new(),
        timeout: exchange.settings.upstream.timeout.0,
        retries: exchange.settings.upstream.retries,
        max_body: exchange.settings.cache.max_response.bytes(),
    };
    let answer = match core.upstream.fetch(&request).await {
        Ok(answer) => answer,
        // Nothing newer comes then, either.
        Err(_) if core.upstream.health.is_down() => return Ok(()),
        Err(failure) => {
            let text = "What was given of this list before can't be compared.";
            let refusal = error::retry_later(&failure);
            return Err(refusal.unwrap_or_else(|| error::gateway_timeout(core, &failure, text)));
        }
    };
    core.learn(credentials, &answer).await;
    if answer.status == StatusCode::OK && before.entry.lists_the_same(&answer.body) {
        return Ok(());
    }
    // Who asks for the list's beginning gets it from Alyx.
    core.responses.older_pages(&before.question, answer.asked_at).await;
    core.walks.0.invalidate(&(reader(exchange, credentials), before.question.family));
    let text = "This list has changed in Alyx since its pages before this one were given from here: together they would show \
                records twice, or miss some. Ask for the list from its beginning.";
    Err(ProxyError::new(StatusCode::CONFLICT, RefusalReason::OlderPage, text))
}

impl Read<'_> {
    /// The refusal of a later page that doesn't fit the one before it.
    pub(super) async fn other_generation(&self) -> Step<LocalAnswer> {
        let Some(before) = &self.page_before else { return Step::Next };
        let hit =
            self.cached.as_ref().is_some_and(|cached| matches!(cached.freshness, Freshness::Fresh { .. }));
        match fits(self.core, self.exchange, self.credentials, before, hit).await {
            Ok(()) => Step::Next,
            Err(refusal) => Step::Answer(LocalAnswer::Refuse(refusal)),
        }
    }
}
