//! The proxy's secret key, and the keyed hashes made with it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rand::Rng;
use zeroize::Zeroizing;

use super::private_file;
use crate::{
    data_dir,
    storage::{seal::SecretSeal, types::TokenHash},
};

const NAME: &str = "secret.key";
const LENGTH: usize = 32;

/// Random bytes that belong to this data directory. Without them its hashes tell nothing.
pub struct SecretKey(Zeroizing<[u8; LENGTH]>);

impl std::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretKey(…)")
    }
}

/// Why there is no secret key.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file system's word.
    #[error("{0}: {1}")]
    Io(PathBuf, io::Error),
    /// The file is not one that this program wrote.
    #[error(
        "{0}: holds {1} bytes, and not what was once written into it; restore it, or move it away to begin anew (without `secret.key`, stored log-ins and tokens are lost)"
    )]
    Length(PathBuf, usize),
    /// Others can read it.
    #[error("{0}: other users can read it (mode {1:03o}); run `chmod 600` on it")]
    Open(PathBuf, u32),
    /// It is another user's.
    #[error(transparent)]
    Foreign(data_dir::PrivacyError),
}

impl SecretKey {
    /// The key of this data directory; made, readable by its owner only, where there is none.
    pub fn of(data_dir: &Path) -> Result<Self, SecretError> {
        let path = data_dir.join(NAME);
        match fs::read(&path) {
            Ok(bytes) => {
                let bytes = Zeroizing::new(bytes);
                private_file::check(&path)?;
                let key = bytes.as_slice().try_into().map_err(|_| SecretError::Length(path, bytes.len()))?;
                Ok(Self(Zeroizing::new(key)))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::make(&path),
            Err(error) => Err(SecretError::Io(path, error)),
        }
    }

    fn make(path: &Path) -> Result<Self, SecretError> {
        let mut key = Zeroizing::new([0; LENGTH]);
        rand::rng().fill_bytes(key.as_mut_slice());
        private_file::write(path, key.as_slice()).map_err(|error| SecretError::Io(path.to_owned(), error))?;
        Ok(Self(key))
    }

    /// The keyed hash of a token.
    pub fn token(&self, token: &str) -> TokenHash {
        TokenHash(self.hash("token", token))
    }

    /// The keyed hash of credentials for the data server; of none at all where there are none.
    pub(crate) fn data_credentials(&self, field: &str) -> [u8; 32] {
        self.hash("data", field)
    }

    /// What seals the secrets of Alyx's records on disk.
    pub fn seal(&self) -> SecretSeal {
        let key = Zeroizing::new(self.hash("seal", "key"));
        SecretSeal::new(&key, self.hash("seal", "nonces"))
    }

    /// Makes keyed hashes of names, for those who may know which are the same and no more.
    pub fn hash_names(&self) -> impl Fn(&str) -> String + Send + Sync + use<> {
        let key = Zeroizing::new(self.hash("names", "key"));
        move |name| {
            let hash = blake3::keyed_hash(&key, name.as_bytes());
            format!("name-{}", &hash.to_hex()[..12])
        }
    }

    /// The keyed hash of a user name.
    pub(super) fn user(&self, name: &str) -> [u8; 32] {
        self.hash("user", name)
    }

    /// A text in the form of Alyx's tokens, where everybody is let in and none is asked for.
    pub fn placeholder_token(&self, name: &str) -> String {
        blake3::Hash::from_bytes(self.hash("stand-in", name)).to_hex()[..40].to_owned()
    }

    fn hash(&self, kind: &str, text: &str) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(kind.as_bytes()).update(&[0]).update(text.as_bytes());
        *hasher.finalize().as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_directory_keeps_its_key() {
        let dir = tempfile::tempdir().unwrap();
        let first = SecretKey::of(dir.path()).unwrap().token("t");
        assert_eq!(SecretKey::of(dir.path()).unwrap().token("t"), first);
        let other = tempfile::tempdir().unwrap();
        assert_ne!(SecretKey::of(other.path()).unwrap().token("t"), first);
    }

    #[test]
    fn a_damaged_or_open_key_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        SecretKey::of(dir.path()).unwrap();
        let path = dir.path().join(NAME);
        fs::write(&path, "short").unwrap();
        assert!(matches!(SecretKey::of(dir.path()), Err(SecretError::Length(_, 5))));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
            assert!(matches!(SecretKey::of(dir.path()), Err(SecretError::Open(_, 0o644))));
        }
    }
}
