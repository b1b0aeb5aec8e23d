//! Up to when changes are known, by the server's clock.
//!
//! Change times are taken before a change is committed (REST.md 6.1), so what was asked once is asked again
//! until [`OVERLAP`] has passed; only then `low` moves up to the time that was `seen`. Times stand in the
//! server's own zone, which the settings may not say rightly: where no time has been seen yet, one is taken
//! that is earlier than now in every zone, and times in the future are not believed.

use std::time::Duration;

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

use crate::{clock::Millis, mirror::load};

/// How long a change may take to be committed.
pub(super) const OVERLAP: Duration = Duration::from_secs(120);
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
    Timestamp::from_millisecond(now).map_or(now * 1000, |at| load::micros(zone.to_datetime(at)))
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
}
