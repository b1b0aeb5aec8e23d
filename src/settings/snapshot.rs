use serde::{Deserialize, Serialize};

/// `[snapshot]`: whose snapshots are taken without a word.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SnapshotSettings {
    /// Keys of those who make them, each as `ed25519:…`, with a name behind it.
    pub trusted_keys: Vec<String>,
}
