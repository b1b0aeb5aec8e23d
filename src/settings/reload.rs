//! Settings read again by a running proxy: what takes effect at once, and what not before a restart.

use serde_json::Value;

use super::{Settings, keys};

/// Where the scopes of the mirror stand in the settings as JSON.
const SCOPE: &str = "/mirror/scope";
/// And the spans of single endpoints.
const EXCEPTIONS: &str = "/freshness/endpoints";

/// The keys in which `new` differs from `running` and that take effect only after a restart.
pub fn reloadable_difference(running: &Settings, new: &Settings) -> Vec<&'static str> {
    let (running, new) = (json(running), json(new));
    let differs = |key: &&keys::SettingKey| running.pointer(&key.pointer()) != new.pointer(&key.pointer());
    let scope = (running.pointer(SCOPE) != new.pointer(SCOPE)).then_some(keys::SCOPE);
    keys::KEYS.iter().filter(|key| key.restart).filter(differs).map(|key| key.name).chain(scope).collect()
}

/// The keys in which `new` differs from `running`, whenever they take effect.
pub fn difference(running: &Settings, new: &Settings) -> Vec<&'static str> {
    let (running, new) = (json(running), json(new));
    let differs = |key: &&keys::SettingKey| running.pointer(&key.pointer()) != new.pointer(&key.pointer());
    let tables = [(SCOPE, keys::SCOPE), (EXCEPTIONS, keys::EXCEPTIONS)];
    let tables = tables.into_iter().filter(|(pointer, _)| running.pointer(pointer) != new.pointer(pointer));
    keys::KEYS.iter().filter(differs).map(|key| key.name).chain(tables.map(|(_, name)| name)).collect()
}

/// What is in effect once a proxy that runs with `running` has read `new`: `new`, but for what takes
/// effect only after a restart. So the settings in use go on saying what is so.
pub fn reloaded(running: &Settings, new: &Settings) -> Settings {
    let (before, mut after) = (json(running), json(new));
    let fixed = keys::KEYS.iter().filter(|key| key.restart).map(keys::SettingKey::pointer);
    for pointer in fixed.chain([SCOPE.to_owned()]) {
        if let (Some(kept), Some(value)) = (before.pointer(&pointer), after.pointer_mut(&pointer)) {
            *value = kept.clone();
        }
    }
    // Every value comes from settings that were read, so it can be read again.
    serde_json::from_value(after).unwrap_or_else(|_| running.clone())
}

fn json(settings: &Settings) -> Value {
    serde_json::to_value(settings).unwrap_or_default()
}
