//! The computer's clock, moved on by hand.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::Instant,
};

use alyx_proxy::clock::{Clock, Millis, SystemClock};

/// A clock that goes on by itself, and is moved on besides.
#[derive(Debug, Default)]
pub struct MovedClock(AtomicI64);

impl MovedClock {
    pub fn move_on(&self, by: Millis) {
        self.0.fetch_add(by, Ordering::Relaxed);
    }

    fn moved(&self) -> Millis {
        self.0.load(Ordering::Relaxed)
    }
}

impl Clock for MovedClock {
    fn now(&self) -> Millis {
        SystemClock.now() + self.moved()
    }

    fn instant(&self) -> Instant {
        SystemClock.instant()
    }

    fn awake(&self) -> std::time::Duration {
        SystemClock.awake()
    }

    fn stamp(&self) -> Millis {
        SystemClock.stamp() + self.moved()
    }

    fn stamps_continue_after(&self, last: Millis) {
        SystemClock.stamps_continue_after(last);
    }

    fn latest_stamp(&self) -> Millis {
        SystemClock.latest_stamp() + self.moved()
    }
}
