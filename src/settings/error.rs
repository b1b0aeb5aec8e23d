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
    #[error("{origin}: unknown key {key} = {value}{meant}; allowed: {allowed}")]
    Unknown {
        /// The file, variable or flag.
        origin: String,
        /// The key.
        key: String,
        /// Its value.
        value: String,
        /// The key that was likely meant, as a question, or nothing.
        meant: String,
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
    /// Of two keys that stand for each other both are set.
    #[error(
        "{origin}: {key} and {other} are both set; one of them is enough, so it is not known which is meant"
    )]
    Both {
        /// The file, variable or flag.
        origin: String,
        /// One key.
        key: &'static str,
        /// The other.
        other: &'static str,
    },
    /// A file that holds a secret can be read by others.
    #[error(
        "{path} holds a password, token or key and may be read by others (mode {mode}): `chmod 600 {path}`"
    )]
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
    /// The same with the line of the file that it is about, where it stands there.
    pub(super) fn with_line(mut self, path: &Path) -> Self {
        let key = match &self {
            Self::Unknown { key, .. } | Self::Renamed { key, .. } | Self::Wrong { key, .. } => key.clone(),
            Self::Half { key, .. } | Self::Both { key, .. } => (*key).to_owned(),
            _ => return self,
        };
        let file = path.display().to_string();
        if let Self::Unknown { origin, .. }
        | Self::Renamed { origin, .. }
        | Self::Wrong { origin, .. }
        | Self::Half { origin, .. }
        | Self::Both { origin, .. } = &mut self
            && *origin == file
            && let Some(line) = std::fs::read_to_string(path).ok().and_then(|text| line_of(&text, &key))
        {
            *origin = format!("{file}, line {line}");
        }
        self
    }

    pub(super) fn file(path: &Path, error: &std::io::Error) -> Self {
        let (path, reason) = (path.display().to_string(), error.to_string());
        match error.kind() {
            std::io::ErrorKind::PermissionDenied => Self::Denied { path, reason },
            _ => Self::File { path, reason },
        }
    }

    /// The same of a file that this setting names.
    pub(super) fn of_key(self, key: &'static str) -> Self {
        match self {
            Self::File { path, reason } | Self::Denied { path, reason } => Self::Named { key, path, reason },
            error => error,
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

/// The line that says a key; that of its table where it stands in one line.
fn line_of(text: &str, key: &str) -> Option<usize> {
    let within = |name: &str| key == name || key.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
    let mut section = String::new();
    let mut of_section = None;
    for (line, number) in text.lines().map(str::trim).zip(1..) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            name.trim().clone_into(&mut section);
            of_section = within(&section).then_some(number).or(of_section);
        } else if let Some((name, _)) = line.split_once('=').filter(|_| !line.starts_with('#')) {
            let name = name.trim().replace('"', "");
            let name = if section.is_empty() { name } else { format!("{section}.{name}") };
            if within(&name) {
                return Some(number);
            }
        }
    }
    of_section
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_in_its_line() {
        let text = "# [log]\nlog.level = 1\n[upstream]\n\n#url = 1\nurl = 2 # = 3\n[mirror.scope.sessions]\n\"lab\" = 1\n";
        for (key, line) in [
            ("log.level", Some(2)),
            ("upstream.url", Some(6)),
            ("mirror.scope.sessions.lab", Some(8)),
            ("mirror.scope.sessions", Some(7)),
            ("server.listen", None),
        ] {
            assert_eq!(line_of(text, key), line, "{key}");
        }
    }
}
