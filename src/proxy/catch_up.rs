//! A question that the mirror could answer if only a table were more recent, or the details of a few records were here: the
//! smallest thing that brings that about is asked of Alyx, once for all who wait, and the question is answered from the mirror.
//! Only where that would cost Alyx more than the question itself, or takes too long, the question goes to Alyx.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures_util::future::join_all;

use super::{
    authorize::Authorization,
    floors::{LocalAnswer, Step},
    from_mirror::{MirrorLookup, MirrorMiss},
    read::Read,
};
use crate::{
    alyx::{Endpoint, Route, filterset::Undecidable},
    mirror::{Synchroniser, sync::CatchUp},
};

/// So many requests are made for one question, as others come soon after one; where it takes more, Alyx answers it with less,
/// until as many questions have needed these tables.
const FEW: usize = 6;
/// So many times as long as the question itself it may take Alyx: many questions live by it, for as long as the table counts
/// as recent.
const TIMES: u32 = 3;
/// What takes so little is always worth it.
const LITTLE: Duration = Duration::from_millis(50);

/// What was fetched and led to no answer is not fetched again for so long.
const REST: Duration = Duration::from_mins(1);

/// What questions cost Alyx, and what was fetched for them in vain.
#[derive(Debug, Default)]
pub(crate) struct Costs {
    /// How long Alyx takes to answer lists, and details, of each endpoint: a moving mean.
    means: Mutex<HashMap<(&'static str, bool), Duration>>,
    /// What was fetched and led to no answer, and when.
    in_vain: Mutex<HashMap<CatchUp, Instant>>,
}

fn kind(route: &Route) -> Option<(&'static str, bool)> {
    match route {
        Route::List(endpoint) => Some((endpoint.name, false)),
        Route::Detail(endpoint, _) => Some((endpoint.name, true)),
        Route::Service(_) | Route::Other => None,
    }
}

impl Costs {
    /// Alyx has taken so long for a question.
    pub(super) fn note(&self, route: &Route, took: Duration) {
        let Some(kind) = kind(route) else { return };
        let mut costs = self.means.lock().unwrap_or_else(PoisonError::into_inner);
        let mean = costs.entry(kind).or_insert(took);
        *mean = (*mean * 3 + took) / 4;
    }

    fn of(&self, route: &Route) -> Option<Duration> {
        self.means.lock().unwrap_or_else(PoisonError::into_inner).get(&kind(route)?).copied()
    }

    /// These were fetched, and the question was not answered by them.
    fn note_in_vain(&self, fetched: Vec<CatchUp>, now: Instant) {
        let mut in_vain = self.in_vain.lock().unwrap_or_else(PoisonError::into_inner);
        in_vain.retain(|_, at| now.saturating_duration_since(*at) < REST);
        in_vain.extend(fetched.into_iter().map(|one| (one, now)));
    }

    /// Whether any of these was fetched in vain a moment ago.
    fn was_in_vain(&self, wanted: &[CatchUp], now: Instant) -> bool {
        let in_vain = self.in_vain.lock().unwrap_or_else(PoisonError::into_inner);
        let lately = |one| in_vain.get(one).is_some_and(|at| now.saturating_duration_since(*at) < REST);
        wanted.iter().any(lately)
    }
}

/// Whether it is worth so many requests and their time to bring tables up to date, instead of asking a question that takes Alyx
/// so long: so many have needed these tables since they were last looked at, and as many will live by that.
fn is_worth_it(
    (question, others): (Option<Duration>, u64),
    (requests, tables): (usize, Option<Duration>),
) -> bool {
    let others = u32::try_from(others).unwrap_or(u32::MAX);
    let in_time = match (question, tables) {
        (Some(question), Some(tables)) => tables <= LITTLE.max(question.saturating_mul(TIMES.max(others))),
        _ => true,
    };
    in_time && (requests <= FEW || requests <= others as usize)
}

impl Read<'_> {
    /// The mirror's answer, where Alyx has accepted the caller lately, the tables are recent enough, or can be brought up to
    /// date by little, and every parameter can be decided.
    pub(super) async fn mirror(&mut self) -> Step<LocalAnswer> {
        let fits = self.page_before.as_ref().is_none_or(|page| page.is_mirrored());
        if self.authorization != Authorization::Granted || !fits {
            return Step::Next;
        }
        let owner = self.owner();
        let mirror = &self.floors.mirror;
        let mut lookup = mirror.mirrored_now(self.exchange, self.question, &self.directives, owner).await;
        let mut caught_up = false;
        if let MirrorLookup::Miss(miss) = &lookup
            && let Some(wanted) = self.wanted(miss)
        {
            if self.explains {
                self.would_ask = self.requests(&wanted);
            } else if let Some(now) = self.caught_up(wanted).await {
                caught_up = matches!(now, MirrorLookup::Answer(_));
                lookup = now;
            }
        }
        match lookup {
            MirrorLookup::Answer(entry) => {
                Step::Answer(LocalAnswer::Mirror { entry, stands_in: None, caught_up })
            }
            MirrorLookup::Miss(miss) => {
                self.miss = miss;
                Step::Next
            }
        }
    }

    /// What would have the mirror answer, where that is little.
    fn wanted(&self, miss: &MirrorMiss) -> Option<Vec<CatchUp>> {
        let synchroniser = self.core.synchroniser.as_ref()?;
        // Who says how old an answer may be is answered by Alyx itself.
        if self.directives.max_age.is_some()
            || self.directives.min_fresh.is_some()
            || self.directives.only_if_cached
        {
            return None;
        }
        let wanted: Vec<CatchUp> = match miss {
            MirrorMiss::Old(tables) => match self.question.route {
                // The records of others that a detail shows.
                Route::Detail(endpoint, _) => tables
                    .iter()
                    .map(|table| match *table {
                        own if own == endpoint.name => CatchUp::Table(own),
                        other => Synchroniser::for_details(other),
                    })
                    .collect(),
                _ => tables.iter().map(|table| CatchUp::Table(table)).collect(),
            },
            MirrorMiss::MayBeNew(tables) if !tables.is_empty() => {
                tables.iter().map(|table| CatchUp::Changes(table)).collect()
            }
            // A record that is asked for alone costs Alyx the same whoever asks, and its answer is current.
            MirrorMiss::Undecided(Undecidable::Lacking { endpoint, records })
                if matches!(self.question.route, Route::List(_)) =>
            {
                let endpoint = Endpoint::named(endpoint)?;
                let keeps = self.exchange.settings.mirror.keeps_details(endpoint);
                keeps.then(|| vec![CatchUp::Details(endpoint.name, records.clone())])?
            }
            _ => return None,
        };
        if self.floors.mirror.costs.was_in_vain(&wanted, self.core.clock.instant()) {
            return None;
        }
        let requests =
            wanted.iter().map(|one| Some(synchroniser.requests_of(one)?.len())).sum::<Option<usize>>()?;
        let took = wanted.iter().map(|one| synchroniser.took(one)).sum::<Option<Duration>>();
        let costs = self.floors.mirror.costs.of(&self.question.route);
        let questions = match miss {
            MirrorMiss::Old(tables) | MirrorMiss::MayBeNew(tables) => {
                tables.iter().map(|table| synchroniser.budget.uses(table)).min()
            }
            _ => None,
        };
        // That a list has no records is believed for a moment alone: where it takes more than the question itself, others must
        // live by it at the same time.
        if matches!(miss, MirrorMiss::MayBeNew(_))
            && requests > 1
            && questions.is_none_or(|others| others < 2 * requests as u64)
        {
            return None;
        }
        // The details of a few records stay, and need not be fetched again.
        let requests = if questions.is_some() { requests } else { 1 };
        is_worth_it((costs, questions.unwrap_or(0)), (requests, took)).then_some(wanted)
    }

    /// What Alyx would be asked for that.
    fn requests(&self, wanted: &[CatchUp]) -> Vec<String> {
        let synchroniser = self.core.synchroniser.iter();
        synchroniser
            .flat_map(|synchroniser| wanted.iter().filter_map(|one| synchroniser.requests_of(one)))
            .flatten()
            .collect()
    }

    /// The mirror's answer when that has been fetched; none where it was not, in time.
    async fn caught_up(&self, mut wanted: Vec<CatchUp>) -> Option<MirrorLookup> {
        let synchroniser = self.core.synchroniser.as_ref()?;
        let mirror = &self.floors.mirror;
        // As recent as the question wanted it when it came.
        let recency = mirror.recency(self.question, &self.exchange.settings, &self.directives).ok()?;
        let patience = self.exchange.settings.upstream.serve_stale_after.0;
        let until = self.core.clock.instant() + patience;
        // One that was under way when this came may have been begun too early; and an answer that has no records, which is
        // known now, may want other tables to be looked at.
        for last in [false, true] {
            let all = join_all(wanted.iter().map(|one| synchroniser.catch_up(one.clone())));
            let done = tokio::time::timeout_at(until.into(), all).await.ok()?;
            if !done.into_iter().all(|done| done) {
                return None;
            }
            let recency = crate::mirror::answer::Recency {
                until: self.core.clock.now(),
                written: self.core.responses.written_lists(),
                ..recency.clone()
            };
            let lookup = mirror.mirrored_since(self.exchange, self.question, recency, self.owner()).await;
            let MirrorLookup::Miss(miss @ (MirrorMiss::Old(_) | MirrorMiss::MayBeNew(_))) = &lookup else {
                return Some(lookup);
            };
            if !last {
                wanted = self.wanted(miss)?;
            }
        }
        mirror.costs.note_in_vain(wanted, self.core.clock.instant());
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_costs_alyx_more_than_the_questions_that_live_by_it_is_not_asked() {
        let ms = |ms| Some(Duration::from_millis(ms));
        let worth = |question, tables| is_worth_it((question, 0), (2, tables));
        assert!(worth(None, ms(9_000)) && worth(ms(1), None), "not known yet");
        assert!(worth(ms(100), ms(300)) && !worth(ms(100), ms(301)));
        assert!(worth(ms(1), ms(50)) && !worth(ms(1), ms(51)));
        // Of a record that shows many tables, as many questions must have come.
        assert!(!is_worth_it((ms(100), 10), (11, ms(900))) && is_worth_it((ms(100), 11), (11, ms(900))));
        assert!(!is_worth_it((ms(100), 11), (11, ms(1_200))));
    }
}
