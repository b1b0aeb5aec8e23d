//! Times that come with a snapshot: none lies in the future. By one that does an answer would outlast all that Alyx says, and a
//! mark strike all that is ever stored.

use super::FileHead;
use crate::{
    cache::ExportedEntry,
    clock::{self, Millis},
    mirror::export::Head,
};

/// How far two clocks may be apart.
const APART: Millis = 60_000;
/// How far a server's own time may be ahead of UTC, in whatever zone.
const ZONES: Millis = 16 * 3_600_000;
/// Nothing in a snapshot is of a time before this, in microseconds (the year 1).
const EARLIEST: i64 = -62_135_596_800_000_000;

/// The times that may stand in a snapshot that is read now.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    latest: Millis,
}

impl Times {
    /// By a clock that stands here.
    pub(super) fn at(now: Millis) -> Self {
        Self { latest: now.saturating_add(APART) }
    }

    /// A time in milliseconds since 1970.
    pub(super) fn check(self, name: &str, at: Millis) -> Result<(), String> {
        if at > self.latest {
            return Err(ahead(name, at));
        }
        if at < 0 { Err(format!("`{name}` is no time")) } else { Ok(()) }
    }

    /// A time in microseconds by the clock of Alyx's server, in its zone.
    fn of_the_server(self, name: &str, at: i64) -> Result<(), String> {
        if at > self.latest.saturating_add(ZONES).saturating_mul(1000) {
            return Err(ahead(name, at / 1000));
        }
        if at < EARLIEST { Err(format!("`{name}` is no time")) } else { Ok(()) }
    }

    /// The times of a stored answer.
    pub(super) fn answer(self, answer: &ExportedEntry) -> Result<(), String> {
        self.check("asked_at", answer.asked_at)?;
        self.check("received_at", answer.received_at)?;
        answer.pages_since.map_or(Ok(()), |since| self.check("pages_since", since))
    }

    /// The times of a kept file.
    pub(super) fn file(self, head: &FileHead) -> Result<(), String> {
        self.check("asked_at", head.asked_at)?;
        self.check("received_at", head.received_at)
    }

    /// The times of a table.
    pub(super) fn table(self, head: &Head) -> Result<(), String> {
        self.check("synced_at", head.synced_at)?;
        self.check("listed_at", head.listed_at)?;
        self.check("seen_at", head.seen_at)?;
        self.of_the_server("low", head.low)?;
        self.of_the_server("seen", head.seen)
    }
}

fn ahead(name: &str, at: Millis) -> String {
    format!(
        "`{name}` lies in the future ({}): the clock of the machine that made it, or of this one, is wrong",
        clock::for_people(at)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_is_what_clocks_may_be_apart() {
        let now = 1_780_000_000_000;
        let times = Times::at(now);
        for (at, fine) in [(0, true), (now, true), (now + 60_000, true), (now + 60_001, false)] {
            assert_eq!(times.check("x", at).is_ok(), fine, "{at}");
        }
        for at in [-1, Millis::MIN, Millis::MAX, 9_000_000_000_000_000_000] {
            assert!(times.check("x", at).is_err(), "{at}");
        }
        // The server's clock is that of its zone.
        assert!(times.of_the_server("x", (now + 14 * 3_600_000) * 1000).is_ok());
        for at in [(now + 17 * 3_600_000) * 1000, i64::MAX, i64::MIN] {
            assert!(times.of_the_server("x", at).is_err(), "{at}");
        }
    }
}
