//! Up to when changes are known, by the server's clock.
//!
//! Change times are taken before a change is committed (ALYX.md 6.1), so what was asked once is asked again
//! until [`OVERLAP`] has passed; only then `low` moves up to the time that was `seen`. Times stand in the
//! server's own zone, which the settings may not say rightly: where no time has been seen yet, one is taken
//! that is earlier than now in every zone, and times in the future are not believed.

use std::time::Duration;

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

use crate::{clock::Millis, mirror::ingest};

/// How far the changes of a table are known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor {
    /// What changed until then is surely here.
    pub(super) low: i64,
    /// The latest change that was seen,
    pub(super) seen: i64,
    /// and when that was.
    pub(super) seen_at: Millis,
}

/// The latest change time that the records here show.
#[derive(Debug, Clone, Copy)]
pub(super) enum Latest {
    /// None shows one.
    Unknown,
    /// This one, of those records whose details are here.
    OfSome(i64),
    /// This one.
    OfAll(i64),
}

impl Latest {
    pub(super) fn time(self) -> Option<i64> {
        match self {
            Self::Unknown => None,
            Self::OfSome(time) | Self::OfAll(time) => Some(time),
        }
    }

    /// What was shown before, where none shows one now: details that went, as they may be old, have been seen all the same.
    pub(super) fn or(self, before: Self) -> Self {
        if matches!(self, Self::Unknown) { before } else { self }
    }
}

impl Cursor {
    /// From when on changes are asked for. What our clock said counts only as far as the records bear it out: it may have
    /// been ahead.
    pub(super) fn from(self, latest: Latest, now: i64, start: Millis) -> i64 {
        let low = self.low.min(now);
        match latest {
            Latest::OfAll(time) => low.min(time),
            Latest::OfSome(time) if self.is_set_back(start) => low.min(time),
            Latest::Unknown if self.is_set_back(start) => low.min(surely_before(start)),
            _ => low,
        }
    }

    /// After what changed since `from` has been taken over; none while it may still be committed.
    pub(super) fn moved(self, from: i64, latest: Latest, start: Millis) -> Option<Self> {
        let overlap = Millis::try_from(OVERLAP.as_millis()).unwrap_or(Millis::MAX);
        let low = if self.is_set_back(start) {
            from
        } else if self.seen_at + overlap <= start {
            self.low.max(self.seen)
        } else {
            return None;
        };
        Some(Self { low, seen: latest.time().unwrap_or_else(|| surely_before(start)), seen_at: start })
    }

    /// Whether the clock stands before the time at which it was looked last.
    fn is_set_back(self, start: Millis) -> bool {
        self.seen_at > start
    }
}

/// How long a change may take to be committed.
pub(super) const OVERLAP: Duration = Duration::from_mins(2);
const HOUR: i64 = 3_600_000_000;

/// A time, in microseconds of any zone, that is surely earlier than now there.
pub(super) fn surely_before(now: Millis) -> i64 {
    now * 1000 - 14 * HOUR
}

/// A time that is surely later: a record that says to have changed after it can't have.
pub(super) fn surely_after(now: Millis) -> i64 {
    now * 1000 + 16 * HOUR
}

/// Now in this zone.
pub(super) fn now_in(zone: &str, now: Millis) -> i64 {
    let zone = TimeZone::get(zone).unwrap_or(TimeZone::UTC);
    Timestamp::from_millisecond(now).map_or(now * 1000, |at| ingest::micros(zone.to_datetime(at)))
}

/// How much of the server's time has come twice lately, as a summer has ended there: what changed in the second hour says
/// that it did before what changed in the first. Zero at other times.
pub(super) fn repeated(zone: &str, now: Millis) -> i64 {
    const LATELY: Millis = 3 * 3_600_000;
    const MORE: i64 = 10 * 60_000_000;
    let zone = TimeZone::get(zone).unwrap_or(TimeZone::UTC);
    let offset =
        |at: Millis| Timestamp::from_millisecond(at).map_or(0, |at| i64::from(zone.to_offset(at).seconds()));
    match offset(now - LATELY) - offset(now) {
        back if back > 0 => back * 1_000_000 + MORE,
        _ => 0,
    }
}

/// A time as Alyx's filters take it.
pub(super) fn text(micros: i64) -> String {
    let time = Timestamp::from_microsecond(micros).map(|at| TimeZone::UTC.to_datetime(at));
    let time: DateTime = time.unwrap_or_default();
    format!("{}", time.strftime("%Y-%m-%dT%H:%M:%S.%6f"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_as_alyx_reads_it() {
        assert_eq!(text(1_709_288_430_000_005), "2024-03-01T10:20:30.000005");
        assert_eq!(now_in("Europe/London", 1_720_000_000_000) - 1_720_000_000_000_000, HOUR);
    }

    #[test]
    fn the_hour_that_comes_twice_is_asked_for_again() {
        // Summer time ended in London at 01:00 UTC on 2025-10-26.
        let end = 1_761_440_400_000;
        let hour = 3_600_000;
        assert_eq!(repeated("Europe/London", end - 1), 0);
        for minutes in [0, 59, 179] {
            assert_eq!(repeated("Europe/London", end + minutes * 60_000), HOUR + HOUR / 6);
        }
        assert_eq!(repeated("Europe/London", end + 4 * hour), 0);
        // Summer time begins; and a zone without one.
        assert_eq!(repeated("Europe/London", 1_743_296_400_000 + hour), 0);
        assert_eq!(repeated("UTC", end + hour), 0);
    }

    #[test]
    fn a_clock_that_was_ahead_loses_no_change() {
        let (now, day) = (1_761_000_000_000, 86_400_000);
        let changed = (now - 7200) * 1000;
        // Three days ahead it saw nothing newer than what the records say, and took its own word for the rest.
        let ahead = Cursor {
            low: surely_before(now + 3 * day),
            seen: surely_before(now + 3 * day),
            seen_at: now + 3 * day,
        };
        for latest in [Latest::OfAll(changed), Latest::OfSome(changed)] {
            let from = ahead.from(latest, now * 1000, now);
            assert_eq!(from, changed);
            let moved = ahead.moved(from, latest, now).unwrap();
            assert_eq!((moved.low, moved.seen, moved.seen_at), (changed, changed, now));
        }
        assert_eq!(ahead.from(Latest::Unknown, now * 1000, now), surely_before(now));
        // As a rule it moves on once what was seen must be committed.
        let cursor = Cursor { low: changed - 9, seen: changed - 5, seen_at: now - 60_000 };
        assert!(cursor.moved(changed - 9, Latest::OfAll(changed), now).is_none());
        let moved = cursor.moved(changed - 9, Latest::OfAll(changed), now + 60_000).unwrap();
        assert_eq!((moved.low, moved.seen), (changed - 5, changed));
    }
    #[test]
    fn what_was_shown_before_its_details_went_counts() {
        let (now, changed) = (1_761_000_000_000, 1_760_999_000_000_000);
        let cursor = Cursor { low: surely_before(now), seen: surely_before(now), seen_at: now - 300_000 };
        let moved = |latest| cursor.moved(cursor.low, latest, now).unwrap().seen;
        assert_eq!(moved(Latest::Unknown.or(Latest::OfSome(changed))), changed);
        assert_eq!(moved(Latest::OfSome(changed + 1).or(Latest::OfSome(changed))), changed + 1);
        // Else the same records would be asked for again and again, and their details with them.
        assert_eq!(moved(Latest::Unknown.or(Latest::Unknown)), surely_before(now));
    }
}
