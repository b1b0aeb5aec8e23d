//! What is told of the mirror: its state for programs.

use serde_json::{Map, Value, json};

use super::router::{AdminSite, file_name};
use crate::{
    clock::{self, Millis},
    mirror::{
        state::TableState,
        sync::{
            TableProgress,
            budget::{BudgetUse, Purpose},
        },
        unreadable::Unreadable,
    },
};

/// What strangers are told of a synchronisation that failed.
pub(super) const FAILED: &str = "it failed; log in to see why";

/// A scope's parameters, for strangers without their values.
pub(super) fn scope(scope: &[(String, String)], names: bool) -> Vec<String> {
    let one = |(name, value): &(String, String)| if names { format!("{name}={value}") } else { name.clone() };
    scope.iter().map(one).collect()
}

impl AdminSite {
    /// That Alyx refuses the mirror's account, if it does; strangers are not told how.
    pub(super) fn account_refused(&self, names: bool) -> Option<String> {
        let refusal = self.core.synchroniser.as_ref()?.account_refusal()?;
        let how = if names { format!(": {refusal}") } else { "; log in to see why".to_owned() };
        Some(format!("nothing is synchronised{how}"))
    }

    /// How many details of a table Alyx gave not, or not so that they can be read.
    pub(super) fn details_not_given(&self, endpoint: &str, state: &TableState) -> usize {
        let lacking =
            self.core.synchroniser.as_ref().map_or(0, |synchroniser| synchroniser.lacking_details(endpoint));
        lacking + state.unreadable.count - state.unreadable.lists
    }

    /// What the mirror holds, table by table, and how it fares; strangers get no names of records and labs.
    pub(crate) fn mirror_status(&self, names: bool) -> Option<Value> {
        let mirror = self.core.mirror.as_ref()?;
        let states = mirror.states();
        let now = self.core.clock.now();
        let mut tables: Vec<_> = states.iter().collect();
        tables.sort_unstable_by_key(|(endpoint, _)| *endpoint);
        let table = |(endpoint, state): (&str, &TableState)| {
            json!({
                "endpoint": endpoint,
                "rows": state.rows,
                "details": state.details,
                "details_not_given": self.details_not_given(endpoint, state),
                "synced_at": clock::for_machines(state.synced_at),
                "age_seconds": (now - state.synced_at).max(0) / 1000,
                "scope": scope(&state.scope, names),
                "distrusted": state.distrusted,
                "at_fault": states.at_fault(endpoint).collect::<Vec<_>>(),
                "unreadable_count": state.unreadable.count,
                "unreadable": state.unreadable.told.iter().filter(|_| names).map(unreadable).collect::<Vec<_>>(),
            })
        };
        let verified: Map<String, Value> = self
            .floors
            .mirror
            .samples
            .by_name()
            .into_iter()
            .map(|(name, count)| (name.to_owned(), count.into()))
            .collect();
        let spec = states.spec();
        Some(json!({
            "alyx": {
                "summary": spec.summary(),
                "described": spec.description().is_some(),
                "release": spec.release().filter(|_| spec.description().is_some()).map(|release| release.name),
                "differences": spec.differences().iter().map(ToString::to_string).collect::<Vec<_>>(),
            },
            "account_refused": self.account_refused(names),
            "tables": tables.into_iter().map(table).collect::<Vec<_>>(),
            "verifications": verified,
            "requests": self.core.synchroniser.as_ref().map(|synchroniser| requests(&synchroniser.budget.used())),
            "degraded": mirror.trouble().map(|trouble| trouble.for_machines()),
            "quarantined_file": mirror.set_aside().map(|path| file_name(&path, names)),
            "progress": self.core.synchroniser.as_ref().map(|synchroniser| {
                let snapshot = synchroniser.progress.snapshot().into_iter();
                snapshot.map(|(name, run)| (name.to_owned(), progress(run, names, now))).collect::<Map<_, _>>()
            }),
        }))
    }
}

/// What was asked of Alyx in the last 24 hours, and saved it.
fn requests(used: &BudgetUse) -> Value {
    let by_purpose: Map<String, Value> = Purpose::ALL
        .into_iter()
        .map(|purpose| (purpose.name().to_owned(), used.of(purpose).into()))
        .collect();
    json!({
        "hours": 24,
        "background": used.background(),
        "allowed": used.allowed,
        "left": used.left(),
        "reads_saved": used.saved,
        "by_purpose": by_purpose,
    })
}

/// How far a table is; strangers are not told why it failed.
fn progress(mut run: TableProgress, names: bool, now: Millis) -> Value {
    if !names {
        run.error = run.error.take().map(|_| FAILED.to_owned());
    }
    let (rate, left, told) = (run.rate(now), run.seconds_left(now), run.phase_for_people(now));
    let (here, moving) = (run.here(), run.is_moving());
    let mut progress = json!(run);
    progress["per_second"] = rate.into();
    progress["seconds_left"] = left.into();
    progress["here"] = here.into();
    progress["moving"] = moving.into();
    progress["text"] = told.into();
    progress
}

/// A record that Alyx could not give.
fn unreadable(record: &Unreadable) -> Value {
    json!({
        "record": record.path,
        "why": record.why,
        "since": clock::for_machines(record.since),
        "tries": record.tries,
        "again_at": clock::for_machines(record.again_at),
        "listed": !record.list,
    })
}
