//! `keys`: whose snapshots are known here. Reads the data directory, also beside a running proxy.

use alyx_proxy::{
    clock,
    settings::Sources,
    snapshot::{KnownKey, KnownKeys, PublicKey, SigningKey, SnapshotError},
};
use serde_json::{Value, json};

use crate::cli::{CliError, CommandResult, args::KeysFlags, prepare, print, print_json, whereabouts};

pub(in crate::cli) fn run(sources: &Sources, flags: &KeysFlags) -> CommandResult {
    let (loaded, _log) = prepare(sources)?;
    let settings = loaded.settings;
    let data_dir = settings.storage.directory()?;
    let failed = |error: SnapshotError| CliError::from(anyhow::Error::from(error));
    let mut keys = KnownKeys::of(&data_dir, &settings.snapshot.trusted_keys).map_err(failed)?;
    if let Some(which) = &flags.revoke {
        whereabouts::must_be_ours(&data_dir)?;
        let revoked = keys.revoke(which, clock::now()).map_err(failed)?;
        if !flags.json {
            return print(&format!("Snapshots of {} are taken no more.", revoked.name));
        }
    }
    let own = SigningKey::there(&data_dir).map_err(anyhow::Error::from)?;
    if flags.json {
        return print_json(&all(&keys, own.as_ref()));
    }
    print(&told(&keys, own.as_ref()))
}

fn fingerprint(key: &str) -> Option<String> {
    key.parse::<PublicKey>().ok().map(|key| key.fingerprint())
}

fn all(keys: &KnownKeys, own: Option<&SigningKey>) -> Value {
    let own = own.map(|own| {
        let key = own.public();
        json!({ "name": own.name(), "key": key.to_string(), "fingerprint": key.fingerprint() })
    });
    let known = keys.keys.iter().map(|known| {
        let KnownKey { name, key, since, revoked_at } = known;
        json!({
            "name": name, "key": key, "fingerprint": fingerprint(key), "of": "known",
            "since": clock::for_machines(*since), "revoked_at": revoked_at.map(clock::for_machines),
        })
    });
    let set = keys.set().iter().map(|(key, name)| {
        let (text, fingerprint) = (key.to_string(), key.fingerprint());
        json!({ "name": name, "key": text, "fingerprint": fingerprint, "of": "snapshot.trusted_keys" })
    });
    json!({ "own": own, "known": known.chain(set).collect::<Vec<_>>() })
}

fn told(keys: &KnownKeys, own: Option<&SigningKey>) -> String {
    let show = |title: String, fingerprint: Option<String>, key: &str| {
        let fingerprint = fingerprint.unwrap_or_else(|| "no fingerprint: it is no key".to_owned());
        format!("{title}\n  {fingerprint}\n  {key}")
    };
    let mut lines = vec![match own {
        Some(own) => {
            let key = own.public();
            show(format!("This machine: {}", own.name()), Some(key.fingerprint()), &key.to_string())
        }
        None => "This machine has no key yet: its first export makes one.".to_owned(),
    }];
    for KnownKey { name, key, since, revoked_at } in &keys.keys {
        let title = match revoked_at {
            Some(at) => format!("{name}, revoked {}", clock::for_people(*at)),
            None => format!("{name}, known since {}", clock::for_people(*since)),
        };
        lines.push(show(title, fingerprint(key), key));
    }
    for (key, name) in keys.set() {
        lines.push(show(format!("{name}, of the settings"), Some(key.fingerprint()), &key.to_string()));
    }
    lines.join("\n\n")
}
