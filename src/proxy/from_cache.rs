//! The floor of the response cache: what Alyx said to the same question before.

use std::{sync::Arc, time::Duration};

use http::StatusCode;

use super::{
    authorize::Authorization,
    error::ProxyError,
    files,
    floors::{Decision, LocalAnswer, Step},
    read::Read,
};
use crate::{
    alyx::{Route, redact},
    cache::{Entry, Freshness, Question},
    http::{
        cache_status::{BypassReason, RefusalReason, ServedStale, Tier},
        reuse::Staleness,
    },
};

/// A stored answer and what it is worth for one request.
#[derive(Debug, Clone)]
pub(super) struct CachedEntry {
    pub(super) entry: Arc<Entry>,
    pub(super) tier: Tier,
    pub(super) freshness: Freshness,
}

impl CachedEntry {
    /// Whether a write may have changed it since.
    pub(super) fn is_from_before_a_write(&self) -> bool {
        self.freshness == Freshness::Stale(Staleness::Written)
    }

    /// Whether it may be given while Alyx is slow, or fails though it is not known to be away.
    pub(super) fn may_stand_in(&self) -> bool {
        match self.freshness {
            Freshness::Fresh { .. } => true,
            Freshness::Stale(staleness) => staleness.may_stand_in(),
        }
    }
}

/// The endpoint of an answer that came with a snapshot, which keys in it were left out of: it is less than Alyx's.
pub(super) fn cut_of(question: &Question, entry: &Entry) -> Option<&'static str> {
    let (Route::List(endpoint) | Route::Detail(endpoint, _)) = &question.route else { return None };
    let may_be = redact::ENDPOINTS.contains(&endpoint.name);
    (may_be && redact::is_cut(&entry.body)).then_some(endpoint.name)
}

impl Read<'_> {
    /// Looks up what is stored for it.
    pub(super) async fn look_up(&mut self) {
        let stored = self.stored().await;
        self.known = stored.is_some();
        // That Alyx has no tables is no answer to stay with: the proxy makes its own.
        let none = |cached: &CachedEntry| {
            cached.entry.status != StatusCode::OK && files::describes_all(self.question)
        };
        self.cached = stored.filter(|cached| self.authorization.sees_stored() && !none(cached));
    }

    async fn stored(&self) -> Option<CachedEntry> {
        let responses = &self.core.responses;
        let (entry, tier) = responses.find(self.question).await?;
        if cut_of(self.question, &entry).is_some() {
            return None;
        }
        let age =
            Duration::from_millis(u64::try_from(self.core.clock.now() - entry.received_at).unwrap_or(0));
        let freshness = responses.freshness(self.question, &entry, &self.exchange.settings).await;
        Some(CachedEntry { entry, tier, freshness: freshness.for_request(&self.directives, age) })
    }

    /// A request that wants nothing stored goes to Alyx, and nothing of its answer is kept.
    pub(super) fn no_store(&self) -> Step<Decision> {
        if self.directives.no_store {
            Step::Answer(Decision::PassThrough(BypassReason::NoStore))
        } else {
            Step::Next
        }
    }

    /// An answer that was too large to be stored a moment ago is passed on at once.
    pub(super) fn too_large(&self) -> Step<Decision> {
        if self.floors.upstream.was_too_large(self.question) {
            Step::Answer(Decision::PassThrough(BypassReason::TooLarge))
        } else {
            Step::Next
        }
    }

    /// A stored answer that is fresh, or that may be refreshed while it is given.
    pub(super) fn cache(&self) -> Step<LocalAnswer> {
        let (Authorization::Granted, Some(cached)) = (self.authorization, &self.cached) else {
            return Step::Next;
        };
        let cached = cached.clone();
        match cached.freshness {
            Freshness::Fresh { left } => Step::Answer(LocalAnswer::Fresh { cached, left }),
            // One page of many would be of another time than those that are asked for after it.
            Freshness::Stale(staleness)
                if staleness.may_be_refreshed_behind(&self.exchange.settings) && cached.entry.is_alone() =>
            {
                Step::Answer(LocalAnswer::Stale { cached, reason: ServedStale::WhileRevalidating })
            }
            Freshness::Stale(_) => Step::Next,
        }
    }

    /// A request that allows only what is stored goes no further (RFC 9111 5.2.1.7).
    pub(super) fn only_if_cached(&self) -> Step<LocalAnswer> {
        if !self.directives.only_if_cached {
            return Step::Next;
        }
        let text = "The request allows only what is stored, and nothing fresh is stored for it.";
        let refusal = ProxyError::new(StatusCode::GATEWAY_TIMEOUT, RefusalReason::OnlyIfCached, text);
        Step::Answer(LocalAnswer::Refuse(refusal))
    }
}
