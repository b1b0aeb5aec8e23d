//! How recent the mirror's tables must be for a question, and how long what is not there is believed.

use std::{sync::Arc, time::Duration};

use super::{
    from_mirror::{CachedAnswer, FromMirror, MirrorMiss},
    hot_cache::{MAX_AGE, RepeatTerms, RepeatedFrom},
};
use crate::{
    alyx::{Class, ENDPOINTS, Endpoint, Route},
    cache::{Entry, Question, freshness},
    clock::Millis,
    http::Directives,
    mirror::answer::{Recency, TableUse},
    settings::Settings,
};

impl FromMirror {
    /// How recent tables must be for a request while Alyx can be reached.
    pub(crate) fn recency(
        &self,
        question: &Question,
        settings: &Settings,
        directives: &Directives,
    ) -> Result<Recency, MirrorMiss> {
        if let Route::List(endpoint) | Route::Detail(endpoint, _) = &question.route
            && (question.class == Class::Volatile
                || freshness::of_endpoint(endpoint, question.class, settings).0.is_zero())
        {
            return Err(MirrorMiss::Volatile);
        }
        let longest = settings.mirror.max_age.0;
        if directives.oldest(longest).is_none() {
            return Err(MirrorMiss::Request);
        }
        let now = self.core.clock.now();
        let since = |lifetime: Duration| {
            let oldest = directives.oldest(lifetime).unwrap_or_default();
            now.saturating_sub(Millis::try_from(oldest.as_millis()).unwrap_or(Millis::MAX))
        };
        let asked = match &question.route {
            Route::List(endpoint) | Route::Detail(endpoint, _) => endpoint.name,
            Route::Service(_) | Route::Other => "",
        };
        let exception = |endpoint: &Endpoint| {
            let class = if endpoint.name == asked { question.class } else { endpoint.class };
            let span = freshness::of_endpoint(endpoint, class, settings).0;
            // The shorter of both holds.
            (span < longest).then(|| (endpoint.name, since(span)))
        };
        Ok(Recency {
            since: since(longest),
            until: now,
            exceptions: ENDPOINTS.iter().filter_map(exception).collect(),
            written: self.core.responses.written_lists(),
            alone: false,
        })
    }

    /// On what terms an answer that the mirror has just given may be given again to whose token counts until then: until one of
    /// its tables is too old. That there is none is not believed for long, and what depends on the day ends with it.
    pub(super) fn repeat_terms(
        &self,
        question: &Question,
        entry: &Arc<Entry>,
        settings: &Settings,
        token_until: Millis,
    ) -> Option<RepeatTerms> {
        let kept = self.lately(question).filter(|kept| Arc::ptr_eq(&kept.entry, entry))?;
        let is_lasting = kept.is_of_day(self.core.mode.today(settings, self.core.clock.now() + MAX_AGE))
            && !freshness::is_negative(entry);
        let recency = self.recency(question, settings, &Directives::default()).ok().filter(|_| is_lasting)?;
        let until = kept.tables.iter().map(|table| recency.counts_until(table));
        let tables = kept.tables.iter().map(|table| table.endpoint).collect();
        let until = until.min().unwrap_or(Millis::MAX).min(token_until);
        let question = Arc::new(question.clone());
        Some(RepeatTerms { from: RepeatedFrom::Mirror { question, tables }, until })
    }

    /// Of an answer that there is none, as of longer ago than that is believed, the tables that are to be looked at: what is
    /// missing is often made next.
    pub(super) fn may_be_new(&self, kept: &CachedAnswer, settings: &Settings) -> Option<Vec<&'static str>> {
        if says_there_is_none(&kept.entry) {
            return Some(Vec::new());
        }
        if !freshness::is_negative(&kept.entry) {
            return None;
        }
        let synchroniser = self.core.synchroniser.as_ref();
        let now = self.core.clock.now();
        let believed = now - settings.cache.negative_ttl.millis();
        let known_at = |table: &TableUse| {
            let changes = synchroniser.and_then(|one| one.changes_known_at(table.endpoint));
            table.synced_at.max(changes.filter(|at| *at <= now).unwrap_or(Millis::MIN))
        };
        let decide = kept.tables.iter().filter(|table| !table.only_shown);
        let old = decide.filter(|table| known_at(table) < believed);
        let old: Vec<_> = old.map(|table| table.endpoint).collect();
        (!old.is_empty()).then_some(old)
    }
}

/// Whether Alyx would say that a record, or one that a parameter names, does not exist. It may have been
/// created after the last synchronisation, and whoever created it will ask for it at once; so this is said
/// here only while Alyx can't be asked.
fn says_there_is_none(entry: &Entry) -> bool {
    const PHRASES: [&[u8]; 2] = [b"is not one of the available choices", b"matching query does not exist"];
    let says = |phrase: &&[u8]| memchr::memmem::find(&entry.body, phrase).is_some();
    match entry.status.as_u16() {
        404 => true,
        400 | 500 => PHRASES.iter().any(says),
        _ => false,
    }
}
