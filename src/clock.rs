//! The time of day, as the store keeps it: milliseconds since 1970 UTC.
//!
//! Ages are counted by the time of day ([`now`]). What came before what is told by stamps ([`stamp`]), which go on also
//! where the clock was set back: an answer that was asked for after a write must never seem to be older than it.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Milliseconds since 1970-01-01 UTC.
pub type Millis = i64;

/// Now.
pub fn now() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Millis::try_from(since.as_millis()).unwrap_or(Millis::MAX)
}

/// The value of `Age` for something that came at this time, in seconds. From a clock that was set back its age is not known,
/// and is said to be as high as an age can be (RFC 9111 1.2.2).
pub fn age_field(received_at: Millis) -> u64 {
    match now() - received_at {
        age if age >= -1000 => u64::try_from(age / 1000).unwrap_or(0),
        _ => 1 << 31,
    }
}

/// The last stamp.
static LAST: AtomicI64 = AtomicI64::new(Millis::MIN);

/// A point in time for the order of things: now, and later than every stamp before.
pub fn stamp() -> Millis {
    let now = now();
    let next = |last: Millis| now.max(last.saturating_add(1));
    let last = LAST.fetch_update(Ordering::AcqRel, Ordering::Acquire, |last| Some(next(last)));
    next(last.unwrap_or(Millis::MIN))
}

/// Stamps from here on are later than this one, which comes from an earlier run.
pub fn stamps_go_on_from(last: Millis) {
    LAST.fetch_max(last, Ordering::AcqRel);
}

/// The day in a time zone by its IANA name; in UTC where there is no such zone.
pub fn today(time_zone: &str) -> jiff::civil::Date {
    let zone = jiff::tz::TimeZone::get(time_zone).unwrap_or(jiff::tz::TimeZone::UTC);
    jiff::Timestamp::now().to_zoned(zone).date()
}

/// `2026-11-23 09:12 UTC`, for people.
pub fn for_people(at: Millis) -> String {
    jiff::Timestamp::from_millisecond(at)
        .map_or_else(|_| "an unknown time".to_owned(), |at| at.strftime("%Y-%m-%d %H:%M UTC").to_string())
}

/// RFC 3339, for machines.
pub fn for_machines(at: Millis) -> String {
    jiff::Timestamp::from_millisecond(at).map(|at| at.to_string()).unwrap_or_default()
}

/// A span of milliseconds in coarse words: `40 seconds`, `3 hours`, `2 days`.
pub fn span_for_people(millis: Millis) -> String {
    let seconds = (millis / 1000).max(0);
    let (count, unit) = match seconds {
        0..120 => (seconds, "second"),
        120..7_200 => (seconds / 60, "minute"),
        7_200..172_800 => (seconds / 3_600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_go_on_whatever_the_clock_says() {
        let first = stamp();
        assert!(first >= now() - 60_000);
        stamps_go_on_from(first + 3_000);
        let later = stamp();
        assert!(later > first + 3_000, "the clock is behind");
        assert!(stamp() > later);
    }
}
