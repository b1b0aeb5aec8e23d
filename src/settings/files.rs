use serde::{Deserialize, Serialize};

use super::value::{Size, Span};

/// `[files]`: the lab's data files, read through and kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FilesSettings {
    /// Whether files are given at all, under `/-/data/`.
    pub enabled: bool,
    /// Base URL of the data server, `http` or `https`.
    pub origin: String,
    /// All kept files together; those that nobody has asked for longest go first. 0: 100 GiB, or half of what is free where
    /// that is less.
    pub max_size: Size,
    /// So much of the disk stays free.
    pub min_free: Size,
    /// How long a file counts as unchanged before the data server is asked again.
    pub max_age: Span,
    /// How long credentials that the data server has accepted for a file count without asking it again.
    pub credentials_ttl: Span,
    /// How often all that is kept of a file is read, in the background, to see whether the disk has damaged it.
    pub check_every: Span,
}

impl Default for FilesSettings {
    fn default() -> Self {
        Self {
            enabled: false,
            origin: String::new(),
            max_size: Size(0),
            min_free: Size::gib(10),
            max_age: Span::minutes(5),
            credentials_ttl: Span::minutes(5),
            check_every: Span::days(7),
        }
    }
}
