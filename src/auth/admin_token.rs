//! The administrator's token: who may control the proxy (`/-/api/`).
//!
//! It is the setting `access.admin_token`, or else a random one that is made at the first start and kept in the data
//! directory, readable by its owner only: whoever runs the proxy can control it, and nothing has to be set up.

use std::{fs, io, path::Path};

use rand::Rng;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{SecretError, private_file};

/// The file in the data directory.
const NAME: &str = "admin-token";

/// What an administrator's token is compared with.
pub struct AdminToken(blake3::Hash);

impl std::fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Admin(…)")
    }
}

impl AdminToken {
    /// The token of the settings or of this data directory; made where there is none.
    pub fn of(data_dir: &Path, setting: &str) -> Result<Self, SecretError> {
        let token = match known(data_dir, setting)? {
            Some(token) => token,
            None => make(data_dir)?,
        };
        Ok(Self(blake3::hash(token.as_bytes())))
    }

    /// Whether this is the administrator's token. The time that it takes says nothing of it.
    pub fn is(&self, token: &str) -> bool {
        blake3::hash(token.as_bytes()).as_bytes().ct_eq(self.0.as_bytes()).into()
    }
}

/// The token for commands on the proxy's own machine; none where no proxy was ever started.
pub fn known(data_dir: &Path, setting: &str) -> Result<Option<Zeroizing<String>>, SecretError> {
    if !setting.is_empty() {
        return Ok(Some(Zeroizing::new(setting.to_owned())));
    }
    let path = data_dir.join(NAME);
    match fs::read_to_string(&path) {
        Ok(text) => {
            let text = Zeroizing::new(text);
            private_file::check(&path)?;
            let token = Zeroizing::new(text.trim().to_owned());
            // An empty file would let everybody in.
            if token.len() < 16 { Err(SecretError::Length(path, token.len())) } else { Ok(Some(token)) }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(SecretError::Io(path, error)),
    }
}

fn make(data_dir: &Path) -> Result<Zeroizing<String>, SecretError> {
    let mut bytes = Zeroizing::new([0; 32]);
    rand::rng().fill_bytes(bytes.as_mut_slice());
    let hash = blake3::hash(bytes.as_slice());
    let token = Zeroizing::new(hash.to_hex().to_string());
    let path = data_dir.join(NAME);
    private_file::write(&path, token.as_bytes()).map_err(|error| SecretError::Io(path, error))?;
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_keeps_its_token_and_the_setting_wins() {
        let dir = tempfile::tempdir().unwrap();
        assert!(known(dir.path(), "").unwrap().is_none());
        let admin = AdminToken::of(dir.path(), "").unwrap();
        let token = known(dir.path(), "").unwrap().unwrap();
        assert!(admin.is(&token));
        assert!(!admin.is(""));
        assert!(!admin.is(&token[1..]));
        assert!(AdminToken::of(dir.path(), "").unwrap().is(&token));
        let other = AdminToken::of(dir.path(), "sixteen-letters!").unwrap();
        assert!(other.is("sixteen-letters!") && !other.is(&token));
        fs::write(dir.path().join(NAME), "").unwrap();
        assert!(matches!(AdminToken::of(dir.path(), ""), Err(SecretError::Length(..))));
    }
}
