//! The time of day, as the store keeps it: milliseconds since 1970 UTC.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970-01-01 UTC.
pub type Millis = i64;

/// Now.
pub fn now() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Millis::try_from(since.as_millis()).unwrap_or(Millis::MAX)
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
