use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{error::SettingsError, value::Span};
use crate::alyx::{Class, DetailShape, ENDPOINTS, Endpoint};

/// Stands for all endpoints, but those that must be current.
pub(super) const ALL: &str = "all";

/// `[mirror]`: whole tables of Alyx that are kept here, and the account that fetches them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MirrorSettings {
    /// The endpoints whose tables are kept. `all` leaves out what must be current (tasks): a table that is
    /// minutes old would tell two lab servers to do the same work.
    pub endpoints: Vec<String>,
    /// Endpoints of which the details are kept too, where details are other than the records of the list.
    pub details: Vec<String>,
    /// How often changes are asked for, of tables whose records say when they changed.
    pub interval: Span,
    /// How often the others are read as a whole.
    pub full_interval: Span,
    /// What may be asked of Alyx a day that nobody waits for, where a twentieth of the reads that were answered here is less; 0:
    /// no bound.
    pub background_per_day: u32,
    /// How old a table may be to answer while Alyx can be reached, where `[freshness]` says nothing shorter.
    pub max_age: Span,
    /// How long a question may take the mirror before others are to answer it, waiting included.
    pub query_timeout: Span,
    /// Local answers a minute that are asked of Alyx too, and compared; 0: none.
    pub verify_per_minute: u32,
    /// The server's `TIME_ZONE`.
    pub time_zone: String,
    /// The user name of the account that synchronises.
    pub username: String,
    /// Its password.
    pub password: String,
    /// Its token, instead of user name and password.
    pub token: String,
    /// A file that holds its token.
    pub token_file: PathBuf,
    /// Parameters that narrow what is kept of an endpoint.
    pub scope: BTreeMap<String, BTreeMap<String, String>>,
}

impl Default for MirrorSettings {
    fn default() -> Self {
        Self {
            endpoints: vec![ALL.to_owned()],
            details: vec![ALL.to_owned()],
            interval: Span::minutes(4),
            full_interval: Span::hours(1),
            background_per_day: 250,
            max_age: Span::days(1),
            query_timeout: Span::seconds(2),
            verify_per_minute: 2,
            time_zone: "UTC".to_owned(),
            username: String::new(),
            password: String::new(),
            token: String::new(),
            token_file: PathBuf::new(),
            scope: BTreeMap::new(),
        }
    }
}

impl MirrorSettings {
    /// Whether an account is set; without one nothing is synchronised.
    pub fn has_account(&self) -> bool {
        !self.token.is_empty()
            || !self.token_file.as_os_str().is_empty()
            || !(self.username.is_empty() || self.password.is_empty())
    }

    /// Whether the endpoint's table is kept.
    pub fn keeps(&self, endpoint: &Endpoint) -> bool {
        named(&self.endpoints, endpoint.name)
            || named(&self.endpoints, ALL) && endpoint.class != Class::Volatile
    }

    /// Whether the endpoint's details are kept.
    pub fn keeps_details(&self, endpoint: &Endpoint) -> bool {
        endpoint.detail.is_some_and(|detail| detail.shape == DetailShape::Own)
            && (named(&self.details, endpoint.name) || named(&self.details, ALL))
    }

    /// The endpoints whose tables are kept.
    pub fn kept(&self) -> impl Iterator<Item = &'static Endpoint> {
        ENDPOINTS.iter().filter(|endpoint| self.keeps(endpoint))
    }

    /// The parameters that narrow an endpoint's table.
    pub fn scope_of(&self, endpoint: &str) -> Vec<(String, String)> {
        let parameters = self.scope.get(endpoint).into_iter().flatten();
        parameters.map(|(name, value)| (name.clone(), value.clone())).collect()
    }
}

fn named(names: &[String], name: &str) -> bool {
    names.iter().any(|known| known == name)
}

/// A file with a password or a token in it is for its owner alone.
#[cfg(unix)]
pub(super) fn private(path: &Path) -> Result<(), SettingsError> {
    use std::os::unix::fs::PermissionsExt;
    let metadata = std::fs::metadata(path).map_err(|error| SettingsError::file(path, &error))?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode.trailing_zeros() >= 6 {
        return Ok(());
    }
    Err(SettingsError::Open { path: path.display().to_string(), mode: format!("{mode:04o}") })
}

/// Other systems have other means.
#[cfg(not(unix))]
pub(super) fn private(_: &Path) -> Result<(), SettingsError> {
    Ok(())
}
