//! Fast path for repeated requests: reuses a recent decision while every input it depended on (epochs) is unchanged.
//!
//! Labs ask the same things over and over. To read a request, canonicalise its question, judge its token and compare
//! its directives costs several times what it costs to send a stored answer. So a request that was answered from memory
//! is kept with all its fields and what came of them; so is one that the mirror answered. Another one that is the same in
//! every field, from the same address, gets the same answer at once, if
//!
//! * the stored answer is still the one in memory, and still fresh, or the mirror's tables are as they were, and still
//!   recent enough, and the request has no wishes of its own as to how old it may be,
//! * the token still counts without asking Alyx about it,
//! * no write, no newer page of the list, no synchronisation and no refused token came in between, the settings are the
//!   same, and Alyx is not known to be away,
//! * it was decided less than a minute ago: what is noted of requests elsewhere stays right to within that time.
//!
//! Whom a request comes from is kept and compared as a keyed hash of its `Authorization`, never in clear.
//!
//! All else goes down the whole staircase. What this saves is measured in `docs/src/performance.md`.

use std::{
    hash::{BuildHasher, Hash, Hasher},
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header};

use super::{core::Core, from_mirror::FromMirror, list_walks::WalkStep};
use crate::{
    cache::{Entry, GivenCopy, Question},
    clock::Millis,
    http::cache_status::{CACHE_STATUS, CacheStatus, Tier},
    server::request_id::REQUEST_ID,
    settings::Settings,
    storage::types::{CacheKey, TokenHash},
};

/// A decision counts for so long at most, in milliseconds.
pub(super) const MAX_AGE: Millis = 60_000;

/// Requests with a longer head are not kept; it is a fraction of this as a rule. In bytes.
const MAX_HEAD_BYTES: usize = 4 << 10;

/// Requests that were answered a moment ago.
#[derive(Debug)]
pub(crate) struct HotCache {
    core: Arc<Core>,
    mirror: Arc<FromMirror>,
    decisions: moka::sync::Cache<u64, Arc<HotDecision>, foldhash::fast::RandomState>,
    hasher: foldhash::fast::RandomState,
}

/// What decisions depend on besides the request and the stored answer.
#[derive(Debug, Clone)]
pub(crate) struct Epochs {
    settings: Arc<Settings>,
    writes: u64,
    pages: u64,
    tokens: u64,
    mirror: Option<i64>,
}

/// What a repeatable answer stands on besides what [`Epochs`] tells.
#[derive(Debug, Clone)]
pub(crate) enum RepeatedFrom {
    /// It lies in the memory cache under this key.
    Memory(CacheKey),
    /// The mirror made it, of these tables.
    Mirror { question: Arc<Question>, tables: Arc<[&'static str]> },
}

/// How long and on what grounds an answer may be given again.
#[derive(Debug, Clone)]
pub(crate) struct RepeatTerms {
    pub(crate) from: RepeatedFrom,
    /// Until when the token counts without asking Alyx about it, and the mirror's tables are recent enough.
    pub(crate) until: Millis,
}

/// An answer from here, as the lower floors hand it up: with what is needed to give it again.
#[derive(Debug, Clone)]
pub(crate) struct Repeatable {
    pub(crate) terms: RepeatTerms,
    pub(crate) entry: Arc<Entry>,
    pub(crate) body: Bytes,
    /// The client, which behind a reverse proxy is another than the peer.
    pub(crate) client: IpAddr,
    /// What is remembered of its being given, where a write may come of it.
    pub(crate) given: Option<Arc<GivenCopy>>,
    /// The same, where it is a page of a list that is longer.
    pub(crate) walk: Option<WalkStep>,
}

/// A request and what was decided for it.
#[derive(Debug)]
struct HotDecision {
    uri: Uri,
    fields: HeaderMap,
    name: HotKey,
    epochs: Epochs,
    at: Millis,
    until: Millis,
    /// Until when a stored answer is fresh.
    fresh_until: Millis,
    how: CacheStatus,
    endpoint: &'static str,
    answer: Repeatable,
    /// The answer's fields but for those that say how old it is.
    headers: HeaderMap,
    /// What `Cache-Status` said last, with so many seconds left.
    said: Mutex<Option<(u64, HeaderValue)>>,
}

impl HotCache {
    /// Keeps as much as weighs so many bytes.
    pub(crate) fn new(core: Arc<Core>, mirror: Arc<FromMirror>, bytes: u64) -> Self {
        let weight = |_: &u64, decided: &Arc<HotDecision>| {
            // What is kept of a request are pieces of its whole head.
            u32::try_from(decided.answer.body.len() + 2 * MAX_HEAD_BYTES).unwrap_or(u32::MAX)
        };
        let hasher = foldhash::fast::RandomState::default();
        let longest = Duration::from_millis(MAX_AGE.unsigned_abs());
        let cache = moka::sync::Cache::builder().weigher(weight).max_capacity(bytes).time_to_live(longest);
        Self { core, mirror, decisions: cache.build_with_hasher(hasher.clone()), hasher }
    }

    /// A number that is the same for the same request. Two requests may share one: they are compared.
    fn number(&self, request: &Request<Body>, peer: IpAddr, who: &TokenHash) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        peer.hash(&mut hasher);
        hasher.write(&who.0);
        hasher.write(request.uri().path().as_bytes());
        hasher.write(request.uri().query().unwrap_or_default().as_bytes());
        for (_, value) in fields(request.headers()) {
            hasher.write(value.as_bytes());
        }
        hasher.finish()
    }

    /// What decisions that are made from now on depend on.
    pub(crate) fn epochs(&self) -> Epochs {
        Epochs {
            settings: self.core.settings.load_full(),
            writes: self.core.responses.writes(),
            pages: self.core.responses.newer_pages(),
            tokens: self.core.tokens.refusals(),
            mirror: self.core.mirror.as_ref().map(|mirror| mirror.version()),
        }
    }

    fn holds(&self, epochs: &Epochs) -> bool {
        let Epochs { settings, writes, pages, tokens, mirror } = epochs;
        Arc::ptr_eq(settings, &self.core.settings.load())
            && *writes == self.core.responses.writes()
            && *pages == self.core.responses.newer_pages()
            && *tokens == self.core.tokens.refusals()
            && *mirror == self.core.mirror.as_ref().map(|mirror| mirror.version())
            && !self.core.upstream.health.is_down()
    }

    /// The answer to a request that was answered a moment ago, if it is still the right one; how it came about, and
    /// its endpoint.
    pub(crate) fn get(
        &self,
        request: &Request<Body>,
        name: &HotKey,
    ) -> Option<(Response<Body>, CacheStatus, &'static str)> {
        let decided = self.decisions.get(&name.number)?;
        let now = self.core.clock.now();
        // A clock that was set back makes what was decided before no decision of the past.
        let in_time = (decided.at..decided.until).contains(&now);
        let Repeatable { terms, entry, body, client, given, walk } = &decided.answer;
        let is_there = || match &terms.from {
            RepeatedFrom::Memory(key) => self.core.responses.is_in_memory(key, entry),
            // Its version is among the epochs.
            RepeatedFrom::Mirror { .. } => true,
        };
        let is_right = in_time && decided.is_of(request, name) && self.holds(&decided.epochs) && is_there();
        if !is_right || walk.as_ref().is_some_and(|walk| !self.core.walks.again(walk)) {
            return None;
        }
        let how = match decided.how {
            CacheStatus::Hit(tier, _) => {
                let left = u64::try_from(decided.fresh_until - now).unwrap_or(0);
                CacheStatus::Hit(tier, Duration::from_millis(left))
            }
            how => how,
        };
        self.note_repeated(terms, given.as_deref(), now);
        self.core.activity.client(*client, request.headers());
        let mut response = Response::new(Body::from(body.clone()));
        let mut headers = decided.headers.clone();
        let age = u64::try_from((now - entry.received_at) / 1000).unwrap_or(0);
        headers.insert(header::AGE, HeaderValue::from(age));
        headers.insert(CACHE_STATUS, decided.status(how));
        *response.headers_mut() = headers;
        Some((response, how, decided.endpoint))
    }

    /// Notes what is noted of each answer of the kind.
    fn note_repeated(&self, terms: &RepeatTerms, given: Option<&GivenCopy>, now: Millis) {
        if let RepeatedFrom::Mirror { question, tables } = &terms.from {
            self.mirror.sample(question);
            if let Some(synchroniser) = &self.core.synchroniser {
                synchroniser.budget.note_uses(tables.iter().copied());
            }
        }
        if let Some(given) = given {
            given.again(now);
        }
    }

    /// Keeps what was decided for a request, where it can be given again.
    pub(crate) fn keep(
        &self,
        request: Fingerprint,
        epochs: Epochs,
        endpoint: &'static str,
        response: &mut Response<Body>,
    ) {
        let Some(answer) = response.extensions_mut().remove::<Repeatable>() else { return };
        if response.status() != StatusCode::OK {
            return;
        }
        let at = self.core.clock.now();
        let (how, fresh_until) = match response.extensions().get::<CacheStatus>().copied() {
            Some(how @ CacheStatus::Hit(Tier::Memory, left)) => {
                (how, at.saturating_add(Millis::try_from(left.as_millis()).unwrap_or(Millis::MAX)))
            }
            // The next one asks nothing of Alyx, whatever this one did.
            Some(CacheStatus::Mirror { reason: None, as_synchronised, .. }) => {
                let how = CacheStatus::Mirror { reason: None, as_synchronised, caught_up: false };
                (how, answer.terms.until)
            }
            _ => return,
        };
        let until = fresh_until.min(answer.terms.until).min(at + MAX_AGE);
        let Fingerprint { name, uri, fields } = request;
        let (number, headers) = (name.number, response.headers().clone());
        let said = Mutex::default();
        let decided = HotDecision {
            uri,
            fields,
            name,
            epochs,
            at,
            until,
            fresh_until,
            how,
            endpoint,
            answer,
            headers,
            said,
        };
        self.decisions.insert(number, Arc::new(decided));
    }

    /// What a GET is found by that says in one field whom it comes from; no others are kept.
    pub(crate) fn key(&self, request: &Request<Body>, peer: IpAddr) -> Option<HotKey> {
        let mut lines = request.headers().get_all(header::AUTHORIZATION).iter();
        match (request.method(), lines.next(), lines.next()) {
            (&Method::GET, Some(line), None) if length(request) <= MAX_HEAD_BYTES => {
                let who = self.core.key.token(line.to_str().ok()?);
                Some(HotKey { number: self.number(request, peer, &who), who, peer })
            }
            _ => None,
        }
    }
}

/// How long a request's head is, roughly.
fn length(request: &Request<Body>) -> usize {
    let uri = request.uri().path_and_query().map_or(0, |both| both.as_str().len());
    let fields = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
    uri + fields.sum::<usize>()
}

/// The fields that a request is compared by, besides the one that says whom it comes from.
fn fields(headers: &HeaderMap) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
    headers.iter().filter(|(name, _)| **name != REQUEST_ID && **name != header::AUTHORIZATION)
}

impl HotDecision {
    fn is_of(&self, request: &Request<Body>, name: &HotKey) -> bool {
        self.name == *name && self.uri == *request.uri() && fields(&self.fields).eq(fields(request.headers()))
    }

    /// The value of `Cache-Status`; it is another once a second.
    fn status(&self, how: CacheStatus) -> HeaderValue {
        let left = if let CacheStatus::Hit(_, left) = how { left.as_secs() } else { 0 };
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        match &*said {
            Some((known, value)) if *known == left => value.clone(),
            _ => said.insert((left, how.header())).1.clone(),
        }
    }
}

/// What a request is found by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HotKey {
    number: u64,
    who: TokenHash,
    peer: IpAddr,
}

/// All of a request that an answer may depend on.
#[derive(Debug)]
pub(crate) struct Fingerprint {
    name: HotKey,
    uri: Uri,
    fields: HeaderMap,
}

impl Fingerprint {
    pub(crate) fn of(name: HotKey, request: &Request<Body>) -> Self {
        let mut fields = request.headers().clone();
        fields.remove(header::AUTHORIZATION);
        Self { name, uri: request.uri().clone(), fields }
    }
}
