//! Whether a table is looked at now, and how: by itself only where that is worth what it asks of Alyx.
//!
//! A table that is too old for a question is brought up to date when that comes (see [`super::catch_up`]); so what nobody asks
//! about is looked at once a night, and what was written, or is asked about so much that looking costs a twentieth of that, in
//! between.

use std::{
    collections::HashMap,
    sync::{PoisonError, atomic::Ordering},
};

use super::{
    SyncError, Synchroniser,
    budget::{OF, Purpose},
    catch_up::{self, SMALL},
    is_shown_in_details, relist,
    reservation::RequestReservation,
    source,
};
use crate::{
    clock::{self, Millis},
    mirror::{generation::TableScope, schema::EndpointTables},
};

const DAY: Millis = relist::SWEEP;
/// The hours of Alyx's day in which every table is looked at.
const NIGHT: std::ops::Range<i8> = 1..5;

/// How a table is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TableLook {
    /// What has changed is asked for, and the count.
    Changes,
    /// Its records are counted.
    Count,
    /// It is read as a whole.
    List,
}

/// What is known of a table when it is its turn; times count from 1970.
#[derive(Debug, Clone, Copy)]
pub(super) struct TableTurn {
    pub(super) synced_at: Millis,
    pub(super) counted_at: Millis,
    pub(super) listed_at: Millis,
    pub(super) rows: u64,
    /// Whether something is wrong with it, so that it is to be read as a whole,
    pub(super) doubted: bool,
    /// and at once.
    pub(super) pressing: bool,
}

/// How a table is looked at now.
pub(super) struct PlannedLook {
    pub(super) look: TableLook,
    /// What it is for, and may ask.
    pub(super) room: RequestReservation,
}

/// One way to look at a table.
struct Choice {
    look: TableLook,
    /// Requests.
    cost: u64,
    /// When it was looked at so, or better.
    last: Millis,
    /// It is done no more often by itself.
    pause: Millis,
}

impl Synchroniser {
    /// How a table that is here is looked at now, and what for; none where it is left as it is.
    pub(super) fn look_at(
        &self,
        table: &EndpointTables,
        turn: TableTurn,
        forced: bool,
    ) -> Option<PlannedLook> {
        let plan =
            |look, purpose, cost| Some(PlannedLook { look, room: self.budget.reserve(purpose, cost)? });
        let follows = catch_up::follows_changes(table);
        let wrong = turn.pressing || turn.doubted && self.is_older(turn.listed_at, self.seldom());
        if forced || wrong && !follows {
            let look = if follows { TableLook::Changes } else { TableLook::List };
            // These have no bound.
            return plan(look, if forced { Purpose::Person } else { Purpose::Fill }, 0);
        }
        let choices = self.choices(table, turn);
        if !self.budget.is_bounded() {
            // Each has its turn in each cycle; what is only read as a whole, when it is time.
            let mut due = choices
                .into_iter()
                .filter(|choice| choice.look != TableLook::List || self.is_older(choice.last, choice.pause));
            return due.next().and_then(|choice| plan(choice.look, Purpose::Follow, choice.cost));
        }
        let (night, wanted) = (self.is_night(), self.is_wanted(table.endpoint.name, turn.synced_at));
        let uses = self.budget.uses(table.endpoint.name);
        choices.into_iter().find_map(|choice| {
            let nightly = self.is_older(choice.last, DAY) || night && self.is_older(choice.last, DAY / 2);
            let asked = uses >= choice.cost * OF && self.is_older(choice.last, choice.pause);
            let reasons = [(nightly, Purpose::Nightly), (asked || wanted, Purpose::Follow)];
            let holding = reasons.into_iter().filter(|(holds, _)| *holds);
            holding.map(|(_, purpose)| purpose).find_map(|purpose| plan(choice.look, purpose, choice.cost))
        })
    }

    /// The ways to look at a table, what tells most first.
    fn choices(&self, table: &EndpointTables, turn: TableTurn) -> Vec<Choice> {
        let settings = self.settings.load();
        let (interval, full) = (settings.mirror.interval.millis(), settings.mirror.full_interval.millis());
        if catch_up::follows_changes(table) {
            return vec![Choice { look: TableLook::Changes, cost: 2, last: turn.synced_at, pause: interval }];
        }
        let mut choices = Vec::new();
        // What is long is read as a whole by and by.
        if !self.is_swept(table, turn.rows) {
            let pages = source::requests_for_all(table, turn.rows);
            let cost = pages + self.counted_beside(table, turn.rows);
            choices.push(Choice { look: TableLook::List, cost, last: turn.listed_at, pause: full });
        }
        if is_shown_in_details(table.endpoint.name) || choices.is_empty() {
            let last = turn.synced_at.max(turn.counted_at);
            choices.push(Choice { look: TableLook::Count, cost: 1, last, pause: interval });
        }
        choices
    }

    /// Whether a table is read as a whole by and by, some ranges at a time.
    pub(super) fn is_swept(&self, table: &EndpointTables, rows: u64) -> bool {
        catch_up::follows_changes(table)
            || self.budget.is_bounded() && source::by_ranges(table) && rows > SMALL
    }

    /// Reads some ranges of a table where it is time, or something is wrong with it.
    pub(super) async fn sweep_where_due(
        &self,
        table: &'static EndpointTables,
        scope: &TableScope,
        turn: TableTurn,
    ) -> Result<(), SyncError> {
        let due = self.is_older(turn.listed_at, relist::SWEEP / 2) || turn.doubted;
        if due && self.is_swept(table, turn.rows) {
            let _turn = self.catch_ups.turn(table.endpoint.name).await;
            self.sweep(table, scope, turn.rows, turn.pressing).await?;
        }
        Ok(())
    }

    /// By a clock that was set back everything is older.
    pub(super) fn is_older(&self, at: Millis, than: Millis) -> bool {
        !(0..than).contains(&self.clock().now().saturating_sub(at))
    }

    fn is_night(&self) -> bool {
        let zone = &self.settings.load().mirror.time_zone;
        NIGHT.contains(&clock::hour(self.clock().now(), zone))
    }

    /// Has these tables looked at soon: they were written at that time, or an answer made of them was not Alyx's.
    pub fn request(&self, tables: impl IntoIterator<Item = &'static str>, at: Millis) {
        {
            let mut wanted = self.wanted_tables.lock().unwrap_or_else(PoisonError::into_inner);
            wanted.extend(tables.into_iter().map(|table| (table, at)));
        }
        self.request_cycle();
    }

    /// Whether a cycle was asked for since the last one.
    pub fn is_asked(&self) -> bool {
        self.wanted.load(Ordering::Relaxed)
    }

    /// Asks for a cycle soon.
    pub fn request_cycle(&self) {
        self.wanted.store(true, Ordering::Relaxed);
        self.asked.notify_one();
    }

    /// Whether it is wanted, and was not looked at since.
    fn is_wanted(&self, endpoint: &str, synced_at: Millis) -> bool {
        let wanted = self.wanted_tables.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(at) = wanted.get(endpoint).copied() else { return false };
        let all_held = self.mirror.states().holds_write(endpoint, true, at);
        at >= synced_at && !all_held
    }

    /// A table was looked at.
    pub(super) fn looked_at(&self, endpoint: &str, begun: Millis) {
        self.budget.looked_at(endpoint);
        let mut wanted = self.wanted_tables.lock().unwrap_or_else(PoisonError::into_inner);
        if wanted.get(endpoint).is_some_and(|at| *at <= begun) {
            wanted.remove(endpoint);
        }
    }
}

/// Tables that are to be looked at soon, and since when.
pub(super) type WantedTables = HashMap<&'static str, Millis>;
