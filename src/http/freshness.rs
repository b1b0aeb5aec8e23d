//! How long a response is fresh, and how old it is (RFC 9111 4.2).

use std::time::Duration;

use http::{HeaderMap, HeaderName, StatusCode, header};

use super::{cache_control::ResponseControl, date, storable::heuristically_cacheable};
use crate::clock::Millis;

/// Without a word of its own a response counts as fresh for no longer.
const LONGEST_GUESS: Duration = Duration::from_hours(24);

/// How long a response is fresh, counted from when the origin made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// As the response says.
    Said(Duration),
    /// A tenth of the time for which it had not changed (RFC 9111 4.2.2).
    Guessed(Duration),
    /// It says nothing, and nothing can be guessed.
    None,
}

impl Lifetime {
    /// The time; zero where there is none.
    pub fn duration(self) -> Duration {
        match self {
            Self::Said(time) | Self::Guessed(time) => time,
            Self::None => Duration::ZERO,
        }
    }
}

/// The lifetime of a response for a shared cache (RFC 9111 4.2.1).
pub fn lifetime(
    status: StatusCode,
    headers: &HeaderMap,
    control: &ResponseControl,
    received_at: Millis,
) -> Lifetime {
    if let Some(said) = control.s_maxage.or(control.max_age) {
        return Lifetime::Said(said);
    }
    let made_at = of_date(headers, &header::DATE).unwrap_or(received_at);
    if !control.targeted && headers.contains_key(header::EXPIRES) {
        // What is no date, or more than one, is over (RFC 9111 5.3).
        let expires = of_date(headers, &header::EXPIRES);
        return Lifetime::Said(expires.map_or(Duration::ZERO, |at| span(at - made_at)));
    }
    let unchanged = of_date(headers, &header::LAST_MODIFIED).map(|changed| span(made_at - changed));
    match unchanged {
        Some(unchanged) if heuristically_cacheable(status) || control.public => {
            Lifetime::Guessed((unchanged / 10).min(LONGEST_GUESS))
        }
        _ => Lifetime::None,
    }
}

/// When a response was asked for and came, and how old it says that it was (RFC 9111 4.2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clocked {
    /// Its age when it was here: the larger of what `Age` and `Date` say.
    initial: Duration,
    /// When it was here.
    pub received_at: Millis,
}

impl Clocked {
    /// For a response that was asked for and came at these times.
    pub fn of(headers: &HeaderMap, asked_at: Millis, received_at: Millis) -> Self {
        let apparent =
            of_date(headers, &header::DATE).map_or(Duration::ZERO, |made| span(received_at - made));
        let corrected = age_field(headers) + span(received_at - asked_at);
        Self { initial: apparent.max(corrected), received_at }
    }

    /// Its age now; `None` if the clock was set back since it came.
    pub fn age(&self, now: Millis) -> Option<Duration> {
        let resident = u64::try_from(now - self.received_at).ok()?;
        Some(self.initial + Duration::from_millis(resident))
    }
}

/// `Age`: of several values the first counts; what is no number is disregarded (RFC 9111 5.1).
fn age_field(headers: &HeaderMap) -> Duration {
    let line = headers.get(header::AGE).and_then(|line| line.to_str().ok()).unwrap_or_default();
    let first = line.split(',').next().unwrap_or_default().trim();
    super::cache_control::seconds(first).unwrap_or(Duration::ZERO)
}

fn of_date(headers: &HeaderMap, name: &HeaderName) -> Option<Millis> {
    let mut lines = headers.get_all(name).iter();
    let date = date::parse(lines.next()?.to_str().ok()?);
    date.filter(|_| lines.next().is_none())
}

/// Milliseconds as a span; zero for what lies in the future.
fn span(millis: Millis) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const NOW: Millis = 1_780_000_000_000;

    fn headers(fields: &[(HeaderName, &str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
    }

    fn date(at: Millis) -> String {
        let at = std::time::UNIX_EPOCH + Duration::from_millis(u64::try_from(at).unwrap());
        httpdate::fmt_http_date(at)
    }

    fn of(status: u16, fields: &[(HeaderName, &str)]) -> Lifetime {
        let headers = headers(fields);
        let control = ResponseControl::of(&headers);
        lifetime(StatusCode::from_u16(status).unwrap(), &headers, &control, NOW)
    }

    #[test]
    fn what_a_response_says_comes_first() {
        let (now, soon, ago) = (date(NOW), date(NOW + 60_000), date(NOW - 1_000_000));
        let said = |seconds| Lifetime::Said(Duration::from_secs(seconds));
        let control = |text: &'static str| (header::CACHE_CONTROL, text);
        assert_eq!(of(200, &[control("max-age=5, s-maxage=7"), (header::EXPIRES, &ago)]), said(7));
        assert_eq!(of(200, &[control("max-age=5"), (header::EXPIRES, &soon)]), said(5));
        assert_eq!(of(200, &[(header::DATE, &now), (header::EXPIRES, &soon)]), said(60));
        assert_eq!(of(200, &[(header::DATE, "foo"), (header::EXPIRES, &soon)]), said(60));
        assert_eq!(of(200, &[(header::DATE, &now), (header::EXPIRES, "0")]), said(0));
        assert_eq!(of(200, &[(header::EXPIRES, &soon), (header::EXPIRES, &soon)]), said(0));
        let guess = Lifetime::Guessed(Duration::from_secs(100));
        assert_eq!(of(200, &[(header::DATE, &now), (header::LAST_MODIFIED, &ago)]), guess);
        assert_eq!(of(201, &[(header::DATE, &now), (header::LAST_MODIFIED, &ago)]), Lifetime::None);
        assert_eq!(of(599, &[(header::DATE, &now), (header::LAST_MODIFIED, &ago), control("public")]), guess);
        assert_eq!(of(200, &[]), Lifetime::None);
    }

    #[test]
    fn a_clock_that_was_set_back_leaves_no_age() {
        let clocked = Clocked::of(&HeaderMap::new(), NOW, NOW);
        assert_eq!(clocked.age(NOW), Some(Duration::ZERO));
        assert_eq!(clocked.age(NOW - 1), None);
    }

    proptest! {
        /// A response is never younger than `Age`, `Date` or its stay here say, whatever the clocks.
        #[test]
        fn never_younger_than_anything_says(
            age in 0_u32..1_000_000, made in -1_000_000_i64..1_000_000, way in 0_i64..60_000, stay in 0_i64..1_000_000
        ) {
            let fields = [(header::AGE, age.to_string()), (header::DATE, date(NOW + made * 1000))];
            let fields = fields.each_ref().map(|(name, value)| (name.clone(), value.as_str()));
            let clocked = Clocked::of(&headers(&fields), NOW - way, NOW);
            let old = clocked.age(NOW + stay).unwrap();
            prop_assert!(old >= Duration::from_secs(age.into()) + span(stay));
            prop_assert!(old >= span(stay - made * 1000));
            prop_assert!(old >= span(way + stay));
        }
    }
}
