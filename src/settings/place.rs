//! Where the settings file and the data lie when nobody says so (the XDG base directories).

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use etcetera::{BaseStrategy, base_strategy::choose_base_strategy};

use super::{StorageSettings, error::SettingsError};
use crate::data_dir::own_folder;

/// The variable that names the settings file.
pub(super) const CONFIG_VARIABLE: &str = "ALYX_PROXY_CONFIG";
/// Holds a user's token for commands that ask a running proxy; it is no setting.
pub const TOKEN_VARIABLE: &str = "ALYX_PROXY_TOKEN";

const SYSTEM_FILE: &str = "/etc/alyx-proxy/alyx-proxy.toml";

/// The settings file: the one that is named, which must be there, else the user's own or the
/// system's, if there is one.
pub(super) fn config_file(
    named: Option<&Path>,
    environment: &[(OsString, OsString)],
) -> Result<Option<PathBuf>, SettingsError> {
    let variable = environment.iter().find(|(name, _)| name == CONFIG_VARIABLE);
    let variable = variable.map(|(_, value)| Path::new(value)).filter(|path| !path.as_os_str().is_empty());
    if let Some(path) = named.or(variable) {
        return Ok(Some(path.to_owned()));
    }
    let own = choose_base_strategy().ok().map(|home| home.config_dir().join("alyx-proxy/config.toml"));
    for path in own.into_iter().chain([PathBuf::from(SYSTEM_FILE)]) {
        if path.try_exists().map_err(|error| SettingsError::file(&path, &error))? {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

impl StorageSettings {
    /// The data directory: the one that is set, else systemd's for this service (`$STATE_DIRECTORY`), else the user's own
    /// (`$XDG_DATA_HOME/alyx-proxy`); in one that is another user's the folder of our own, once there is one.
    pub fn directory(&self) -> Result<PathBuf, SettingsError> {
        if !self.data_dir.as_os_str().is_empty() {
            return Ok(own_folder(self.data_dir.clone()));
        }
        // Of several the first is meant.
        let of_service = std::env::var("STATE_DIRECTORY").ok();
        if let Some(folder) = of_service.as_deref().and_then(|folders| folders.split(':').next())
            && !folder.is_empty()
        {
            return Ok(own_folder(PathBuf::from(folder)));
        }
        let home = choose_base_strategy().map_err(|_| SettingsError::NoHome)?;
        Ok(own_folder(home.data_dir().join("alyx-proxy")))
    }
}
