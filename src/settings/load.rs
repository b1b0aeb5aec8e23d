//! Defaults ▸ file ▸ environment ▸ flags: where settings come from, the later over the earlier.
//!
//! [`load`] can be called again at any time with the same [`Sources`]; what a running proxy makes of
//! that is `reload`'s business.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use figment::{Figment, providers::Serialized};
use serde_json::Value;

use super::{
    ClusterSettings, Settings,
    error::SettingsError,
    keys, kind,
    layer::{self, LayeredValue},
    mask, mirror, place,
};

/// The origin of a value that nobody has set.
const DEFAULT: &str = "default";

/// Where to look for settings.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The file named by `--config`.
    pub config: Option<PathBuf>,
    /// The process's environment, as it was at the start.
    pub environment: Vec<(OsString, OsString)>,
    /// What flags say, in their order.
    pub overrides: Vec<Override>,
}

/// A value given by a flag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    /// The flag as errors name it, e.g. `--listen`.
    pub flag: String,
    /// The key, e.g. `server.listen`.
    pub key: String,
    /// The value's text.
    pub value: String,
}

impl Override {
    /// What the flag `flag` says of `key`.
    pub fn new(flag: &str, key: &str, value: impl Into<String>) -> Self {
        Self { flag: flag.to_owned(), key: key.to_owned(), value: value.into() }
    }

    /// `SECTION.KEY=VALUE`, the argument of `--set`.
    pub fn assignment(text: &str) -> Result<Self, SettingsError> {
        let (key, value) =
            text.split_once('=').ok_or_else(|| SettingsError::Form { text: text.to_owned() })?;
        Ok(Self::new("--set", key.trim(), value.trim()))
    }
}

impl Sources {
    /// The environment of this process, a file named by `--config`, and what flags say.
    pub fn of_process(config: Option<PathBuf>, overrides: Vec<Override>) -> Self {
        Self { config, environment: std::env::vars_os().collect(), overrides }
    }
}

/// The settings that are in effect, and why.
#[derive(Debug, Clone)]
pub struct LoadedSettings {
    /// The settings.
    pub settings: Settings,
    /// Every key with its value and where that came from, in the order of the file.
    pub origins: Vec<Effective>,
    /// The file that was read.
    pub file: Option<PathBuf>,
}

/// A value that is in effect. `Display` of `value` is what one would write in the file.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Effective {
    /// `section.key`.
    pub key: String,
    /// The value, without secrets.
    pub value: Value,
    /// `default`, the file's path, `environment variable …` or a flag.
    pub origin: String,
}

/// Reads, checks and lays over each other what `sources` say.
pub fn load(sources: &Sources) -> Result<LoadedSettings, SettingsError> {
    let file = place::config_file(sources.config.as_deref(), &sources.environment)?;
    loaded(sources, file.clone()).map_err(|error| match &file {
        Some(file) => error.with_line(file),
        None => error,
    })
}

fn loaded(sources: &Sources, file: Option<PathBuf>) -> Result<LoadedSettings, SettingsError> {
    let figment = lay(said(sources, file.as_deref())?);
    let mut settings: Settings = figment.extract().map_err(|error| unreadable(&figment, &error))?;
    normalise(&mut settings);
    check_together(&settings, &figment)?;
    let origins = effective(&settings, &figment);
    check_secrets(&settings, &figment, file.as_deref())?;
    Ok(LoadedSettings { settings, origins, file })
}

fn said(sources: &Sources, file: Option<&Path>) -> Result<Vec<LayeredValue>, SettingsError> {
    let mut said = match file {
        Some(path) => layer::file(path)?,
        None => Vec::new(),
    };
    // Sorted, so that of two wrong variables the same one is reported each time.
    let mut environment: Vec<_> = sources.environment.iter().collect();
    environment.sort();
    for (name, value) in environment {
        said.extend(layer::variable(name, value)?);
    }
    for flag in &sources.overrides {
        said.push(layer::flag(&flag.flag, &flag.key, &flag.value)?);
    }
    Ok(said)
}

fn lay(said: Vec<LayeredValue>) -> Figment {
    said.into_iter().fold(Figment::from(Serialized::defaults(Settings::default())), Figment::merge)
}

/// The values were checked one by one before; this is what those checks would have let through.
fn unreadable(figment: &Figment, error: &figment::Error) -> SettingsError {
    let key = error.path.join(".");
    let value = figment.find_value(&key).ok().and_then(|value| serde_json::to_value(value).ok());
    SettingsError::Wrong {
        origin: origin(figment, &key),
        value: mask::shown(&key, &value.unwrap_or_default()),
        allowed: error.kind.to_string().replace('\n', " "),
        key,
    }
}

fn normalise(settings: &mut Settings) {
    for url in [
        &mut settings.upstream.url,
        &mut settings.server.public_url,
        &mut settings.server.alyx_pages_url,
        &mut settings.files.origin,
    ] {
        if let Some(normal) = kind::base_url(url) {
            *url = normal;
        }
    }
}

/// What concerns two values at once. The one that somebody has set is the one to name.
fn check_together(settings: &Settings, figment: &Figment) -> Result<(), SettingsError> {
    let pair = [
        ("server.tls_certificate", &settings.server.tls_certificate),
        ("server.tls_key", &settings.server.tls_key),
    ];
    for ((key, path), (other, missing)) in [(pair[0], pair[1]), (pair[1], pair[0])] {
        if !path.as_os_str().is_empty() && missing.as_os_str().is_empty() {
            return Err(SettingsError::Half { origin: origin(figment, key), key, other });
        }
    }
    if settings.files.enabled && settings.files.origin.is_empty() {
        let (key, other) = ("files.enabled", "files.origin");
        return Err(SettingsError::Half { origin: origin(figment, key), key, other });
    }
    check_account(&settings.mirror, figment)?;
    check_cluster(&settings.cluster, figment)?;
    let upstream = &settings.upstream;
    if upstream.serve_stale_after <= upstream.timeout {
        return Ok(());
    }
    let (patience, timeout) =
        (("upstream.serve_stale_after", upstream.serve_stale_after), ("upstream.timeout", upstream.timeout));
    let is_set = |key| origin(figment, key) != DEFAULT;
    let ((key, value), (other, bound), relation) =
        if is_set(patience.0) { (patience, timeout, "at most") } else { (timeout, patience, "at least") };
    Err(SettingsError::Wrong {
        origin: origin(figment, key),
        key: key.to_owned(),
        value: format!("\"{value}\""),
        allowed: format!("{relation} {other}, which is \"{bound}\" ({})", origin(figment, other)),
    })
}

/// What says who synchronises: a name and its password, or one token.
fn check_account(mirror: &mirror::MirrorSettings, figment: &Figment) -> Result<(), SettingsError> {
    let has_token = !mirror.token.is_empty() || !mirror.token_file.as_os_str().is_empty();
    let name = ("mirror.username", mirror.username.is_empty());
    let password = ("mirror.password", mirror.password.is_empty());
    for ((key, empty), (other, missing)) in [(name, password), (password, name)] {
        if !empty && missing && !has_token {
            return Err(SettingsError::Half { origin: origin(figment, key), key, other });
        }
    }
    if !mirror.token.is_empty() && !mirror.token_file.as_os_str().is_empty() {
        let (key, other) = ("mirror.token_file", "mirror.token");
        return Err(SettingsError::Both { origin: origin(figment, key), key, other });
    }
    Ok(())
}

/// Where the cluster's engine is, and the key: both or none.
fn check_cluster(cluster: &ClusterSettings, figment: &Figment) -> Result<(), SettingsError> {
    let (file, key) = (!cluster.url_file.as_os_str().is_empty(), !cluster.key_file.as_os_str().is_empty());
    let url = if file { "cluster.url_file" } else { "cluster.url" };
    if file && !cluster.url.is_empty() {
        let (key, other) = ("cluster.url_file", "cluster.url");
        return Err(SettingsError::Both { origin: origin(figment, key), key, other });
    }
    match (cluster.is_set(), key) {
        (true, false) => {
            Err(SettingsError::Half { origin: origin(figment, url), key: url, other: "cluster.key_file" })
        }
        (false, true) => {
            let (key, other) = ("cluster.key_file", "cluster.url");
            Err(SettingsError::Half { origin: origin(figment, key), key, other })
        }
        _ => Ok(()),
    }
}

fn effective(settings: &Settings, figment: &Figment) -> Vec<Effective> {
    let mut found = Vec::new();
    let all = serde_json::to_value(settings).unwrap_or_default();
    let mut add = |key: String, value: &Value| {
        let (origin, value) = (origin(figment, &key), mask::masked(&key, value));
        found.push(Effective { key, value, origin });
    };
    for key in keys::KEYS {
        if let Some(value) = all.pointer(&key.pointer()) {
            add(key.name.to_owned(), value);
        }
    }
    for (endpoint, span) in &settings.freshness.endpoints {
        add(format!("{}.{endpoint}", keys::EXCEPTIONS), &span.to_string().into());
    }
    for (endpoint, parameters) in &settings.mirror.scope {
        for (parameter, value) in parameters {
            add(format!("{}.{endpoint}.{parameter}", keys::SCOPE), &value.as_str().into());
        }
    }
    found
}

/// A file that holds a secret is for its owner alone.
fn check_secrets(settings: &Settings, figment: &Figment, file: Option<&Path>) -> Result<(), SettingsError> {
    let mirror = &settings.mirror;
    let said = [
        ("mirror.password", &mirror.password),
        ("mirror.token", &mirror.token),
        ("access.admin_token", &settings.access.admin_token),
        ("cluster.url", &settings.cluster.url),
    ];
    if let Some(path) = file {
        let here = |key: &str| origin(figment, key) == path.display().to_string();
        if said.iter().any(|(key, value)| !value.is_empty() && here(key)) {
            mirror::private(path)?;
        }
    }
    let cluster = &settings.cluster;
    for (key, path) in [
        ("mirror.token_file", &mirror.token_file),
        ("cluster.url_file", &cluster.url_file),
        ("cluster.key_file", &cluster.key_file),
    ] {
        if !path.as_os_str().is_empty() {
            mirror::private(path).map_err(|error| error.of_key(key))?;
        }
    }
    Ok(())
}

fn origin(figment: &Figment, key: &str) -> String {
    let metadata = figment.find_metadata(key);
    // `Serialized::defaults` names the type of the defaults; every other layer names its place.
    match metadata.filter(|metadata| metadata.source.is_none()) {
        Some(metadata) => metadata.name.to_string(),
        None => DEFAULT.to_owned(),
    }
}
