//! What is told of the mirror: its state for programs.

use serde_json::{Map, Value, json};

use super::router::AdminSite;
use crate::{clock, mirror::unreadable::Unreadable};

impl AdminSite {
    /// What the mirror holds, table by table, and how it fares.
    pub(crate) fn mirror_status(&self) -> Option<Value> {
        let mirror = self.core.mirror.as_ref()?;
        let states = mirror.states();
        let now = self.core.clock.now();
        let mut tables: Vec<_> = states.iter().collect();
        tables.sort_unstable_by_key(|(endpoint, _)| *endpoint);
        let table = |(endpoint, state): (&str, &crate::mirror::state::TableState)| {
            json!({
                "endpoint": endpoint,
                "rows": state.rows,
                "details": state.details,
                "synced_at": clock::for_machines(state.synced_at),
                "age_seconds": (now - state.synced_at).max(0) / 1000,
                "scope": state.scope.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>(),
                "distrusted": state.distrusted,
                "unreadable_count": state.unreadable.count,
                "unreadable": state.unreadable.told.iter().map(unreadable).collect::<Vec<_>>(),
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
        Some(json!({
            "tables": tables.into_iter().map(table).collect::<Vec<_>>(),
            "verifications": verified,
            "degraded": mirror.trouble().map(|trouble| trouble.for_machines()),
            "quarantined_file": mirror.set_aside().map(|path| path.display().to_string()),
            "progress": self.core.synchroniser.as_ref().map(|synchroniser| synchroniser.progress.snapshot()),
        }))
    }
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
