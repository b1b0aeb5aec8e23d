//! What the standard cache has stored: for each URL the responses that were selected for different requests.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use moka::sync::Cache;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    clock::Millis,
    http::{Clocked, Directives, ResponseControl, Selecting, lifetime, merge, reuse::Staleness, selecting},
    settings::value::Size,
};

/// Path and query, as they came: nothing is known of what they mean.
pub(super) type Url = Arc<str>;

/// No URL has more responses stored: of a field that differs in each request the oldest go.
const VARIANTS: usize = 32;

/// A stored response.
#[derive(Debug, Clone)]
pub(super) struct StoredResponse {
    pub(super) status: StatusCode,
    /// Its end-to-end fields, with the origin's `Date`.
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// What its request said in the fields that it varies by.
    selecting: Selecting,
    pub(super) control: ResponseControl,
    pub(super) lifetime: Duration,
    clocked: Clocked,
}

/// What a stored response is worth for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Worth {
    /// It can be given; for so long yet, where it is fresh.
    Fresh(Duration),
    /// It can be given, and is to be refreshed meanwhile (RFC 5861 3).
    WhileRefreshed {
        /// Since when it is stale.
        by: Duration,
    },
    /// The origin is to be asked first.
    Ask,
}

impl StoredResponse {
    /// `None` where the response answers no other request than its own.
    pub(super) fn of(
        request: &HeaderMap,
        status: StatusCode,
        headers: HeaderMap,
        body: Bytes,
        (asked_at, received_at): (Millis, Millis),
    ) -> Option<Self> {
        let selecting = selecting(&headers, request)?;
        let control = ResponseControl::of(&headers);
        let lifetime = lifetime(status, &headers, &control, received_at).duration();
        let clocked = Clocked::of(&headers, asked_at, received_at);
        Some(Self { status, headers, body, selecting, control, lifetime, clocked })
    }

    /// The same body after the origin has said that it still holds.
    pub(super) fn freshened(&self, newer: &HeaderMap, times: (Millis, Millis)) -> Option<Self> {
        let mut headers = self.headers.clone();
        headers.remove(header::AGE);
        merge(&mut headers, newer);
        let request = self.selecting.iter().filter_map(|(name, value)| {
            Some((name.clone(), HeaderValue::from_bytes(value.as_deref()?).ok()?))
        });
        Self::of(&request.collect(), self.status, headers, self.body.clone(), times)
    }

    /// Its age now; for ever where the clock was set back, so that it is not given without being asked for.
    pub(super) fn age(&self, now: Millis) -> Duration {
        self.clocked.age(now).unwrap_or(Duration::MAX)
    }

    /// When it came.
    pub(super) fn received_at(&self) -> Millis {
        self.clocked.received_at
    }

    /// What it is worth for a request with these directives (RFC 9111 4.2, 5.2.1).
    pub(super) fn worth(&self, wanted: &Directives, now: Millis) -> Worth {
        let age = self.age(now);
        if self.control.no_cache {
            return Worth::Ask;
        }
        let stale = !self.control.forbids_stale();
        let window = self.control.stale_while_revalidate.filter(|_| stale);
        // What is to be refreshed is refreshed, also where the request takes it stale.
        let strict = Directives { max_stale: None, ..*wanted };
        match strict.judge(age, self.lifetime) {
            Ok(left) => Worth::Fresh(left),
            Err(Staleness::Expired { by }) if window.is_some_and(|window| by <= window) => {
                Worth::WhileRefreshed { by }
            }
            Err(Staleness::Expired { .. }) if stale => {
                wanted.judge(age, self.lifetime).map_or(Worth::Ask, Worth::Fresh)
            }
            Err(_) => Worth::Ask,
        }
    }

    /// Whether it may be given though the origin failed: `answered`, with an error, or not at all (RFC 9111 4.2.4,
    /// RFC 5861 4).
    pub(super) fn may_stand_in(&self, answered: bool, now: Millis) -> bool {
        let by = self.age(now).saturating_sub(self.lifetime);
        let said = self.control.stale_if_error.map(|window| by <= window);
        !self.control.forbids_stale() && said.unwrap_or(!answered)
    }

    /// Puts into a request what lets the origin say that this still holds.
    pub(super) fn ask_whether_it_holds(&self, request: &mut HeaderMap) -> bool {
        let pairs =
            [(header::ETAG, header::IF_NONE_MATCH), (header::LAST_MODIFIED, header::IF_MODIFIED_SINCE)];
        let validators: Vec<(HeaderName, HeaderValue)> = pairs
            .into_iter()
            .filter_map(|(field, condition)| Some((condition, self.headers.get(field)?.clone())))
            .collect();
        if validators.is_empty() {
            return false;
        }
        for name in [header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE, header::IF_RANGE, header::RANGE] {
            request.remove(name);
        }
        request.extend(validators);
        true
    }

    /// Whether a 304 speaks of this response: it must not name another version (RFC 9111 4.3.4).
    pub(super) fn is_meant_by(&self, newer: &HeaderMap) -> bool {
        [header::ETAG, header::LAST_MODIFIED].iter().all(|name| {
            match (newer.get(name), self.headers.get(name)) {
                (Some(newer), Some(stored)) => newer == stored,
                _ => true,
            }
        })
    }

    /// Whether a response to HEAD describes this one (RFC 9111 4.3.5).
    pub(super) fn is_described_by(&self, head: &HeaderMap) -> bool {
        let length = head.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        self.is_meant_by(head) && length.is_none_or(|length: usize| length == self.body.len())
    }

    fn weight(&self) -> usize {
        let fields: usize =
            self.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 64).sum();
        self.body.len() + fields + 512
    }
}

/// All that is stored.
#[derive(Debug)]
pub(super) struct Shelf {
    by_url: Cache<Url, Arc<Vec<Arc<StoredResponse>>>>,
    /// Bytes that bodies may take yet, stored or under way.
    room: Arc<Semaphore>,
}

impl Shelf {
    pub(super) fn new(size: Size) -> Self {
        let weigh = |url: &Url, variants: &Arc<Vec<Arc<StoredResponse>>>| {
            let weight: usize = variants.iter().map(|stored| stored.weight()).sum();
            u32::try_from(weight + url.len()).unwrap_or(u32::MAX)
        };
        // What is under way may take as much again as what is stored.
        let room = size.bytes().saturating_mul(2).min(Semaphore::MAX_PERMITS);
        Self {
            by_url: Cache::builder().max_capacity(size.0).weigher(weigh).build(),
            room: Arc::new(Semaphore::new(room)),
        }
    }

    /// Room for so many bytes more of a body; `None` where there is none.
    pub(super) fn room(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let bytes = u32::try_from(bytes).ok()?;
        let take = || self.room.clone().try_acquire_many_owned(bytes).ok();
        take().or_else(|| {
            // What is no longer stored leaves its room only when the cache is tidied.
            self.by_url.run_pending_tasks();
            take()
        })
    }

    /// The newest response that was selected as this request would be.
    pub(super) fn find(&self, url: &Url, request: &HeaderMap) -> Option<Arc<StoredResponse>> {
        let variants = self.by_url.get(url)?;
        let selected = variants.iter().filter(|stored| {
            selecting(&stored.headers, request).is_some_and(|selecting| selecting == stored.selecting)
        });
        selected.max_by_key(|stored| stored.received_at()).cloned()
    }

    /// Stores a response in place of the one that was selected alike.
    pub(super) fn put(&self, url: Url, stored: Arc<StoredResponse>) {
        self.by_url.entry(url).and_upsert_with(|known| {
            let mut variants = known.map(|known| known.value().as_ref().clone()).unwrap_or_default();
            variants.retain(|other| other.selecting != stored.selecting);
            if variants.len() >= VARIANTS {
                variants.remove(0);
            }
            variants.push(stored);
            Arc::new(variants)
        });
    }

    /// Forgets all responses of a URL.
    pub(super) fn invalidate(&self, url: &str) {
        self.by_url.invalidate(&Url::from(url));
    }
}
