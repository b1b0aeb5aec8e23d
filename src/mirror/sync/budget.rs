//! What the mirror asks of Alyx by itself, in proportion to what the proxy saves it.
//!
//! Of the last 24 hours it is counted what was asked, and what for, and how many reads were answered here. What nobody waits for
//! is at most a twentieth of the latter, or `mirror.background_per_day` where that is more. Each purpose has its share, so that
//! none takes what another needs: the look at every table once a night comes first, as it finds what was deleted.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use rusqlite::{Connection, OptionalExtension};
use serde::{Deserialize, Serialize};

pub use super::purpose::{Purpose, asking_for};
use crate::{
    clock::{Millis, SharedClock},
    mirror::{Mirror, MirrorError},
    settings::Settings,
};

const HOUR: Millis = 3_600_000;
/// What is counted: this hour and so many before.
const HOURS: Millis = 24;
/// Of so many reads that were answered here, one request may be made by itself.
pub(super) const OF: u64 = 20;
/// Under this key the counts stand among what the database says of itself.
const KEY: &str = "asked";

/// What happened in an hour.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct HourOfRequests {
    /// Which one since 1970.
    hour: i64,
    /// Reads that were answered here.
    saved: u64,
    /// What was asked, by what for.
    asked: BTreeMap<Purpose, u64>,
}

/// What was asked and saved in the last 24 hours.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BudgetUse {
    /// Reads that were answered here, and cost Alyx nothing.
    pub saved: u64,
    /// What was asked, by what for.
    pub asked: BTreeMap<Purpose, u64>,
    /// What may be asked that nobody waits for; none where that has no bound.
    pub allowed: Option<u64>,
}

impl BudgetUse {
    /// What was asked for this.
    pub fn of(&self, purpose: Purpose) -> u64 {
        self.asked.get(&purpose).copied().unwrap_or(0)
    }

    /// What was asked that nobody waited for.
    pub fn background(&self) -> u64 {
        self.asked.iter().filter(|(purpose, _)| purpose.is_background()).map(|(_, count)| count).sum()
    }

    /// What may yet be asked so; none where that has no bound.
    pub fn left(&self) -> Option<u64> {
        Some(self.allowed?.saturating_sub(self.background()))
    }

    /// How many requests may be made for this.
    pub(super) fn room(&self, purpose: Purpose) -> u64 {
        let (Some(allowed), Some(left)) = (self.allowed, self.left()) else { return u64::MAX };
        if !purpose.is_background() {
            return u64::MAX;
        }
        let (share, most) = purpose.share(allowed);
        let before = Purpose::ALL.into_iter().take_while(|other| *other != purpose);
        let kept: u64 = before.map(|other| other.share(allowed).0.saturating_sub(self.of(other))).sum();
        let own = if most { share.saturating_sub(self.of(purpose)) } else { u64::MAX };
        left.saturating_sub(kept).min(own)
    }
}

/// What the mirror may ask by itself.
#[derive(Debug)]
pub struct BackgroundBudget {
    settings: Arc<ArcSwap<Settings>>,
    clock: SharedClock,
    hours: Mutex<Vec<HourOfRequests>>,
    /// Reads that were answered here since that was last added to the hours.
    saved: AtomicU64,
    /// Questions that each table was asked for since it was looked at.
    uses: Mutex<HashMap<&'static str, u64>>,
    /// When the counts were last written down.
    noted_at: Mutex<Option<Millis>>,
    /// What is about to be asked.
    pub(super) reserved: Mutex<BTreeMap<Purpose, u64>>,
}

impl BackgroundBudget {
    pub(super) fn new(settings: Arc<ArcSwap<Settings>>, clock: SharedClock) -> Self {
        Self {
            settings,
            clock,
            hours: Mutex::default(),
            saved: AtomicU64::new(0),
            uses: Mutex::default(),
            noted_at: Mutex::default(),
            reserved: Mutex::default(),
        }
    }

    /// A read was answered here, and Alyx was not asked.
    pub fn note_saved(&self) {
        self.saved.fetch_add(1, Ordering::Relaxed);
    }

    /// Somebody has asked what needs these tables.
    pub fn note_uses(&self, tables: impl Iterator<Item = &'static str>) {
        let mut uses = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
        tables.for_each(|table| *uses.entry(table).or_default() += 1);
    }

    /// How many questions needed this table since it was looked at.
    pub fn uses(&self, table: &str) -> u64 {
        self.uses.lock().unwrap_or_else(PoisonError::into_inner).get(table).copied().unwrap_or(0)
    }

    /// A table has been looked at.
    pub(super) fn looked_at(&self, table: &str) {
        self.uses.lock().unwrap_or_else(PoisonError::into_inner).remove(table);
    }

    /// A request is made for what is being asked now.
    pub(super) fn count(&self) {
        let purpose = Purpose::current();
        metrics::counter!(REQUESTS, "purpose" => purpose.name()).increment(1);
        self.now(|now| *now.asked.entry(purpose).or_default() += 1);
    }

    /// Changes what is counted of this hour, and forgets what is older than a day.
    fn now(&self, change: impl FnOnce(&mut HourOfRequests)) {
        let hour = self.clock.now().div_euclid(HOUR);
        let mut hours = self.hours.lock().unwrap_or_else(PoisonError::into_inner);
        // What a clock that was set back has ahead of it says nothing.
        hours.retain(|known| (0..=HOURS).contains(&(hour - known.hour)));
        if hours.last().is_none_or(|last| last.hour != hour) {
            hours.push(HourOfRequests { hour, ..HourOfRequests::default() });
        }
        let at = hours.len() - 1;
        hours[at].saved += self.saved.swap(0, Ordering::Relaxed);
        change(&mut hours[at]);
    }

    /// What was asked and saved in the last 24 hours.
    pub fn used(&self) -> BudgetUse {
        self.now(|_| {});
        let mut used = BudgetUse::default();
        for hour in self.hours.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            used.saved += hour.saved;
            for (purpose, count) in &hour.asked {
                *used.asked.entry(*purpose).or_default() += count;
            }
        }
        let least = self.settings.load().mirror.background_per_day;
        used.allowed = (least > 0).then(|| u64::from(least).max(used.saved / OF));
        used
    }

    /// What was asked, as if what is reserved had been.
    pub(super) fn used_with(&self, reserved: &BTreeMap<Purpose, u64>) -> BudgetUse {
        let mut used = self.used();
        for (purpose, requests) in reserved {
            *used.asked.entry(*purpose).or_default() += requests;
        }
        used
    }

    /// How many requests may be made for what is being asked now.
    pub(super) fn room(&self) -> u64 {
        let reserved = self.reserved.lock().unwrap_or_else(PoisonError::into_inner);
        self.used_with(&reserved).room(Purpose::current())
    }

    /// Whether there is a bound.
    pub fn is_bounded(&self) -> bool {
        self.settings.load().mirror.background_per_day > 0
    }

    /// The pause between two requests for this, so that its share is spread over the day; none where there is no bound.
    pub fn pause(&self, purpose: Purpose) -> Option<std::time::Duration> {
        let (share, _) = purpose.share(self.used().allowed?);
        Some(std::time::Duration::from_hours(24) / u32::try_from(share.max(1)).unwrap_or(u32::MAX))
    }

    /// Takes over what was written down before a restart.
    pub(super) async fn recall(&self, mirror: &Mirror) {
        {
            let mut noted_at = self.noted_at.lock().unwrap_or_else(PoisonError::into_inner);
            if noted_at.is_some() {
                return;
            }
            *noted_at = Some(self.clock.now());
        }
        let read = |connection: &Connection| {
            let sql = "SELECT value FROM meta WHERE key = ?1";
            connection.query_row(sql, [KEY], |row| row.get::<_, String>(0)).optional()
        };
        let noted = mirror.read(move |connection, _| read(connection)).await.ok().flatten();
        let noted = noted.and_then(|text| serde_json::from_str::<Vec<HourOfRequests>>(&text).ok());
        let mut hours = self.hours.lock().unwrap_or_else(PoisonError::into_inner);
        let since = std::mem::take(&mut *hours);
        *hours = noted.unwrap_or_default();
        for hour in since {
            match hours.iter_mut().find(|known| known.hour == hour.hour) {
                Some(known) => {
                    known.saved += hour.saved;
                    for (purpose, count) in hour.asked {
                        *known.asked.entry(purpose).or_default() += count;
                    }
                }
                None => hours.push(hour),
            }
        }
    }

    /// Writes the counts down, where that was not done a moment ago.
    pub(super) async fn note(&self, mirror: &Mirror) -> Result<(), MirrorError> {
        const SOON: Millis = 60_000;
        let now = self.clock.now();
        {
            let mut noted_at = self.noted_at.lock().unwrap_or_else(PoisonError::into_inner);
            if noted_at.is_some_and(|at| (0..SOON).contains(&(now - at))) {
                return Ok(());
            }
            *noted_at = Some(now);
        }
        self.now(|_| {});
        let hours = self.hours.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let text = serde_json::to_string(&hours).unwrap_or_default();
        let write = move |connection: &Connection| {
            connection.execute("INSERT OR REPLACE INTO meta VALUES(?1, ?2)", (KEY, text))?;
            Ok(())
        };
        mirror.write(write).await
    }
}

/// What the mirror's account has asked of Alyx, by purpose.
pub const REQUESTS: &str = "alyx_proxy_mirror_requests_total";

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::clock::ManualClock;

    pub(in crate::mirror::sync) fn budget(clock: &Arc<ManualClock>, per_day: u32) -> Arc<BackgroundBudget> {
        let mut settings = Settings::default();
        settings.mirror.background_per_day = per_day;
        Arc::new(BackgroundBudget::new(Arc::new(ArcSwap::from_pointee(settings)), clock.clone()))
    }

    pub(in crate::mirror::sync) fn allows(
        budget: &Arc<BackgroundBudget>,
        purpose: Purpose,
        requests: u64,
    ) -> bool {
        budget.reserve(purpose, requests).is_some()
    }

    /// Asks as much as it may for this, one by one.
    async fn ask_all(budget: &Arc<BackgroundBudget>, purpose: Purpose) -> u64 {
        let mut asked = 0;
        while asked < 10_000 && allows(budget, purpose, 1) {
            asking_for(purpose, async { budget.count() }).await;
            asked += 1;
        }
        asked
    }

    #[tokio::test]
    async fn each_purpose_has_its_share_and_all_together_the_bound() {
        let clock = ManualClock::at(30 * 24 * HOUR);
        let own = budget(&clock, 250);
        // What comes last leaves to the others what is theirs,
        assert_eq!(ask_all(&own, Purpose::Follow).await, 250 - 100 - 30 - 25 - 50);
        assert_eq!(ask_all(&own, Purpose::Sweep).await, 50);
        assert_eq!(ask_all(&own, Purpose::Verification).await, 25);
        assert_eq!(ask_all(&own, Purpose::Description).await, 30);
        assert_eq!(ask_all(&own, Purpose::Nightly).await, 100);
        assert_eq!((own.used().background(), own.used().left()), (250, Some(0)));
        // and what somebody waits for, or has asked for, has no bound.
        for purpose in [Purpose::Question, Purpose::Person, Purpose::Fill] {
            assert!(allows(&own, purpose, 5_000));
            asking_for(purpose, async { own.count() }).await;
        }
        assert_eq!(own.used().background(), 250);
        // An hour later, too; not any more after a day.
        clock.advance(24 * HOUR);
        assert!(!allows(&own, Purpose::Nightly, 1));
        clock.advance(HOUR);
        assert!(allows(&own, Purpose::Nightly, 250) && !allows(&own, Purpose::Nightly, 251));
        assert_eq!(own.used().background(), 0);
        assert_eq!(ask_all(&budget(&clock, 0), Purpose::Follow).await, 10_000, "no bound");
    }

    #[test]
    fn a_twentieth_of_what_is_saved_may_be_asked() {
        let clock = ManualClock::at(30 * 24 * HOUR);
        let own = budget(&clock, 250);
        let saved = |count: u64| (0..count).for_each(|_| own.note_saved());
        saved(5_019);
        assert_eq!(own.used().allowed, Some(250));
        clock.advance(12 * HOUR);
        saved(5_001);
        assert_eq!((own.used().saved, own.used().allowed), (10_020, Some(501)));
        clock.advance(13 * HOUR);
        assert_eq!((own.used().saved, own.used().allowed), (5_001, Some(250)));
        // The share of comparisons is spread over the day.
        assert_eq!(own.pause(Purpose::Verification), Some(std::time::Duration::from_hours(24) / 25));
        // What a clock had ahead that was set back counts no more.
        clock.set(0);
        assert_eq!(own.used().saved, 0);
    }

    #[tokio::test]
    async fn counts_are_kept_over_a_restart() {
        let (clock, folder) = (ManualClock::at(30 * 24 * HOUR), tempfile::tempdir().unwrap());
        let mirror = Mirror::open(folder.path()).unwrap();
        let first = budget(&clock, 250);
        first.recall(&mirror).await;
        first.note_saved();
        asking_for(Purpose::Nightly, async { first.count() }).await;
        first.note(&mirror).await.unwrap();
        assert_eq!(
            mirror
                .read(|connection, _| {
                    connection.query_row("SELECT count(*) FROM meta WHERE key = ?1", [KEY], |row| {
                        row.get::<_, i64>(0)
                    })
                })
                .await
                .unwrap(),
            0,
            "not a moment after it was begun"
        );
        clock.advance(60_000);
        first.note(&mirror).await.unwrap();
        let second = budget(&clock, 250);
        second.note_saved();
        asking_for(Purpose::Nightly, async { second.count() }).await;
        second.recall(&mirror).await;
        let used = second.used();
        assert_eq!((used.saved, used.of(Purpose::Nightly), used.background()), (2, 2, 2));
        mirror.close();
    }
}
