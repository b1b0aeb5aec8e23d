//! What a snapshot says of itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Selection;
use crate::clock::Millis;

/// The word by which a manifest is known.
pub(super) const FORMAT: &str = "alyx-proxy snapshot";
/// The form that this program writes, and the newest that it reads.
pub(super) const FORM: u32 = 1;

/// What stands at the beginning: what this is, and of when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Always [`FORMAT`].
    pub(super) format: String,
    /// The form of everything that follows.
    pub(super) form: u32,
    /// What people call it.
    pub name: String,
    /// When it was made: milliseconds since 1970 UTC.
    pub created_at: Millis,
    /// The time of the newest that it holds: of it, it is as Alyx was then.
    pub as_of: Millis,
    /// The base URL of the Alyx that it is of.
    pub upstream: String,
    /// The time zone of that Alyx's server, by its IANA name.
    pub time_zone: String,
    /// The version of the program that wrote it.
    pub program: String,
    /// What was chosen of all that the proxy knew.
    pub choice: Selection,
}

/// What every form has, so that a newer one can be named.
#[derive(Debug, Deserialize)]
pub(super) struct AnyForm {
    pub(super) format: String,
    pub(super) form: u32,
    #[serde(default)]
    pub(super) program: String,
}

/// What stands at the end: how much there is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contents {
    /// Tables of the mirror, by endpoint.
    pub tables: BTreeMap<String, TableLine>,
    /// Stored answers, by endpoint or service.
    pub answers: BTreeMap<String, u64>,
    /// Kept cache tables: the bytes of each, by database tag.
    pub files: BTreeMap<String, u64>,
    /// Secrets that were left out, by endpoint.
    pub blanked: BTreeMap<String, u64>,
    /// Whether something stands in their places that tells of it; snapshots of earlier revisions have empty texts there.
    #[serde(default)]
    pub secrets_marked: bool,
    /// Answers that were left out because they are kept apart for single users.
    pub for_single_users: u64,
    /// Answers that were left out because the form in which they were asked for is not known any more.
    pub of_unknown_form: u64,
    /// Answers that were left out because they don't fit together with what lies on disk.
    pub damaged: u64,
    /// Tables that can't be narrowed to what was chosen, and why; they were left out.
    pub left_out: BTreeMap<String, String>,
}

impl Contents {
    /// How many stored answers there are.
    pub fn answer_count(&self) -> u64 {
        self.answers.values().sum()
    }

    /// How many records of tables there are.
    pub fn record_count(&self) -> u64 {
        self.tables.values().map(|table| table.records).sum()
    }
}

/// A table of the mirror.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableLine {
    /// Records.
    pub records: u64,
    /// When the synchronisation began that last covered all of it.
    pub synced_at: Millis,
    /// The parameters that all its records fulfil; empty where it is whole.
    pub scope: Vec<(String, String)>,
}
