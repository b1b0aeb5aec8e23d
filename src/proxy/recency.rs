//! How recent the mirror's tables must be for a question.

use std::time::Duration;

use super::from_mirror::{FromMirror, MirrorMiss};
use crate::{
    alyx::{Class, ENDPOINTS, Endpoint, Route},
    cache::{Question, freshness},
    clock::Millis,
    http::Directives,
    mirror::answer::Recency,
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
}
