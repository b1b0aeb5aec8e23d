//! What one place says: the file, one environment variable, or one flag.
//!
//! Each value is checked before it is laid over the others, so that an error names its place, and
//! so that a wrong value is found even where a later one would have hidden it.

use std::{ffi::OsStr, path::Path};

use figment::{
    Error, Metadata, Profile, Provider,
    value::{Dict, Map, Value as FigmentValue},
};
use serde_json::Value;

use super::{
    error::SettingsError,
    keys, mask,
    place::{CONFIG_VARIABLE, TOKEN_VARIABLE},
    renamed,
};

const PREFIX: &str = "ALYX_PROXY_";

/// One value for one key, checked, and where it was said.
pub(super) struct LayeredValue {
    origin: String,
    key: String,
    value: Value,
}

/// What a settings file says.
pub(super) fn file(path: &Path) -> Result<Vec<LayeredValue>, SettingsError> {
    let bytes = std::fs::read(path).map_err(|error| SettingsError::file(path, &error))?;
    let text = String::from_utf8(bytes).map_err(|_| SettingsError::File {
        path: path.display().to_string(),
        reason: "its text is not UTF-8".to_owned(),
    })?;
    let table: toml::Table =
        toml::from_str(&text).map_err(|error| SettingsError::syntax(path, &text, &error))?;
    let mut values = Vec::new();
    flatten("", from_toml(toml::Value::Table(table)), &mut values);
    let origin = path.display().to_string();
    values.into_iter().map(|(key, value)| checked(origin.clone(), key, value)).collect()
}

/// What an environment variable says; `None` if it is no business of ours.
pub(super) fn variable(name: &OsStr, value: &OsStr) -> Result<Option<LayeredValue>, SettingsError> {
    let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else { return Ok(None) };
    let lossy = value.to_string_lossy();
    if name == CONFIG_VARIABLE || name == TOKEN_VARIABLE || is_of_an_orchestrator(name, &lossy) {
        return Ok(None);
    }
    let origin = format!("environment variable {name}");
    let middle = &name[PREFIX.len()..];
    if !middle.contains("__") {
        return Err(SettingsError::Unknown {
            origin,
            key: middle.to_owned(),
            value: mask::shown(middle, &lossy.into()),
            meant: keys::meant_variable(middle),
            allowed: format!("{CONFIG_VARIABLE} and {PREFIX}<SECTION>__<KEY>, with two `_` between"),
        });
    }
    let key = keys::of_variable(middle);
    let Some(text) = value.to_str() else {
        let value = mask::shown(&key, &lossy.into());
        return Err(SettingsError::Wrong { origin, key, value, allowed: "UTF-8".to_owned() });
    };
    read(origin, key, text).map(Some)
}

/// What a flag says.
pub(super) fn flag(flag: &str, key: &str, value: &str) -> Result<LayeredValue, SettingsError> {
    read(flag.to_owned(), key.to_owned(), value)
}

fn read(origin: String, key: String, text: &str) -> Result<LayeredValue, SettingsError> {
    let value = keys::find(&key).map_or_else(|| text.into(), |known| known.kind.read(text));
    checked(origin, key, value)
}

fn checked(origin: String, key: String, value: Value) -> Result<LayeredValue, SettingsError> {
    let shown = || mask::shown(&key, &value);
    match keys::find(&key) {
        Some(known) if known.kind.accepts(&value) => Ok(LayeredValue { origin, key, value }),
        Some(known) => {
            let meant = known.kind.meant(&value).map(|meant| format!("; did you mean `{meant}`?"));
            let allowed = format!("{}{}", known.kind.allowed(), meant.unwrap_or_default());
            Err(SettingsError::Wrong { origin, value: shown(), allowed, key })
        }
        None if keys::is_table(&key) => {
            let allowed = format!("a table; allowed: {}", keys::allowed_instead(&format!("{key}.")));
            Err(SettingsError::Wrong { origin, value: shown(), allowed, key })
        }
        None => {
            if let Some(new) = renamed::now(&key) {
                return Err(SettingsError::Renamed { origin, key, new });
            }
            let (meant, allowed) = (keys::meant(&key), keys::allowed_instead(&key));
            Err(SettingsError::Unknown { origin, value: shown(), meant, allowed, key })
        }
    }
}

/// Kubernetes and Docker describe a service called `alyx-proxy` to its neighbours by variables such
/// as `ALYX_PROXY_SERVICE_HOST` and `ALYX_PROXY_PORT=tcp://10.0.0.7:8040`. They are not settings.
fn is_of_an_orchestrator(name: &str, value: &str) -> bool {
    let name = &name[PREFIX.len()..];
    let address = value.starts_with("tcp://") || value.starts_with("udp://");
    let of_port =
        name.strip_prefix("PORT_").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    name == "SERVICE_HOST"
        || name == "SERVICE_PORT"
        || name.starts_with("SERVICE_PORT_")
        || of_port
        || (name == "PORT" && address)
}

/// The leaves of a table, each under its full key. A table without leaves says nothing, unless it
/// has no business here.
fn flatten(key: &str, value: Value, leaves: &mut Vec<(String, Value)>) {
    match value {
        Value::Object(table) if key.is_empty() || (keys::is_table(key) && !table.is_empty()) => {
            for (name, value) in table {
                let key = if key.is_empty() { name } else { format!("{key}.{name}") };
                flatten(&key, value, leaves);
            }
        }
        Value::Object(table) if table.is_empty() && keys::is_table(key) => {}
        leaf => leaves.push((key.to_owned(), leaf)),
    }
}

fn from_toml(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => text.into(),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) => number.into(),
        toml::Value::Boolean(flag) => flag.into(),
        toml::Value::Datetime(time) => time.to_string().into(),
        toml::Value::Array(items) => items.into_iter().map(from_toml).collect(),
        toml::Value::Table(table) => table.into_iter().map(|(key, value)| (key, from_toml(value))).collect(),
    }
}

impl Provider for LayeredValue {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.origin.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        let nested = figment::util::nest(&self.key, FigmentValue::serialize(&self.value)?);
        Ok(Profile::Default.collect(nested.into_dict().unwrap_or_default()))
    }
}
