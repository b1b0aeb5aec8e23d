//! What a look into a database may cost, and how it ends: SQLite asks every so many steps whether to go on.
//!
//! It ends when its steps or its time are used up, and when whoever asked has gone. SQLite then says
//! `SQLITE_INTERRUPT`.

use std::{
    ffi::c_int,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rusqlite::{Connection, ErrorCode};

/// Steps of SQLite's virtual machine between two looks at what is left: some tens of microseconds.
const STRIDE: u32 = 2_000;
/// Longer than any program runs.
const FOREVER: Duration = Duration::from_hours(100 * 366 * 24);

/// What a look may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// From when it is asked for to its end, waiting included.
    pub time: Duration,
    /// Steps of SQLite's virtual machine.
    pub steps: u64,
}

/// A look that is asked for.
#[derive(Debug)]
pub(crate) struct Ticket {
    /// Whoever asked has gone.
    gone: AtomicBool,
    begun: AtomicBool,
    ends: Instant,
    steps: u64,
}

impl Ticket {
    /// For a look of this budget that is asked for now.
    pub(crate) fn new(budget: Budget) -> Arc<Self> {
        let now = Instant::now();
        Arc::new(Self {
            gone: AtomicBool::new(false),
            begun: AtomicBool::new(false),
            ends: now.checked_add(budget.time).unwrap_or_else(|| now + FOREVER),
            steps: budget.steps,
        })
    }

    /// When it ends at the latest.
    pub(crate) fn ends(&self) -> Instant {
        self.ends
    }

    /// A thread has begun it.
    pub(crate) fn begin(&self) {
        self.begun.store(true, Ordering::Release);
    }

    /// Whether a thread has begun it.
    pub(crate) fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Acquire)
    }

    /// Whoever asked has gone.
    pub(crate) fn leave(&self) {
        self.gone.store(true, Ordering::Release);
    }

    /// Whether nobody waits for it any more.
    pub(crate) fn is_over(&self) -> bool {
        self.gone.load(Ordering::Acquire) || self.ends <= Instant::now()
    }
}

/// Measures what a connection's looks cost, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Meter(Mutex<Option<Metered>>);

/// The look that is under way.
#[derive(Debug)]
struct Metered {
    ticket: Arc<Ticket>,
    /// Strides that are left, and those that were taken.
    strides: u64,
    taken: u64,
}

/// A look that is measured until this is dropped.
#[derive(Debug)]
pub(crate) struct Measuring<'m>(&'m Meter);

impl Measuring<'_> {
    /// The steps that it has taken so far, in whole strides.
    pub(crate) fn steps(&self) -> u64 {
        let metered = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        metered.as_ref().map_or(0, |metered| metered.taken.saturating_mul(STRIDE.into()))
    }
}

impl Drop for Measuring<'_> {
    fn drop(&mut self) {
        self.0.set(None);
    }
}

impl Meter {
    /// One that measures what this connection does.
    pub(crate) fn of(connection: &Connection) -> rusqlite::Result<Arc<Self>> {
        let meter = Arc::new(Self::default());
        let measured = meter.clone();
        let stride = c_int::try_from(STRIDE).unwrap_or(c_int::MAX);
        connection.progress_handler(stride, Some(move || measured.is_spent()))?;
        Ok(meter)
    }

    /// Measures a look from now on.
    pub(crate) fn measure(&self, ticket: Arc<Ticket>) -> Measuring<'_> {
        let strides = ticket.steps.div_ceil(u64::from(STRIDE));
        self.set(Some(Metered { ticket, strides, taken: 0 }));
        Measuring(self)
    }

    fn set(&self, metered: Option<Metered>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = metered;
    }

    fn is_spent(&self) -> bool {
        let mut metered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Metered { ticket, strides, taken }) = metered.as_mut() else { return false };
        *strides = strides.saturating_sub(1);
        *taken += 1;
        *strides == 0 || ticket.is_over()
    }
}

/// Has whatever a connection of one's own does from now on end when its asker goes, or with its time.
pub(crate) fn end_with(connection: &Connection, ticket: Arc<Ticket>) -> rusqlite::Result<()> {
    let stride = c_int::try_from(STRIDE).unwrap_or(c_int::MAX);
    connection.progress_handler(stride, Some(move || ticket.is_over()))
}

/// Tells a look when whoever asked for it goes.
#[derive(Debug)]
pub(crate) struct Leaving(pub(crate) Arc<Ticket>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.leave();
    }
}

/// Whether SQLite stopped because it was told to.
pub(crate) fn is_interrupt(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDLESS: &str =
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";

    fn endless(connection: &Connection) -> rusqlite::Error {
        connection.query_row(ENDLESS, [], |row| row.get::<_, i64>(0)).unwrap_err()
    }

    #[test]
    fn a_look_ends_with_its_steps_its_time_and_its_asker() {
        let connection = Connection::open_in_memory().unwrap();
        let meter = Meter::of(&connection).unwrap();
        let long = Duration::from_hours(1);
        let steps = Ticket::new(Budget { time: long, steps: 100_000 });
        let time = Ticket::new(Budget { time: Duration::ZERO, steps: u64::MAX });
        let asker = Ticket::new(Budget { time: long, steps: u64::MAX });
        asker.leave();
        for ticket in [steps, time, asker] {
            let measuring = meter.measure(ticket);
            assert!(is_interrupt(&endless(&connection)));
            drop(measuring);
            // What comes after it is not measured by it.
            let next: i64 = connection.query_row("SELECT 7", [], |row| row.get(0)).unwrap();
            assert_eq!(next, 7);
        }
        let own = Connection::open_in_memory().unwrap();
        let leaving = Leaving(Ticket::new(Budget { time: long, steps: u64::MAX }));
        end_with(&own, leaving.0.clone()).unwrap();
        drop(leaving);
        assert!(is_interrupt(&endless(&own)));
        let measuring = meter.measure(Ticket::new(Budget { time: long, steps: 100_000 }));
        let bounded = ENDLESS.replace("FROM n)", "FROM n WHERE i < 100)");
        let count: i64 = connection.query_row(&bounded, [], |row| row.get(0)).unwrap();
        assert_eq!(count, 100);
        drop(measuring);
    }
}
