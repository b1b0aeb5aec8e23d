//! Keys that had another name before the first release.
//!
//! A settings file that says one of them is refused with the new name: what it meant to set must not stay at its default
//! without a word.

/// Old names and new ones.
const RENAMED: [(&str, &str); 17] = [
    ("server.drain", "server.shutdown_timeout"),
    ("storage.disk", "storage.max_disk"),
    ("storage.memory", "storage.max_memory"),
    ("upstream.patience", "upstream.serve_stale_after"),
    ("upstream.rate", "upstream.requests_per_minute"),
    ("health.probe", "health.interval"),
    ("health.idle_probe", "health.idle_interval"),
    ("access.recheck", "access.token_ttl"),
    ("access.per_user", "access.private_paths"),
    ("access.open", "access.anonymous"),
    ("access.history", "access.query_history"),
    ("access.attempts", "access.login_attempts"),
    ("access.window", "access.login_window"),
    ("cache.negative", "cache.negative_ttl"),
    ("mirror.every", "mirror.interval"),
    ("mirror.full_every", "mirror.full_interval"),
    ("mirror.verify", "mirror.verify_per_minute"),
];

/// What a key that is no longer known is called now.
pub(super) fn now(key: &str) -> Option<&'static str> {
    RENAMED.iter().find(|(old, _)| *old == key).map(|(_, new)| *new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Override, SettingsError, Sources, keys, load};

    #[test]
    fn new_names_are_keys_and_old_ones_are_none() {
        for (old, new) in RENAMED {
            assert!(keys::find(new).is_some(), "{new}");
            assert!(keys::find(old).is_none() && now(new).is_none(), "{old}");
        }
    }

    #[test]
    fn an_old_name_is_refused_with_the_new_one_wherever_it_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("alyx-proxy.toml");
        for (old, new) in RENAMED {
            let (section, key) = old.split_once('.').unwrap();
            std::fs::write(&path, format!("[{section}]\n{key} = \"5\"\n")).unwrap();
            let variable = format!("ALYX_PROXY_{}", old.replace('.', "__").to_uppercase());
            let none = || Sources { config: Some("/dev/null".into()), ..Sources::default() };
            for (sources, origin) in [
                (Sources { config: Some(path.clone()), ..none() }, format!("{}, line 2", path.display())),
                (
                    Sources { environment: vec![(variable.clone().into(), "5".into())], ..none() },
                    format!("environment variable {variable}"),
                ),
                (Sources { overrides: vec![Override::new("--set", old, "5")], ..none() }, "--set".to_owned()),
            ] {
                let error = load(&sources).unwrap_err();
                assert!(matches!(error, SettingsError::Renamed { .. }), "{error}");
                assert_eq!(error.to_string(), format!("{origin}: `{old}` is now `{new}`"));
            }
        }
    }
}
