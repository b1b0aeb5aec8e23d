//! What the engine holds is sealed (XChaCha20-Poly1305) with the cluster's key, which it never sees.

use std::{fs, path::Path};

use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use rand::Rng;
use zeroize::Zeroizing;

const NONCE: usize = 24;
const KEY: usize = 32;
/// What is sealed to tell whether two have the same key.
const CHECK: &[u8] = b"alyx-proxy cluster";

/// Why there is no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClusterKeyError {
    /// The file can't be read.
    #[error("cluster.key_file {0}: can't be read: {1}")]
    File(String, String),
    /// A line is no key.
    #[error(
        "cluster.key_file {0}, line {1}: a key is 64 hexadecimal digits; `alyx-proxy cluster key` makes one"
    )]
    Line(String, usize),
    /// There is none in it.
    #[error("cluster.key_file {0}: holds no key; `alyx-proxy cluster key` makes one")]
    Empty(String),
}

/// Seals with the first key, opens with all.
pub struct ClusterSeal {
    ciphers: Vec<XChaCha20Poly1305>,
    /// What names are hashed with: derived from the first key.
    names: Zeroizing<[u8; KEY]>,
}

impl std::fmt::Debug for ClusterSeal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClusterSeal(…)")
    }
}

fn names_key(key: &[u8; KEY]) -> Zeroizing<[u8; KEY]> {
    Zeroizing::new(blake3::derive_key("alyx-proxy cluster names", key))
}

/// A new key, as it stands in the file.
pub fn new_key() -> Zeroizing<String> {
    let mut key = Zeroizing::new([0; KEY]);
    rand::rng().fill_bytes(key.as_mut_slice());
    Zeroizing::new(blake3::Hash::from_bytes(*key).to_hex().to_string())
}

impl ClusterSeal {
    /// The keys of a file, one a line; `#` begins a remark.
    pub fn read(path: &Path) -> Result<Self, ClusterKeyError> {
        let name = path.display().to_string();
        let text = fs::read_to_string(path).map(Zeroizing::new);
        let text = text.map_err(|error| ClusterKeyError::File(name.clone(), error.to_string()))?;
        let (mut ciphers, mut names) = (Vec::new(), None);
        for (line, number) in text.lines().map(str::trim).zip(1..) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let key =
                blake3::Hash::from_hex(line).map_err(|_| ClusterKeyError::Line(name.clone(), number))?;
            ciphers.push(XChaCha20Poly1305::new(key.as_bytes().into()));
            names.get_or_insert_with(|| names_key(key.as_bytes()));
        }
        let names = names.ok_or(ClusterKeyError::Empty(name))?;
        Ok(Self { ciphers, names })
    }

    /// One for tests.
    #[cfg(test)]
    pub(super) fn of_tests() -> Self {
        Self { ciphers: vec![XChaCha20Poly1305::new(&[7; KEY].into())], names: names_key(&[7; KEY]) }
    }

    /// Sealed for this purpose; empty where the cipher fails, which it does for nothing that fits into memory.
    pub(super) fn seal(&self, purpose: &[u8], plain: &[u8]) -> Vec<u8> {
        let mut sealed = vec![0; NONCE];
        rand::rng().fill_bytes(&mut sealed);
        let body = self.ciphers.first().and_then(|cipher| {
            cipher.encrypt(XNonce::from_slice(&sealed), Payload { msg: plain, aad: purpose }).ok()
        });
        body.map_or_else(Vec::new, |body| {
            sealed.extend(body);
            sealed
        })
    }

    /// What was sealed for this purpose; none where no key fits.
    pub(super) fn open(&self, purpose: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, body) = sealed.split_at_checked(NONCE)?;
        let payload = || Payload { msg: body, aad: purpose };
        self.ciphers.iter().find_map(|cipher| cipher.decrypt(XNonce::from_slice(nonce), payload()).ok())
    }

    /// A name by which others with the same first key know this, and which tells nobody else what it is.
    pub(super) fn name(&self, purpose: &[u8], what: &[u8]) -> Vec<u8> {
        let mut hasher = blake3::Hasher::new_keyed(&self.names);
        hasher.update(&(purpose.len() as u64).to_le_bytes()).update(purpose).update(what);
        hasher.finalize().as_bytes().to_vec()
    }

    /// What tells others whether they have the same key.
    pub(super) fn check(&self) -> Vec<u8> {
        self.seal(b"check", CHECK)
    }

    /// Whether whoever made this has a key that is here.
    pub(super) fn fits(&self, check: &[u8]) -> bool {
        self.open(b"check", check).is_some_and(|plain| plain == CHECK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_key_seals_and_all_open() {
        let folder = tempfile::tempdir().unwrap();
        let read = |name: &str, text: &str| {
            fs::write(folder.path().join(name), text).unwrap();
            ClusterSeal::read(&folder.path().join(name))
        };
        let (old, new) = (new_key(), new_key());
        let before = read("before", &old).unwrap();
        let during = read("during", &format!("# new first\n{}\n{}\n", *new, *old)).unwrap();
        let after = read("after", &new).unwrap();
        let sealed = during.seal(b"mark", b"nickname");
        assert!(!sealed.windows(8).any(|window| window == b"nickname"));
        assert_ne!(sealed, during.seal(b"mark", b"nickname"), "nobody sees that two say the same");
        assert_eq!(after.open(b"mark", &sealed).unwrap(), b"nickname");
        assert_eq!(before.open(b"mark", &sealed), None);
        assert_eq!(during.open(b"refused", &sealed), None, "it is of another kind");
        assert_eq!(during.open(b"mark", &before.seal(b"mark", b"x")).unwrap(), b"x");
        assert_eq!(during.name(b"caller", b"x"), after.name(b"caller", b"x"), "the first key counts");
        assert_ne!(during.name(b"caller", b"x"), before.name(b"caller", b"x"));
        assert_ne!(during.name(b"caller", b"x"), during.name(b"question", b"x"));
        assert!(during.fits(&before.check()) && !after.fits(&before.check()));
        assert!(matches!(read("bad", "abc"), Err(ClusterKeyError::Line(_, 1))));
        assert!(matches!(read("none", "# nothing\n"), Err(ClusterKeyError::Empty(_))));
    }
}
