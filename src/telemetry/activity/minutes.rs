//! Counts for each minute of the last day.

use std::{
    sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

use crate::clock;

/// How answers came about, in the order in which pictures stack them.
pub(crate) const KINDS: [&str; 7] = ["memory", "disk", "mirror", "stale", "collapsed", "upstream", "refused"];

const DAY: usize = 1440;

/// What happened in a minute.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Minute {
    /// Answers by how they came about, in the order of [`KINDS`].
    pub(crate) answers: [u32; KINDS.len()],
    /// Those of them with a status of 500 and above.
    pub(crate) errors: u32,
    /// Milliseconds that nobody had to wait for Alyx.
    pub(crate) spared_ms: u64,
}

#[derive(Debug, Default)]
struct Slot {
    minute: AtomicI64,
    answers: [AtomicU32; KINDS.len()],
    errors: AtomicU32,
    spared_ms: AtomicU64,
}

/// A ring of minutes.
#[derive(Debug)]
pub(super) struct Minutes(Box<[Slot]>);

impl Default for Minutes {
    fn default() -> Self {
        Self(std::iter::repeat_with(Slot::default).take(DAY).collect())
    }
}

impl Minutes {
    pub(super) fn count(&self, kind: &str, spared: Duration, error: bool) {
        let Some(kind) = KINDS.iter().position(|known| *known == kind) else { return };
        let slot = self.now();
        slot.answers[kind].fetch_add(1, Ordering::Relaxed);
        if error {
            slot.errors.fetch_add(1, Ordering::Relaxed);
        }
        let millis = u64::try_from(spared.as_millis()).unwrap_or(u64::MAX);
        slot.spared_ms.fetch_add(millis, Ordering::Relaxed);
    }

    /// The slot of this minute, emptied where it is yesterday's. A count that is made in the very moment of emptying
    /// may be lost.
    fn now(&self) -> &Slot {
        let minute = clock::now() / 60_000;
        let slot = &self.0[usize::try_from(minute).unwrap_or(0) % DAY];
        let before = slot.minute.swap(minute, Ordering::AcqRel);
        if before != minute {
            slot.answers.iter().chain([&slot.errors]).for_each(|count| count.store(0, Ordering::Relaxed));
            slot.spared_ms.store(0, Ordering::Relaxed);
        }
        slot
    }

    pub(super) fn day(&self) -> Vec<Minute> {
        let now = clock::now() / 60_000;
        let first = now - i64::try_from(DAY).unwrap_or(0) + 1;
        let read = |minute: i64| {
            let slot = &self.0[usize::try_from(minute).unwrap_or(0) % DAY];
            if slot.minute.load(Ordering::Acquire) != minute {
                return Minute::default();
            }
            Minute {
                answers: std::array::from_fn(|kind| slot.answers[kind].load(Ordering::Relaxed)),
                errors: slot.errors.load(Ordering::Relaxed),
                spared_ms: slot.spared_ms.load(Ordering::Relaxed),
            }
        };
        (first..=now).map(read).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_stands_in_its_minute() {
        let minutes = Minutes::default();
        for _ in 0..3 {
            minutes.count("mirror", Duration::from_millis(40), false);
        }
        minutes.count("refused", Duration::ZERO, true);
        let day = minutes.day();
        assert_eq!(day.len(), DAY);
        let total = |kind: usize| day.iter().map(|minute| minute.answers[kind]).sum::<u32>();
        assert_eq!((total(2), total(6), total(0)), (3, 1, 0));
        assert_eq!(day.iter().map(|minute| minute.spared_ms).sum::<u64>(), 120);
        assert_eq!(day.iter().map(|minute| minute.errors).sum::<u32>(), 1);
    }
}
