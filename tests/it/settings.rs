//! The settings file in `config/` is the reference: complete, and true to the defaults.

use std::{collections::BTreeSet, ffi::OsString};

use alyx_proxy::{
    alyx::ENDPOINTS,
    settings::{Override, Settings, SettingsError, Sources, load, reloadable_difference, reloaded},
};
use serde_json::Value;

const REFERENCE: &str = include_str!("../../config/alyx-proxy.toml");

/// The file as if somebody had removed the `#` before each setting.
fn uncommented() -> String {
    let setting = |line: &&str| line.starts_with(|c: char| c.is_ascii_lowercase()) && line.contains(" = ");
    let line = |line: &'static str| line.strip_prefix('#').filter(setting).unwrap_or(line);
    REFERENCE.lines().map(line).collect::<Vec<_>>().join("\n")
}

fn keys_of(value: &Value) -> BTreeSet<String> {
    let sections = value.as_object().unwrap();
    let keys = |(section, keys): (&String, &Value)| {
        let names: Vec<_> = keys.as_object().unwrap().keys().map(|key| format!("{section}.{key}")).collect();
        names
    };
    sections.iter().flat_map(keys).collect()
}

fn sources(environment: &[(&str, &str)], flags: &[(&str, &str)]) -> Sources {
    let os = |(name, value): &(&str, &str)| (OsString::from(name), OsString::from(value));
    Sources {
        // An empty file, so that the one of whoever runs the tests has no say.
        config: Some("/dev/null".into()),
        environment: environment.iter().map(os).collect(),
        overrides: flags.iter().map(|(key, value)| Override::new("--set", key, *value)).collect(),
    }
}

#[test]
fn the_reference_file_shows_every_setting_with_its_default() {
    let file: Settings = toml::from_str(&uncommented()).unwrap();
    assert_eq!(file, Settings::default());
    let in_file = serde_json::to_value(toml::from_str::<toml::Table>(&uncommented()).unwrap()).unwrap();
    let in_structs = serde_json::to_value(Settings::default()).unwrap();
    assert_eq!(keys_of(&in_file), keys_of(&in_structs));
}

#[test]
fn the_reference_file_as_it_is_sets_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("alyx-proxy.toml");
    std::fs::write(&path, REFERENCE).unwrap();
    let loaded = load(&Sources { config: Some(path.clone()), ..Sources::default() }).unwrap();
    assert_eq!(loaded.settings, Settings::default());
    assert_eq!(loaded.file, Some(path));
    let defaults = loaded.origins.iter().filter(|effective| effective.origin == "default").count();
    assert_eq!(defaults, loaded.origins.len());
}

#[test]
fn the_reference_file_loads_when_every_setting_is_used() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("alyx-proxy.toml");
    std::fs::write(&path, uncommented()).unwrap();
    let loaded = load(&Sources { config: Some(path.clone()), ..Sources::default() }).unwrap();
    assert_eq!(loaded.settings, Settings::default());
    for effective in &loaded.origins {
        assert_eq!(effective.origin, path.display().to_string(), "{}", effective.key);
    }
}

#[test]
fn every_key_of_the_structs_is_known_with_its_origin() {
    let loaded = load(&sources(&[], &[])).unwrap();
    let listed: BTreeSet<_> = loaded.origins.iter().map(|effective| effective.key.clone()).collect();
    let mut all = keys_of(&serde_json::to_value(Settings::default()).unwrap());
    assert!(all.remove("freshness.endpoints"), "it is a table of exceptions, which is empty by default");
    assert!(all.remove("mirror.scope"), "so are the scopes");
    assert_eq!(listed, all);
    assert_eq!(listed.len(), loaded.origins.len());
}

#[test]
fn every_key_can_be_set_by_the_environment_and_by_a_flag() {
    for effective in load(&sources(&[], &[])).unwrap().origins {
        let text = match &effective.value {
            Value::String(text) => text.clone(),
            Value::Array(items) => {
                items.iter().map(|item| item.as_str().unwrap()).collect::<Vec<_>>().join(",")
            }
            other => other.to_string(),
        };
        let variable = format!("ALYX_PROXY_{}", effective.key.replace('.', "__").to_uppercase());
        for (sources, origin) in [
            (sources(&[(&variable, &text)], &[]), format!("environment variable {variable}")),
            (sources(&[], &[(&effective.key, &text)]), "--set".to_owned()),
        ] {
            let loaded = load(&sources).unwrap();
            assert_eq!(loaded.settings, Settings::default(), "{origin}");
            let found = loaded.origins.iter().find(|other| other.key == effective.key).unwrap();
            assert_eq!(found.origin, origin);
        }
    }
}

#[test]
fn every_endpoint_can_have_a_span_of_its_own() {
    for endpoint in ENDPOINTS {
        let variable =
            format!("ALYX_PROXY_FRESHNESS__ENDPOINTS__{}", endpoint.name.replace('-', "_").to_uppercase());
        let key = format!("freshness.endpoints.{}", endpoint.name);
        for sources in [sources(&[(&variable, "7m")], &[]), sources(&[], &[(&key, "7m")])] {
            let loaded = load(&sources).unwrap();
            assert_eq!(loaded.settings.freshness.endpoints[endpoint.name].to_string(), "7m");
            assert_eq!(loaded.origins.last().unwrap().key, key);
        }
    }
}

#[test]
fn a_base_url_is_brought_into_one_form() {
    let flags =
        [("upstream.url", "HTTPS://Alyx.Example.org:443/"), ("server.public_url", "http://lab:8040//")];
    let settings = load(&sources(&[], &flags)).unwrap().settings;
    assert_eq!(settings.upstream.url, "https://alyx.example.org");
    assert_eq!(settings.server.public_url, "http://lab:8040");
}

#[test]
fn what_an_orchestrator_says_of_a_service_called_alyx_proxy_is_not_a_setting() {
    let environment = [
        ("ALYX_PROXY_SERVICE_HOST", "10.0.0.7"),
        ("ALYX_PROXY_SERVICE_PORT", "8040"),
        ("ALYX_PROXY_SERVICE_PORT_HTTP", "8040"),
        ("ALYX_PROXY_PORT", "tcp://10.0.0.7:8040"),
        ("ALYX_PROXY_PORT_8040_TCP", "tcp://10.0.0.7:8040"),
        ("ALYX_PROXY_PORT_8040_TCP_ADDR", "10.0.0.7"),
    ];
    assert_eq!(load(&sources(&environment, &[])).unwrap().settings, Settings::default());
    let error = load(&sources(&[("ALYX_PROXY_PORT", "8040")], &[])).unwrap_err();
    assert!(matches!(error, SettingsError::Unknown { .. }), "{error}");
}

#[test]
fn a_reload_says_what_needs_a_restart() {
    let old = Settings::default();
    for (key, value, needs) in [
        ("server.listen", "0.0.0.0:8040", true),
        ("storage.data_dir", "/data", true),
        ("storage.max_disk", "1 GiB", true),
        ("upstream.url", "http://alyx", true),
        ("upstream.connect_timeout", "1s", true),
        ("upstream.concurrency", "3", true),
        ("upstream.timeout", "9s", false),
        ("freshness.records", "1m", false),
        ("freshness.endpoints.sessions", "1m", false),
        ("mirror.token", "abc", true),
        ("mirror.interval", "1m", false),
        ("log.level", "debug", false),
    ] {
        let new = load(&sources(&[], &[(key, value)])).unwrap().settings;
        assert_ne!(new, old, "{key}");
        let expected: &[&str] = if needs { &[key] } else { &[] };
        assert_eq!(reloadable_difference(&old, &new), expected);
        assert_eq!(reloaded(&old, &new), if needs { old.clone() } else { new }, "{key}");
    }
}

#[test]
fn a_scope_is_a_table_of_parameters_that_alyx_knows() {
    let key = "mirror.scope.fields-of-view.lab";
    let variable = ("ALYX_PROXY_MIRROR__SCOPE__FIELDS_OF_VIEW__LAB", "cortexlab");
    for sources in [sources(&[variable], &[]), sources(&[], &[(key, "cortexlab")])] {
        let loaded = load(&sources).unwrap();
        assert_eq!(loaded.settings.mirror.scope["fields-of-view"]["lab"], "cortexlab");
        assert_eq!(loaded.origins.last().unwrap().key, key);
        let difference = reloadable_difference(&Settings::default(), &loaded.settings);
        assert_eq!(difference, ["mirror.scope"]);
        assert_eq!(reloaded(&Settings::default(), &loaded.settings), Settings::default());
    }
    for key in ["mirror.scope.fields-of-view.smell", "mirror.scope.smells.lab", "mirror.scope.sessions"] {
        assert!(load(&sources(&[], &[(key, "x")])).is_err(), "{key}");
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("alyx-proxy.toml");
    std::fs::write(&path, "[mirror.scope]\nsessions = { lab = \"cortexlab\" }").unwrap();
    let loaded = load(&Sources { config: Some(path), ..Sources::default() }).unwrap();
    assert_eq!(loaded.settings.mirror.scope["sessions"]["lab"], "cortexlab");
}

#[cfg(unix)]
#[test]
fn a_file_with_a_secret_must_be_private() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("alyx-proxy.toml");
    let token = directory.path().join("token");
    std::fs::write(&token, "abc").unwrap();
    let by_path = format!("[mirror]\ntoken_file = \"{}\"", token.display());
    for (text, open) in [("[mirror]\ntoken = \"abc\"", &path), (by_path.as_str(), &token)] {
        std::fs::write(&path, text).unwrap();
        let sources = Sources { config: Some(path.clone()), ..Sources::default() };
        for (mode, fits) in [(0o644, false), (0o600, true)] {
            std::fs::set_permissions(open, std::fs::Permissions::from_mode(mode)).unwrap();
            let loaded = load(&sources);
            assert_eq!(loaded.is_ok(), fits, "{loaded:?}");
            let told =
                loaded.map_or_else(|error| error.to_string(), |loaded| format!("{:?}", loaded.origins));
            assert!(!told.contains("abc"), "{told}");
        }
    }
}
