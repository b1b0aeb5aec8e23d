//! Where the time comes from: the time of day in milliseconds since 1970 UTC, the monotonic time, and stamps.
//!
//! What tells time is given a [`Clock`]: [`SystemClock`] in the program, `ManualClock` in tests, which then test expiry,
//! grace, pauses and throttles to the millisecond. Ages are counted by the time of day ([`Clock::now`]). What came before
//! what is told by stamps ([`Clock::stamp`]), which go on also where the clock was set back: an answer that was asked for
//! after a write must never seem to be older than it. Waiting is tokio's: until a deadline that was made of
//! [`Clock::instant`] where one is kept to across calls.

use std::{
    fmt::Debug,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Milliseconds since 1970-01-01 UTC.
pub type Millis = i64;

/// A source of time.
pub trait Clock: Debug + Send + Sync {
    /// The time of day. It can be set back.
    fn now(&self) -> Millis;

    /// The monotonic time, for deadlines and for how long something took.
    fn instant(&self) -> Instant;

    /// The time since the machine started, which goes on while it sleeps: for what others count on to end.
    fn awake(&self) -> Duration;

    /// A point in time for the order of things: now, and later than every stamp before.
    fn stamp(&self) -> Millis;

    /// Stamps from here on are later than this one, which comes from an earlier run.
    fn stamps_continue_after(&self, last: Millis);

    /// No stamp that was handed out so far is later.
    fn latest_stamp(&self) -> Millis;

    /// The latest time that is believed of what lies on the disk: what is later was not written by a clock that was right, nor
    /// by one that went wrong for a while. One that stands before this program's time says nothing of it.
    fn latest_believed(&self) -> Millis {
        let now = self.now();
        if now < PROGRAM { LATEST } else { now.saturating_add(YEAR) }
    }
}

/// No clock that is right shows an earlier time (2026-01-01): this program was not there yet.
const PROGRAM: Millis = 1_767_225_600_000;
const YEAR: Millis = 366 * 86_400_000;
/// Later than all that is ever meant, and far from where numbers end.
const LATEST: Millis = 1 << 53;

/// A clock that rooms share.
pub type SharedClock = Arc<dyn Clock>;

/// The computer's clock. All of them in one process hand out the same row of stamps.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

static STAMPS: Stamps = Stamps::new();

#[allow(clippy::disallowed_methods, reason = "this is where the time comes from")]
impl Clock for SystemClock {
    fn now(&self) -> Millis {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Millis::try_from(since.as_millis()).unwrap_or(Millis::MAX)
    }

    fn instant(&self) -> Instant {
        Instant::now()
    }

    #[cfg(unix)]
    fn awake(&self) -> Duration {
        use rustix::time::{ClockId, clock_gettime};
        #[cfg(target_os = "linux")]
        const CLOCK: ClockId = ClockId::Boottime;
        #[cfg(not(target_os = "linux"))]
        const CLOCK: ClockId = ClockId::Monotonic;
        let time = clock_gettime(CLOCK);
        Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
    }

    #[cfg(not(unix))]
    fn awake(&self) -> Duration {
        static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        START.get_or_init(Instant::now).elapsed()
    }

    fn stamp(&self) -> Millis {
        STAMPS.next(self.now())
    }

    fn stamps_continue_after(&self, last: Millis) {
        STAMPS.continue_after(last);
    }

    fn latest_stamp(&self) -> Millis {
        STAMPS.latest(self.now())
    }
}

/// A row of stamps, each later than the one before.
#[derive(Debug)]
struct Stamps(AtomicI64);

impl Stamps {
    const fn new() -> Self {
        Self(AtomicI64::new(Millis::MIN))
    }

    fn next(&self, now: Millis) -> Millis {
        let next = |last: Millis| now.max(last.saturating_add(1));
        let last = self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, |last| Some(next(last)));
        next(last.unwrap_or(Millis::MIN))
    }

    fn continue_after(&self, last: Millis) {
        self.0.fetch_max(last.min(LATEST), Ordering::AcqRel);
    }

    fn latest(&self, now: Millis) -> Millis {
        now.max(self.0.load(Ordering::Acquire))
    }
}

/// The system's time of day.
pub fn now() -> Millis {
    SystemClock.now()
}

/// A stamp of the system's clock.
pub fn stamp() -> Millis {
    SystemClock.stamp()
}

/// The value of `Age` for something that came at this time, in seconds. From a clock that was set back its age is not known,
/// and is said to be as high as an age can be (RFC 9111 1.2.2).
pub fn age_field(received_at: Millis) -> u64 {
    match now() - received_at {
        age if age >= -1000 => u64::try_from(age / 1000).unwrap_or(0),
        _ => 1 << 31,
    }
}

/// The day of this time in a time zone by its IANA name; in UTC where there is no such zone.
pub fn day(at: Millis, time_zone: &str) -> jiff::civil::Date {
    let zone = jiff::tz::TimeZone::get(time_zone).unwrap_or(jiff::tz::TimeZone::UTC);
    jiff::Timestamp::from_millisecond(at).unwrap_or_default().to_zoned(zone).date()
}

/// The hour of the day of this time in a time zone by its IANA name; in UTC where there is no such zone.
pub fn hour(at: Millis, time_zone: &str) -> i8 {
    let zone = jiff::tz::TimeZone::get(time_zone).unwrap_or(jiff::tz::TimeZone::UTC);
    jiff::Timestamp::from_millisecond(at).unwrap_or_default().to_zoned(zone).hour()
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

/// A clock that stands still until it is moved on.
#[cfg(test)]
#[derive(Debug)]
pub(crate) struct ManualClock {
    /// The time of day, in milliseconds since 1970.
    now: AtomicI64,
    /// The time that has passed since `start`, in milliseconds; setting the time of day does not change it.
    passed: AtomicI64,
    start: tokio::time::Instant,
    stamps: Stamps,
    /// Whether tokio's time, which a test has paused, goes on top.
    with_tokio: bool,
}

#[cfg(test)]
impl ManualClock {
    /// One that moves only by hand.
    pub(crate) fn at(now: Millis) -> Arc<Self> {
        Arc::new(Self::new(now, false))
    }

    /// One that goes on with tokio's time: for what waits, in tests with `start_paused`.
    pub(crate) fn with_tokio(now: Millis) -> Arc<Self> {
        Arc::new(Self::new(now, true))
    }

    fn new(now: Millis, with_tokio: bool) -> Self {
        let start = tokio::time::Instant::now();
        Self { now: now.into(), passed: 0.into(), start, stamps: Stamps::new(), with_tokio }
    }

    /// Moves on by so many milliseconds.
    pub(crate) fn advance(&self, by: Millis) {
        self.now.fetch_add(by, Ordering::AcqRel);
        self.passed.fetch_add(by, Ordering::AcqRel);
    }

    /// Sets the time of day, also back.
    pub(crate) fn set(&self, now: Millis) {
        self.now.store(now, Ordering::Release);
    }

    fn of_tokio(&self) -> Duration {
        if self.with_tokio { self.start.elapsed() } else { Duration::ZERO }
    }
}

#[cfg(test)]
impl Clock for ManualClock {
    fn now(&self) -> Millis {
        self.now.load(Ordering::Acquire) + Millis::try_from(self.of_tokio().as_millis()).unwrap()
    }

    fn instant(&self) -> Instant {
        let passed = Duration::from_millis(self.passed.load(Ordering::Acquire).unsigned_abs());
        self.start.into_std() + passed + self.of_tokio()
    }

    fn awake(&self) -> Duration {
        // It was started a while ago.
        Duration::from_secs(1_000)
            + Duration::from_millis(self.passed.load(Ordering::Acquire).unsigned_abs())
            + self.of_tokio()
    }

    fn stamp(&self) -> Millis {
        self.stamps.next(self.now())
    }

    fn stamps_continue_after(&self, last: Millis) {
        self.stamps.continue_after(last);
    }

    fn latest_stamp(&self) -> Millis {
        self.stamps.latest(self.now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_go_on_whatever_the_clock_says() {
        let clock = ManualClock::at(1_000);
        assert_eq!((clock.stamp(), clock.stamp()), (1_000, 1_001));
        clock.advance(5);
        assert_eq!(clock.stamp(), 1_005);
        clock.set(10);
        assert_eq!((clock.now(), clock.stamp()), (10, 1_006), "it was set back");
        clock.stamps_continue_after(4_000);
        assert_eq!((clock.stamp(), clock.latest_stamp()), (4_001, 4_001), "an earlier run was ahead");
        clock.stamps_continue_after(Millis::MAX);
        assert!(clock.stamp() < clock.stamp(), "they never come to an end");
        let first = SystemClock.stamp();
        assert!(SystemClock.stamp() > first && stamp() > first + 1, "one row for the whole process");
    }

    #[test]
    fn what_is_years_ahead_is_not_believed_by_a_clock_that_may_be_right() {
        let clock = ManualClock::at(PROGRAM);
        assert_eq!(clock.latest_believed(), PROGRAM + YEAR);
        clock.set(PROGRAM - 1);
        assert_eq!(clock.latest_believed(), LATEST, "it starts in 1970 until it is set");
    }

    #[tokio::test(start_paused = true)]
    async fn a_manual_clock_moves_by_hand_or_with_tokio() {
        let (by_hand, with_tokio) = (ManualClock::at(0), ManualClock::with_tokio(0));
        let start = (by_hand.instant(), with_tokio.instant());
        tokio::time::advance(Duration::from_millis(7)).await;
        assert_eq!((by_hand.now(), with_tokio.now()), (0, 7));
        by_hand.advance(3);
        with_tokio.advance(3);
        assert_eq!((by_hand.now(), with_tokio.now()), (3, 10));
        let passed = (by_hand.instant() - start.0, with_tokio.instant() - start.1);
        assert_eq!(passed, (Duration::from_millis(3), Duration::from_millis(10)));
    }
}
