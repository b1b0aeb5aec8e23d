//! When a stored answer counts as fresh.

use std::time::Duration;

use http::StatusCode;

use super::{Entry, Question};
use crate::{
    alyx::{Class, Endpoint, Route},
    clock,
    http::{Directives, reuse::Staleness},
    settings::{Settings, value::Span},
};

/// How fresh a stored answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// It can be given as it is, for so long.
    Fresh {
        /// Time left.
        left: Duration,
    },
    /// It can't be given without asking Alyx, except as the reason allows.
    Stale(Staleness),
}

/// Judges by age alone.
pub(super) fn by_age(question: &Question, entry: &Entry, settings: &Settings) -> Freshness {
    let negative = is_negative(entry);
    let lifetime = lifetime(question, negative, settings);
    if lifetime.0.is_zero() {
        return Freshness::Stale(Staleness::NeverFresh);
    }
    let age = clock::now() - entry.received_at;
    let Ok(age) = u64::try_from(age).map(Duration::from_millis) else {
        return Freshness::Stale(Staleness::Clock);
    };
    match lifetime.0.checked_sub(age) {
        Some(left) => Freshness::Fresh { left },
        None if negative => Freshness::Stale(Staleness::Negative),
        None => Freshness::Stale(Staleness::Expired { by: age.saturating_sub(lifetime.0) }),
    }
}

/// How long what an endpoint says counts as fresh, where its class is this one.
pub fn of_endpoint(endpoint: &Endpoint, class: Class, settings: &Settings) -> Span {
    let by_name = settings.freshness.endpoints.get(endpoint.name).copied();
    by_name.unwrap_or_else(|| of_class(class, settings))
}

/// Whether an answer says that there is nothing: a 404, or a list without records. What is missing is often made next,
/// by whoever asked.
pub fn is_negative(entry: &Entry) -> bool {
    entry.status == StatusCode::NOT_FOUND || entry.count() == Some(0) || entry.body.trim_ascii() == b"[]"
}

fn of_class(class: Class, settings: &Settings) -> Span {
    let freshness = &settings.freshness;
    match class {
        Class::Reference => freshness.reference,
        Class::Records => freshness.records,
        Class::Volatile => freshness.volatile,
        Class::Schema => freshness.schema,
        Class::Tables => freshness.tables,
    }
}

/// How long an answer to this question counts as fresh.
fn lifetime(question: &Question, negative: bool, settings: &Settings) -> Span {
    let span = match &question.route {
        Route::List(endpoint) | Route::Detail(endpoint, _) => of_endpoint(endpoint, question.class, settings),
        Route::Service(_) | Route::Other => of_class(question.class, settings),
    };
    if negative { span.min(settings.cache.negative_ttl) } else { span }
}

impl Freshness {
    /// Seconds for which the answer is fresh yet; negative where its time is over.
    pub fn ttl(self) -> i64 {
        let seconds = |span: Duration| i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
        match self {
            Self::Fresh { left } => seconds(left),
            Self::Stale(Staleness::Expired { by }) => -seconds(by),
            Self::Stale(_) => 0,
        }
    }

    /// The verdict for a request with these directives (RFC 9111 5.2.1), for an answer of this age.
    #[must_use]
    pub fn for_request(self, directives: &Directives, age: Duration) -> Self {
        // Whoever wishes for something newer must not get what everybody is spared.
        if matches!(self, Self::Stale(Staleness::Written | Staleness::OlderPage | Staleness::Clock)) {
            return self;
        }
        let too_old = directives.max_age.is_some_and(|limit| age > limit);
        if directives.no_cache || too_old {
            return Self::Stale(Staleness::Request);
        }
        match self {
            Self::Fresh { left } if directives.min_fresh.is_some_and(|wanted| left < wanted) => {
                Self::Stale(Staleness::Request)
            }
            Self::Stale(Staleness::Expired { by })
                if directives.max_stale.is_some_and(|allowed| by <= allowed) =>
            {
                Self::Fresh { left: Duration::ZERO }
            }
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn requests_can_be_stricter_and_looser() {
        let fresh = Freshness::Fresh { left: SECOND };
        let expired = Freshness::Stale(Staleness::Expired { by: SECOND });
        let wanted = Freshness::Stale(Staleness::Request);
        let with = |change: fn(&mut Directives)| {
            let mut directives = Directives::default();
            change(&mut directives);
            directives
        };
        assert_eq!(fresh.for_request(&with(|_| ()), SECOND), fresh);
        assert_eq!(fresh.for_request(&with(|d| d.no_cache = true), SECOND), wanted);
        assert_eq!(fresh.for_request(&with(|d| d.max_age = Some(SECOND)), SECOND), fresh);
        assert_eq!(fresh.for_request(&with(|d| d.max_age = Some(SECOND)), SECOND * 2), wanted);
        assert_eq!(fresh.for_request(&with(|d| d.min_fresh = Some(SECOND * 2)), SECOND), wanted);
        assert_eq!(
            expired.for_request(&with(|d| d.max_stale = Some(SECOND)), SECOND),
            Freshness::Fresh { left: Duration::ZERO }
        );
        let written = Freshness::Stale(Staleness::Written);
        assert_eq!(written.for_request(&with(|d| d.max_stale = Some(Duration::MAX)), SECOND), written);
    }
}
