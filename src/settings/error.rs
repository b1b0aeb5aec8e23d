//! What is wrong with the settings: one line that names the place, the key, the value and what is allowed.

use std::path::Path;

/// Why the settings can't be used. Its text is one line, and holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The file can't be read.
    #[error("settings file {path}: can't be read: {reason}")]
    File {
        /// The file.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// The file is there, and not for this user.
    #[error("settings file {path}: can't be read: {reason}")]
    Denied {
        /// The file.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// A file that a setting names can't be read.
    #[error("{key} = \"{path}\": the file can't be read: {reason}")]
    Named {
        /// The setting.
        key: &'static str,
        /// The file.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// The file is not TOML.
    #[error("settings file {path}, line {line}: not TOML: {reason}")]
    Syntax {
        /// The file.
        path: String,
        /// The line where reading ended.
        line: usize,
        /// What is wrong there.
        reason: String,
    },
    /// A flag that isn't of the form `SECTION.KEY=VALUE`.
    #[error("--set {text}: must be SECTION.KEY=VALUE, for example upstream.timeout=30s")]
    Form {
        /// What was given.
        text: String,
    },
    /// There is no such key.
    #[error("{origin}: unknown key {key} = {value}; allowed: {allowed}")]
    Unknown {
        /// The file, variable or flag.
        origin: String,
        /// The key.
        key: String,
        /// Its value.
        value: String,
        /// The keys there are.
        allowed: String,
    },
    /// The key has another name.
    #[error("{origin}: `{key}` is now `{new}`")]
    Renamed {
        /// The file, variable or flag.
        origin: String,
        /// The old name.
        key: String,
        /// The new one.
        new: &'static str,
    },
    /// The value is not allowed for this key.
    #[error("{origin}: {key} = {value}: must be {allowed}")]
    Wrong {
        /// The file, variable or flag.
        origin: String,
        /// The key.
        key: String,
        /// Its value.
        value: String,
        /// What it may be.
        allowed: String,
    },
    /// Of two keys that belong together one is set.
    #[error("{origin}: {key} is set, but {other} is not; both are needed, or none")]
    Half {
        /// The file, variable or flag.
        origin: String,
        /// The key that is set.
        key: &'static str,
        /// The one that is missing.
        other: &'static str,
    },
    /// A file that holds a secret can be read by others.
    #[error("{path} holds a password or token and may be read by others (mode {mode}): `chmod 600 {path}`")]
    Open {
        /// The file.
        path: String,
        /// Its mode.
        mode: String,
    },
    /// The data directory isn't set, and there is no home to put it into.
    #[error("storage.data_dir is not set and there is no home directory; set it, for example by --data-dir")]
    NoHome,
}

impl SettingsError {
    pub(super) fn file(path: &Path, error: &std::io::Error) -> Self {
        let (path, reason) = (path.display().to_string(), error.to_string());
        match error.kind() {
            std::io::ErrorKind::PermissionDenied => Self::Denied { path, reason },
            _ => Self::File { path, reason },
        }
    }

    pub(super) fn syntax(path: &Path, text: &str, error: &toml::de::Error) -> Self {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        Self::Syntax {
            path: path.display().to_string(),
            line: before.matches('\n').count() + 1,
            reason: error.message().lines().collect::<Vec<_>>().join(", "),
        }
    }
}
