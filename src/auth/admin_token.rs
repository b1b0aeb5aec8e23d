//! The administrator's token: who may control the proxy (`/-/api/`).
//!
//! It is the setting `access.admin_token`, or else a random one that is made at the first start and kept in the data
//! directory, readable by its owner only: whoever runs the proxy can control it, and nothing has to be set up.

use std::{fs, io, net::IpAddr, path::Path, time::Duration};

use rand::Rng;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{
    SecretError,
    login_throttle::{CHECKS, LoginKey, LoginThrottle},
    private_file,
};
use crate::settings::AccessSettings;

/// The file in the data directory.
const NAME: &str = "admin-token";

/// What an administrator's token is compared with.
pub struct AdminToken {
    hash: blake3::Hash,
    guesses: LoginThrottle,
}

/// Whether a token is the administrator's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdminGuess {
    /// It is.
    Right,
    /// It is not.
    Wrong,
    /// Too many were wrong that came from there: it is not looked at before so long.
    Wait(Duration),
}

/// What the administrator is called where guesses are counted; no user's name has this hash.
const ADMINISTRATOR: [u8; 32] = [0; 32];

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
        Ok(Self { hash: blake3::hash(token.as_bytes()), guesses: LoginThrottle::default() })
    }

    /// Whether this is the administrator's token, as somebody at this address says. Whoever was wrong too often
    /// (`access.login_attempts`) has one look a second.
    pub fn judge(&self, token: &str, from: IpAddr, settings: &AccessSettings) -> AdminGuess {
        let pair = LoginKey::new(ADMINISTRATOR, from);
        let locked = self.guesses.wait(pair, settings).is_some();
        if locked && !self.guesses.may_check(pair) {
            return AdminGuess::Wait(CHECKS);
        }
        if self.is(token) {
            self.guesses.succeeded(pair);
            return AdminGuess::Right;
        }
        self.guesses.failed(pair, settings);
        if !locked && self.guesses.wait(pair, settings).is_some() {
            tracing::warn!(%from, "somebody guesses at the administrator's token");
        }
        AdminGuess::Wrong
    }

    /// The time that it takes says nothing of the token.
    fn is(&self, token: &str) -> bool {
        blake3::hash(token.as_bytes()).as_bytes().ct_eq(self.hash.as_bytes()).into()
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

    #[test]
    fn guesses_are_few() {
        let folder = tempfile::tempdir().unwrap();
        let token = AdminToken::of(folder.path(), "0123456789abcdef").unwrap();
        let settings = AccessSettings { login_attempts: 3, ..AccessSettings::default() };
        let [one, other] = ["10.0.0.1", "10.0.0.2"].map(|from| from.parse().unwrap());
        for _ in 0..3 {
            assert_eq!(token.judge("x", one, &settings), AdminGuess::Wrong);
        }
        // From there one is looked at each second; from elsewhere nothing has changed.
        assert_eq!(token.judge("y", one, &settings), AdminGuess::Wrong);
        assert_eq!(token.judge("0123456789abcdef", one, &settings), AdminGuess::Wait(CHECKS));
        assert_eq!(token.judge("0123456789abcdef", other, &settings), AdminGuess::Right);
    }
}
