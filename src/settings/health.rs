use serde::{Deserialize, Serialize};

use super::value::Span;

/// `[health]`: how the proxy finds out whether Alyx can be reached.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HealthSettings {
    /// While Alyx is away: time between two looks for its return.
    pub interval: Span,
    /// While all is quiet: time without an answer of Alyx after which it is looked for; `0s`: never.
    pub idle_interval: Span,
    /// How long a look may take.
    pub timeout: Span,
}

impl Default for HealthSettings {
    fn default() -> Self {
        Self { interval: Span::seconds(5), idle_interval: Span::seconds(30), timeout: Span::seconds(5) }
    }
}
