//! Whose snapshots are taken: this machine's own, those of keys that are known here, and others only on a word.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{Archive, PublicKey, Signature, SigningKey, SigningKeyError, SnapshotError};
use crate::{
    auth::private_file,
    clock::{self, Millis},
};

/// Where known keys lie in the data directory.
const FILE: &str = "snapshot-keys.json";

/// A key that is known here, or was.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KnownKey {
    /// What it is called here.
    pub name: String,
    /// The key, as text.
    pub key: String,
    /// Since when it is known: milliseconds since 1970 UTC.
    pub since: Millis,
    /// When it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Millis>,
}

/// What is said of a snapshot that is not known to be a friend's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrustOptions {
    /// Its key is remembered from now on, under this name.
    pub trust: Option<String>,
    /// It is taken this once, whoever has signed it.
    pub once: bool,
    /// It is taken though nobody has signed it.
    pub unsigned: bool,
}

/// What is known here of who made a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MakerStanding {
    /// This machine.
    Own,
    /// Somebody whose key is known here.
    Known,
    /// Somebody whose key was revoked here.
    Revoked,
    /// Somebody whose key is not known here.
    Unknown,
    /// Nobody has signed it.
    Unsigned,
}

/// Who made a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Maker {
    /// What is known of it here.
    pub standing: MakerStanding,
    /// What it is called here; else what it calls itself.
    pub name: String,
    /// Its key.
    pub key: Option<PublicKey>,
    /// The short form of its key.
    pub fingerprint: Option<String>,
}

impl Maker {
    /// Whoever has just signed a snapshot here.
    pub fn own(signature: Option<&Signature>) -> Self {
        let key = signature.map(|signature| signature.key);
        Self {
            standing: if key.is_some() { MakerStanding::Own } else { MakerStanding::Unsigned },
            name: signature.map(|signature| signature.name.clone()).unwrap_or_default(),
            key,
            fingerprint: key.map(|key| key.fingerprint()),
        }
    }

    /// Who it is, for people.
    pub fn for_people(&self) -> String {
        let Some(fingerprint) = &self.fingerprint else { return "nobody".to_owned() };
        let what = match self.standing {
            MakerStanding::Own => "this machine",
            MakerStanding::Known => "known here",
            MakerStanding::Revoked => "revoked here",
            MakerStanding::Unknown | MakerStanding::Unsigned => "not known here",
        };
        format!("{} ({what}), {fingerprint}", self.name)
    }
}

/// The keys that are known in a data directory.
#[derive(Debug)]
pub struct KnownKeys {
    path: PathBuf,
    own: Option<PublicKey>,
    /// Those of the file.
    pub keys: Vec<KnownKey>,
    /// Those of the settings (`snapshot.trusted_keys`).
    set: Vec<(PublicKey, String)>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeysFile {
    keys: Vec<KnownKey>,
}

/// A key of the settings: `ed25519:…`, and what it is called.
pub fn parse_trusted(text: &str) -> Result<(PublicKey, String), String> {
    let (key, name) = text.trim().split_once(char::is_whitespace).unwrap_or((text.trim(), ""));
    let name = if name.trim().is_empty() { "snapshot.trusted_keys" } else { name.trim() };
    Ok((key.parse()?, name.to_owned()))
}

impl KnownKeys {
    /// Those of this data directory, and these of the settings. Makes nothing.
    pub fn of(data_dir: &Path, trusted: &[String]) -> Result<Self, SnapshotError> {
        let path = data_dir.join(FILE);
        let file = match fs::read(&path) {
            Ok(bytes) => {
                private_file::check_in_folder(&path)
                    .map_err(|error| SnapshotError::Keys(error.to_string()))?;
                serde_json::from_slice(&bytes)
                    .map_err(|error| SnapshotError::Keys(format!("{}: {error}", path.display())))?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => KeysFile::default(),
            Err(error) => return Err(SnapshotError::Io(path, error)),
        };
        let own = SigningKey::there(data_dir)?.map(|key| key.public());
        let set = trusted.iter().map(|text| parse_trusted(text)).collect::<Result<_, _>>();
        let set = set.map_err(|why| SnapshotError::Keys(format!("snapshot.trusted_keys: {why}")))?;
        Ok(Self { path, own, keys: file.keys, set })
    }

    /// None at all.
    pub fn none() -> Self {
        Self { path: PathBuf::new(), own: None, keys: Vec::new(), set: Vec::new() }
    }

    /// This machine's own key, where it has one.
    pub fn own(&self) -> Option<PublicKey> {
        self.own
    }

    /// Those of the settings, with their names.
    pub fn set(&self) -> &[(PublicKey, String)] {
        &self.set
    }

    fn find(&self, key: &PublicKey) -> Option<&KnownKey> {
        let text = key.to_string();
        self.keys.iter().find(|known| known.key == text)
    }

    /// Who made a snapshot.
    pub fn maker(&self, signature: Option<&Signature>) -> Maker {
        let Some(Signature { key, name }) = signature else {
            return Maker {
                standing: MakerStanding::Unsigned,
                name: String::new(),
                key: None,
                fingerprint: None,
            };
        };
        let known = self.find(key);
        let set = self.set.iter().find(|(set, _)| set == key).map(|(_, name)| name.clone());
        let (standing, name) = match (known, set) {
            _ if self.own == Some(*key) => (MakerStanding::Own, name.clone()),
            // Whoever revokes a key here means also one that the settings have.
            (Some(known), _) if known.revoked_at.is_some() => (MakerStanding::Revoked, known.name.clone()),
            (Some(known), _) => (MakerStanding::Known, known.name.clone()),
            (None, Some(name)) => (MakerStanding::Known, name),
            (None, None) => (MakerStanding::Unknown, name.clone()),
        };
        Maker { standing, name, key: Some(*key), fingerprint: Some(key.fingerprint()) }
    }

    /// Whether a snapshot may be taken on this word; who made it. Remembers nothing yet.
    pub fn admit(&self, archive: &Archive, word: &TrustOptions) -> Result<Maker, SnapshotError> {
        let maker = self.maker(archive.signature.as_ref());
        let path = archive.path().to_owned();
        let fingerprint = maker.fingerprint.clone().unwrap_or_default();
        if let Some(name) = &word.trust {
            self.check_name(name, maker.key.as_ref())?;
        }
        match maker.standing {
            MakerStanding::Own | MakerStanding::Known => Ok(maker),
            MakerStanding::Unsigned if word.unsigned => Ok(maker),
            MakerStanding::Unsigned => Err(SnapshotError::Unsigned(path)),
            MakerStanding::Unknown | MakerStanding::Revoked if word.trust.is_some() => Ok(maker),
            MakerStanding::Unknown if word.once => Ok(maker),
            MakerStanding::Unknown => Err(SnapshotError::UnknownKey { path, name: maker.name, fingerprint }),
            MakerStanding::Revoked => Err(SnapshotError::RevokedKey { path, name: maker.name, fingerprint }),
        }
    }

    fn check_name(&self, name: &str, key: Option<&PublicKey>) -> Result<(), SnapshotError> {
        let plain = !name.trim().is_empty()
            && name.chars().count() <= 64
            && name.chars().all(|letter| !letter.is_control());
        if !plain {
            let why = "a key's name has 1 to 64 characters, none of them invisible".to_owned();
            return Err(SnapshotError::Choice(why));
        }
        let text = key.map(ToString::to_string);
        let other = |known: &&KnownKey| known.name == name && Some(&known.key) != text.as_ref();
        match self.keys.iter().find(other) {
            Some(_) => Err(SnapshotError::Choice(format!(
                "`{name}` is what another key is called here: choose another name (`alyx-proxy keys` lists them)"
            ))),
            None => Ok(()),
        }
    }

    /// Remembers the key of a snapshot that was found to be sound, if the word says so; what it is then.
    pub fn remember(
        &mut self,
        maker: Maker,
        word: &TrustOptions,
        now: Millis,
    ) -> Result<Maker, SnapshotError> {
        let (Some(name), Some(key)) = (&word.trust, maker.key) else { return Ok(maker) };
        if maker.standing == MakerStanding::Own {
            return Ok(maker);
        }
        let text = key.to_string();
        self.keys.retain(|known| known.key != text);
        self.keys.push(KnownKey { name: name.clone(), key: text, since: now, revoked_at: None });
        self.write()?;
        tracing::info!(key = %key, name, "a key of snapshots is known from now on");
        Ok(Maker { standing: MakerStanding::Known, name: name.clone(), ..maker })
    }

    /// Revokes the key of this name, or that is written so.
    pub fn revoke(&mut self, which: &str, now: Millis) -> Result<KnownKey, SnapshotError> {
        let set = self.set.iter().find(|(key, name)| name == which || key.to_string() == which);
        let set = set.map(|(key, name)| (key.to_string(), name.clone()));
        let place = self.keys.iter().position(|known| known.name == which || known.key == which);
        let place = match (place, set) {
            (Some(place), _) => place,
            (None, Some((key, name))) => {
                self.keys.push(KnownKey { name, key, since: now, revoked_at: None });
                self.keys.len() - 1
            }
            (None, None) => {
                let why = format!("no key is called `{which}` here; `alyx-proxy keys` lists them");
                return Err(SnapshotError::Choice(why));
            }
        };
        self.keys[place].revoked_at.get_or_insert(now);
        let revoked = self.keys[place].clone();
        self.write()?;
        tracing::info!(key = revoked.key, name = revoked.name, at = %clock::for_machines(now), "a key of snapshots is revoked");
        Ok(revoked)
    }

    fn write(&self) -> Result<(), SnapshotError> {
        let file = KeysFile { keys: self.keys.clone() };
        let text = serde_json::to_vec_pretty(&file).unwrap_or_default();
        private_file::write(&self.path, &text).map_err(SnapshotError::io(&self.path))
    }
}

impl From<SigningKeyError> for SnapshotError {
    fn from(error: SigningKeyError) -> Self {
        Self::Keys(error.to_string())
    }
}
