use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::value::Span;

/// `[freshness]`: how long an answer counts as fresh, by the kind of its endpoint.
///
/// `0s` means: ask Alyx every time while it can be reached, and keep the answer for when it can't.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FreshnessSettings {
    /// Tables that change rarely: labs, projects, dataset types, brain regions, …
    pub reference: Span,
    /// What experiments write: sessions, subjects, insertions, datasets, …
    pub records: Span,
    /// What must be current: tasks, weighings, water.
    pub volatile: Span,
    /// The description of the interface (`/api/schema`, `/docs/`).
    pub schema: Span,
    /// ONE's cache tables (`cache/info`, `cache.zip`).
    pub tables: Span,
    /// Exceptions: a span for an endpoint by its name, e.g. `subjects = "1m"`.
    pub endpoints: BTreeMap<String, Span>,
}

impl Default for FreshnessSettings {
    fn default() -> Self {
        Self {
            reference: Span::days(1),
            records: Span::minutes(5),
            volatile: Span::seconds(0),
            schema: Span::days(1),
            tables: Span::hours(1),
            endpoints: BTreeMap::new(),
        }
    }
}
