//! When a stored answer counts as fresh.

use std::time::Duration;

use http::StatusCode;

use super::{Entry, Question};
use crate::{
    alyx::{Class, Endpoint, Route},
    clock::Millis,
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
pub(super) fn by_age(question: &Question, entry: &Entry, settings: &Settings, now: Millis) -> Freshness {
    let negative = is_negative(entry);
    let lifetime = lifetime(question, negative, settings);
    if lifetime.0.is_zero() {
        return Freshness::Stale(Staleness::NeverFresh);
    }
    let age = now - entry.received_at;
    let Ok(age) = u64::try_from(age).map(Duration::from_millis) else {
        return Freshness::Stale(Staleness::Clock);
    };
    match lifetime.0.checked_sub(age).filter(|left| !left.is_zero()) {
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
        let lifetime = match self {
            Self::Fresh { left } => age.saturating_add(left),
            Self::Stale(Staleness::Expired { by }) => age.saturating_sub(by),
            // Whoever wishes for something newer must not get what everybody is spared.
            Self::Stale(Staleness::Written | Staleness::OlderPage | Staleness::Clock) => return self,
            // No request takes it stale.
            Self::Stale(_) => {
                let strict = Directives { max_stale: None, ..*directives };
                let request = strict.judge(age, Duration::ZERO) == Err(Staleness::Request);
                return if request { Self::Stale(Staleness::Request) } else { self };
            }
        };
        match directives.judge(age, lifetime) {
            Ok(left) => Self::Fresh { left },
            Err(staleness) => Self::Stale(staleness),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, Uri};

    use super::*;
    use crate::{alyx::route::classify, cache::JsonVariant};

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn an_answer_expires_to_the_millisecond() {
        let question = |path: &'static str| {
            let route = classify(&path[1..].split('/').collect::<Vec<_>>());
            let class = route.class().unwrap();
            Question::new(route, class, &Uri::from_static(path), &JsonVariant::plain(), None)
        };
        let mut settings = Settings::default();
        settings.freshness.records = Span::seconds(60);
        settings.cache.negative_ttl = Span::seconds(10);
        let received_at = 1_000_000;
        let (list, detail) = (question("/sessions"), question("/subjects/KS004"));
        let judged = |question: &Question, status: StatusCode, settings: &Settings, age: Millis| {
            let (headers, body) = (HeaderMap::new(), Bytes::from_static(b"[{}]"));
            let entry = Entry::made(status, headers, body, question, received_at, "http://alyx").unwrap();
            by_age(question, &entry, settings, received_at + age)
        };
        let fresh = |left| Freshness::Fresh { left: Duration::from_millis(left) };
        let expired = |by| Freshness::Stale(Staleness::Expired { by: Duration::from_millis(by) });
        for (question, status, lifetime) in [
            (&list, StatusCode::OK, 60_000_i64),
            (&detail, StatusCode::OK, 60_000),
            (&detail, StatusCode::NOT_FOUND, 10_000),
        ] {
            let judged = |age| judged(question, status, &settings, age);
            let over = |by| match status {
                StatusCode::OK => expired(by),
                _ => Freshness::Stale(Staleness::Negative),
            };
            assert_eq!(judged(0), fresh(lifetime.unsigned_abs()));
            assert_eq!(judged(lifetime - 1), fresh(1));
            assert_eq!(judged(lifetime), over(0));
            assert_eq!(judged(lifetime + 1), over(1));
            assert_eq!(judged(-1), Freshness::Stale(Staleness::Clock));
        }
        // Given while it is refreshed for so long, and no longer.
        let window = settings.cache.stale_while_revalidate.0;
        let behind = |by| Staleness::Expired { by }.may_be_refreshed_behind(&settings);
        assert!(behind(window) && !behind(window + Duration::from_millis(1)));
        settings.freshness.endpoints.insert("sessions".to_owned(), Span(Duration::ZERO));
        assert_eq!(judged(&list, StatusCode::OK, &settings, 0), Freshness::Stale(Staleness::NeverFresh));
    }

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
