//! Who made a snapshot: an Ed25519 signature (RFC 8032) of the BLAKE3 of all that is in it.
//!
//! It stands behind the archive in a zstd frame of its own that decoders skip, before the checksum of the file: its mark, the
//! public key, the signature, and what the maker is called, filled with zeros.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    str::FromStr,
};

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use rand::Rng;
use serde::{Serialize, Serializer};
use zeroize::Zeroizing;

use crate::auth::private_file;

/// `0x184D2A5E`, little-endian, a skippable frame, and the length of what follows: 168 bytes.
const FRAME: [u8; 8] = [0x5E, 0x2A, 0x4D, 0x18, 168, 0, 0, 0];
const MARK: &[u8; 8] = b"ALYXSIGN";
const KEY: usize = 32;
const SIGNATURE: usize = 64;
const NAME: usize = 64;
/// The frame with all that is in it.
pub(super) const LENGTH: usize = FRAME.len() + MARK.len() + KEY + SIGNATURE + NAME;
/// Sets what is signed here apart from all else that is.
const DOMAIN: &[u8] = b"alyx-proxy snapshot\0";

/// Where a machine's own key lies in its data directory.
const FILE: &str = "snapshot.key";
const PREFIX: &str = "ed25519:";

/// Whose snapshots are whose: the public half of a key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey([u8; KEY]);

impl PublicKey {
    /// A short form for people to compare: eight groups of four digits.
    pub fn fingerprint(&self) -> String {
        let hash = blake3::hash(&self.0).to_hex();
        let groups: Vec<&str> = (0..8).map(|group| &hash[4 * group..4 * group + 4]).collect();
        groups.join(" ")
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", STANDARD_NO_PAD.encode(self.0))
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for PublicKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bytes = text.strip_prefix(PREFIX).and_then(|text| STANDARD_NO_PAD.decode(text).ok());
        let key = bytes.and_then(|bytes| bytes.try_into().ok());
        key.map(Self).ok_or_else(|| format!("`{text}` is no key: one is `{PREFIX}` and 43 characters"))
    }
}

/// A signature that is right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// Whose it is.
    pub key: PublicKey,
    /// What the maker calls itself.
    pub name: String,
}

/// Why the machine's own key can't be had.
#[derive(Debug, thiserror::Error)]
pub enum SigningKeyError {
    /// The file system's word.
    #[error("{0}: {1}")]
    Io(PathBuf, io::Error),
    /// It is not private.
    #[error("{0}")]
    Open(String),
    /// It is no key.
    #[error(
        "{0}: is no key; restore it, or move it away to have another made (who knows this machine's key must then be told the new one)"
    )]
    Unfit(PathBuf),
}

/// The machine's own key.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    name: String,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public())
    }
}

impl SigningKey {
    /// The key of this data directory; made, readable by its owner only, where there is none.
    pub fn of(data_dir: &Path) -> Result<Self, SigningKeyError> {
        match Self::there(data_dir)? {
            Some(key) => Ok(key),
            None => Self::make(&data_dir.join(FILE)),
        }
    }

    /// The key of this data directory, where there is one.
    pub fn there(data_dir: &Path) -> Result<Option<Self>, SigningKeyError> {
        let path = data_dir.join(FILE);
        match fs::read(&path).map(Zeroizing::new) {
            Ok(seed) => {
                private_file::check_in_folder(&path)
                    .map_err(|error| SigningKeyError::Open(error.to_string()))?;
                Self::of_seed(&seed, &path).map(Some)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(SigningKeyError::Io(path, error)),
        }
    }

    fn make(path: &Path) -> Result<Self, SigningKeyError> {
        let mut seed = Zeroizing::new([0; KEY]);
        rand::rng().fill_bytes(seed.as_mut_slice());
        private_file::write(path, seed.as_slice())
            .map_err(|error| SigningKeyError::Io(path.to_owned(), error))?;
        Self::of_seed(seed.as_slice(), path)
    }

    fn of_seed(seed: &[u8], path: &Path) -> Result<Self, SigningKeyError> {
        let pair =
            Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| SigningKeyError::Unfit(path.to_owned()))?;
        Ok(Self { pair, name: name_of_this_machine() })
    }

    /// What others know it by.
    pub fn public(&self) -> PublicKey {
        let mut key = [0; KEY];
        key.copy_from_slice(self.pair.public_key().as_ref());
        PublicKey(key)
    }

    /// What this machine calls itself.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The frame that signs an archive of this hash.
    pub(super) fn sign(&self, archive: &blake3::Hash) -> Vec<u8> {
        let mut name = [0; NAME];
        let length = self.name.floor_char_boundary(NAME);
        name[..length].copy_from_slice(&self.name.as_bytes()[..length]);
        let signature = self.pair.sign(&signed(archive, &name));
        [&FRAME[..], MARK, &self.public().0, signature.as_ref(), &name].concat()
    }
}

/// What is signed.
fn signed(archive: &blake3::Hash, name: &[u8]) -> Vec<u8> {
    [DOMAIN, archive.as_bytes(), name].concat()
}

/// Whether a frame with a signature begins so.
pub(super) fn begins(frame: &[u8]) -> bool {
    frame.starts_with(&FRAME) && frame[FRAME.len()..].starts_with(MARK)
}

/// The signature in a frame, if it is right for an archive of this hash.
pub(super) fn read(frame: &[u8], archive: &blake3::Hash) -> Option<Signature> {
    let (key, rest) = frame.get(FRAME.len() + MARK.len()..)?.split_at_checked(KEY)?;
    let (signature, name) = rest.split_at_checked(SIGNATURE)?;
    UnparsedPublicKey::new(&ED25519, key).verify(&signed(archive, name), signature).ok()?;
    let text = std::str::from_utf8(name).ok()?.trim_end_matches('\0');
    let plain = !text.is_empty() && text.chars().all(|letter| !letter.is_control());
    plain.then_some(Signature { key: PublicKey(key.try_into().ok()?), name: text.to_owned() })
}

/// What this machine is called; who has a snapshot of it sees it.
fn name_of_this_machine() -> String {
    let files = ["/proc/sys/kernel/hostname", "/etc/hostname"];
    let found = files.iter().find_map(|file| fs::read_to_string(file).ok());
    let name: String =
        found.unwrap_or_default().trim().chars().filter(|letter| !letter.is_control()).collect();
    if name.is_empty() { "alyx-proxy".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_of_one_archive_one_key_and_one_name() {
        let folder = tempfile::tempdir().unwrap();
        let key = SigningKey::of(folder.path()).unwrap();
        assert_eq!(SigningKey::of(folder.path()).unwrap().public(), key.public(), "it is kept");
        assert_eq!(key.public().to_string().parse::<PublicKey>(), Ok(key.public()));
        let archive = blake3::hash(b"an archive");
        let frame = key.sign(&archive);
        assert!(frame.len() == LENGTH && begins(&frame));
        let read_it = read(&frame, &archive).unwrap();
        assert_eq!((read_it.key, read_it.name), (key.public(), key.name().to_owned()));
        assert_eq!(read(&frame, &blake3::hash(b"another")), None);
        for at in FRAME.len() + MARK.len()..LENGTH {
            let mut other = frame.clone();
            other[at] ^= 1;
            assert_eq!(read(&other, &archive), None, "byte {at}");
        }
        for text in ["", "ed25519:", "ed25519:AAAA", "rsa:AAAA"] {
            assert!(text.parse::<PublicKey>().is_err(), "{text}");
        }
    }
}
