//! Which copy of what was last given to whom, so that a write that may come of an old copy can be told.
//!
//! What is kept of a copy is the stored answer itself, which is looked into only when a write comes; bounded in bytes
//! (`cache.given_copies`), those that were given longest ago go first. A copy that is forgotten is as none.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use memchr::memmem;
use moka::sync::Cache;

use super::{Entry, Question};
use crate::{
    alyx::{Endpoint, Route, record},
    clock::{Millis, SharedClock},
    settings::value::Size,
    storage::types::{CacheKey, TokenHash},
};

/// Own writes are remembered of so many records.
const WRITTEN: u64 = 10_000;
/// What a copy costs besides the answer that it is of.
const OVERHEAD: usize = 256;

/// Who holds a copy: a user's programs on several machines share one token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Holder {
    /// The token.
    pub token: TokenHash,
    /// The address of the client.
    pub client: IpAddr,
}

/// An answer as it was given to a holder.
#[derive(Debug)]
pub struct GivenCopy {
    at: AtomicI64,
    holder: Holder,
    route: Route,
    /// The answer; none where it went by as a stream.
    entry: Option<Arc<Entry>>,
    /// Whether Alyx itself said so at that moment, to this one.
    current: bool,
}

/// A record that a holder was given.
#[derive(Debug)]
pub struct GivenRecord {
    /// The columns and their texts.
    pub columns: BTreeMap<String, String>,
    /// Whether a list had it.
    pub listed: bool,
    /// Whether Alyx itself said so at that moment.
    pub current: bool,
    /// Whether it went by as a stream: what was in it is not known.
    pub unseen: bool,
    /// When.
    pub at: Millis,
}

/// The columns that holders wrote of a record, and when.
type OwnColumns = Arc<BTreeMap<String, Millis>>;

/// All copies that are remembered.
#[derive(Debug)]
pub struct GivenCopies {
    copies: Cache<(Holder, CacheKey), Arc<GivenCopy>>,
    written: Cache<(Holder, &'static str, String), OwnColumns>,
    clock: SharedClock,
}

impl GivenCopies {
    /// Remembers copies of so many bytes.
    pub fn new(size: Size, clock: SharedClock) -> Self {
        let weight = |_: &(Holder, CacheKey), copy: &Arc<GivenCopy>| {
            let body = copy.entry.as_ref().map_or(0, |entry| entry.weight());
            u32::try_from(body + OVERHEAD).unwrap_or(u32::MAX)
        };
        let copies = Cache::builder().weigher(weight).max_capacity(size.0).build();
        Self { copies, written: Cache::new(WRITTEN), clock }
    }

    /// Notes that an answer was given; `current` where Alyx itself said so at that moment, to this holder.
    pub fn note(
        &self,
        holder: Holder,
        question: &Question,
        entry: Option<Arc<Entry>>,
        current: bool,
    ) -> Arc<GivenCopy> {
        let key = (holder, question.key);
        let same = |known: &Arc<GivenCopy>| {
            let one = known.entry.as_ref().map(Arc::as_ptr);
            known.current == current && one == entry.as_ref().map(Arc::as_ptr)
        };
        if let Some(known) = self.copies.get(&key).filter(same) {
            known.again(self.clock.stamp());
            return known;
        }
        let (at, route) = (AtomicI64::new(self.clock.stamp()), question.route.clone());
        let copy = Arc::new(GivenCopy { at, holder, route, entry, current });
        self.copies.insert(key, copy.clone());
        copy
    }

    /// Notes that a holder has written these columns of a record: what it was given of them before is no longer what it
    /// holds.
    pub fn wrote(&self, holder: Holder, endpoint: &'static Endpoint, key: &str, columns: &[String]) {
        let at = self.clock.stamp();
        let name = (holder, endpoint.name, key.to_owned());
        let mut own = self.written.get(&name).map(|own| (*own).clone()).unwrap_or_default();
        own.extend(columns.iter().map(|column| (column.clone(), at)));
        self.written.insert(name, Arc::new(own));
    }

    /// When a holder wrote columns of a record.
    pub fn written(&self, holder: Holder, endpoint: &'static Endpoint, key: &str) -> OwnColumns {
        self.written.get(&(holder, endpoint.name, key.to_owned())).unwrap_or_default()
    }

    /// Each copy of a record that this holder was given, the newest first, and then those that others with its token were. Looks
    /// through all copies: not for threads that must not wait.
    pub fn records(&self, holder: Holder, endpoint: &'static Endpoint, key: &str) -> Vec<GivenRecord> {
        let of = |copy: &Arc<GivenCopy>| {
            copy.holder.token == holder.token
                && match &copy.route {
                    Route::List(listed) => listed.name == endpoint.name,
                    Route::Detail(shown, of) => shown.name == endpoint.name && of == key,
                    Route::Service(_) | Route::Other => false,
                }
        };
        let mut copies: Vec<Arc<GivenCopy>> =
            self.copies.iter().map(|(_, copy)| copy).filter(|copy| of(copy)).collect();
        // Of two at the same moment the detail is taken for the later one: who writes has looked at it.
        let listed = |copy: &GivenCopy| matches!(copy.route, Route::List(_));
        copies.sort_by_key(|copy| {
            (copy.holder.client != holder.client, std::cmp::Reverse(copy.given_at()), listed(copy))
        });
        copies.iter().filter_map(|copy| copy.record(endpoint, key)).collect()
    }
}

impl GivenCopy {
    /// It is given once more.
    pub fn again(&self, now: Millis) {
        self.at.fetch_max(now, Ordering::Relaxed);
    }

    fn given_at(&self) -> Millis {
        self.at.load(Ordering::Relaxed)
    }

    /// The record of this key, if it is in this copy.
    fn record(&self, endpoint: &'static Endpoint, key: &str) -> Option<GivenRecord> {
        let listed = matches!(self.route, Route::List(_));
        let (current, at) = (self.current, self.given_at());
        let Some(entry) = &self.entry else {
            return (!listed).then(|| GivenRecord {
                columns: BTreeMap::new(),
                listed,
                current,
                unseen: true,
                at,
            });
        };
        let body = std::str::from_utf8(&entry.body).ok()?;
        let text = if listed { listed_record(endpoint, key, body)? } else { body };
        Some(GivenRecord { columns: columns(text), listed, current, unseen: false, at })
    }
}

/// The columns of a record and their texts.
pub fn columns(record: &str) -> BTreeMap<String, String> {
    record::fields(record).map(|(name, text)| (name.to_owned(), text.to_owned())).collect()
}

/// The record of this key in a page of a list, or in an array of records.
pub fn listed_record<'b>(endpoint: &Endpoint, key: &str, body: &'b str) -> Option<&'b str> {
    // A name that may be escaped is looked for in each record.
    let plain =
        key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b' ' | b'.'));
    let finder = memmem::Finder::new(key);
    let may_be = |text: &str| !plain || finder.find(text.as_bytes()).is_some();
    if !may_be(body) {
        return None;
    }
    let page = body.trim_start().starts_with('{');
    let records = if page { record::fields(body).find(|(name, _)| *name == "results")?.1 } else { body };
    let is_it = |text: &&str| may_be(text) && endpoint.key_of(&record::parse(text)).as_deref() == Some(key);
    record::members(records).find(is_it)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_record_is_found_in_a_list_by_any_kind_of_key() {
        let page = r#"{"count":2,"next":null,"previous":null,"results":[
            {"nickname":"KS004","json":{"of":"KS005"}},{"nickname":"KS005","json":null},{"nickname":"M\u00fcller"}]}"#;
        let subjects = Endpoint::named("subjects").unwrap();
        let json = |key: &str| Some(columns(listed_record(subjects, key, page)?).remove("json"));
        assert_eq!(json("KS005"), Some(Some("null".to_owned())));
        assert_eq!(json("KS004").unwrap().unwrap(), r#"{"of":"KS005"}"#);
        assert_eq!(json("Müller"), Some(None));
        assert_eq!(json("KS00"), None);
        let array = r#"[{"url":"http://a/weighings/00000000-0000-4000-8000-00000000000a","weight":1}]"#;
        let weighings = Endpoint::named("weighings").unwrap();
        assert!(listed_record(weighings, "00000000-0000-4000-8000-00000000000a", array).is_some());
    }
}
