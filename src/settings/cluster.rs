use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// `[cluster]`: other proxies of the same Alyx, and the PostgreSQL by which they tell one another what was written.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClusterSettings {
    /// Where the PostgreSQL is.
    pub url: String,
    /// A file that holds that, as there is a password in it.
    pub url_file: PathBuf,
    /// A file with the key that all proxies of the cluster have.
    pub key_file: PathBuf,
    /// Whether nothing is written while the others can't be told.
    pub strict: bool,
}

impl ClusterSettings {
    /// Whether there is a cluster.
    pub fn is_set(&self) -> bool {
        !self.url.is_empty() || !self.url_file.as_os_str().is_empty()
    }
}
