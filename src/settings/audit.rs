use serde::{Deserialize, Serialize};

use super::value::Size;

/// `[audit]`: who did what, in files of their own that only the administrator sees.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuditSettings {
    /// All of its files together; the oldest lines of each go.
    pub max_size: Size,
    /// Whether names of people and records stand there as keyed hashes.
    pub hash_names: bool,
}

impl Default for AuditSettings {
    fn default() -> Self {
        Self { max_size: Size::mib(24), hash_names: false }
    }
}
