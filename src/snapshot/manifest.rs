//! What a snapshot says of itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Selection, times::Times};
use crate::{clock::Millis, settings::base_url};

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

impl Manifest {
    /// Whether it can be what it says, by a clock that stands here. What it says is shown, sent in header fields, and served
    /// alone: `why not`, where it can't.
    pub(super) fn check(&self, now: Millis) -> Result<(), String> {
        let times = Times::at(now);
        times.check("created_at", self.created_at)?;
        times.check("as_of", self.as_of)?;
        if base_url(&self.upstream).as_deref() != Some(&self.upstream) {
            return Err("`upstream` is no URL of an Alyx".to_owned());
        }
        if jiff::tz::TimeZone::get(&self.time_zone).is_err() {
            return Err("`time_zone` is no time zone".to_owned());
        }
        if self.name.is_empty() || self.name.len() > 400 || self.name.chars().any(char::is_control) {
            return Err("`name` has 1 to 100 characters, none of them invisible".to_owned());
        }
        let named = self.choice.owners().flat_map(|(_, names)| names);
        let mut chosen = self.choice.endpoints.iter().map(String::as_str).chain(named);
        if !chosen.all(is_shown) {
            return Err("`choice` names what has invisible characters".to_owned());
        }
        let version = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '-' | '+');
        if self.program.len() > 64 || !self.program.chars().all(version) {
            return Err("`program` is no version".to_owned());
        }
        Ok(())
    }
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
    /// Tables that hold more, or tell less, than one would think, and why.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub remarks: BTreeMap<String, String>,
}

/// Whether a text can be shown on a terminal as it is.
pub(super) fn is_shown(text: &str) -> bool {
    text.len() <= 4096 && !text.chars().any(char::is_control)
}

impl Contents {
    /// Whether all of its texts can be shown on a terminal as they are.
    pub(super) fn is_shown(&self) -> bool {
        let pairs = self.tables.values().flat_map(|table| &table.scope);
        let scopes = pairs.flat_map(|(name, value)| [name, value]);
        let left_out = self.left_out.iter().chain(&self.remarks).flat_map(|(name, why)| [name, why]);
        self.blanked.keys().chain(scopes).chain(left_out).all(|text| is_shown(text))
    }

    /// Notes that so many records of a table are without their details, where there are such.
    pub(super) fn note_without_details(&mut self, endpoint: &str, without: u64) {
        if without > 0 {
            let text =
                format!("{without} of its records are without details: what only these tell is not in it");
            let remark = self.remarks.entry(endpoint.to_owned()).or_default();
            *remark = if remark.is_empty() { text } else { format!("{remark}; {text}") };
        }
    }

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
