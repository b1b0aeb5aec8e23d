use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::value::Size;

/// `[storage]`: where the proxy keeps what it remembers, and how much.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StorageSettings {
    /// The data directory; empty: the user's own (`$XDG_DATA_HOME/alyx-proxy`).
    pub data_dir: PathBuf,
    /// Stored responses on disk; beyond it the least recently used ones go.
    pub max_disk: Size,
    /// Responses held in memory, ready to send, and lists that the mirror has found lately.
    pub max_memory: Size,
}

impl Default for StorageSettings {
    fn default() -> Self {
        Self { data_dir: PathBuf::new(), max_disk: Size::gib(4), max_memory: Size::mib(256) }
    }
}
