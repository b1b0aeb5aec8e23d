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
    login_throttle::{LoginKey, LoginThrottle},
    private_file,
};
use crate::{clock::SharedClock, settings::AccessSettings};

/// The file in the data directory.
const NAME: &str = "admin-token";
/// When a token is looked at again where too many were wrong.
const SOON: Duration = Duration::from_secs(1);

/// What an administrator's token is compared with.
pub struct AdminToken {
    hash: blake3::Hash,
    guesses: LoginThrottle,
}

/// What comes of a token that is said to be the administrator's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It is.
    Granted,
    /// It is not.
    Refused,
    /// Too many were wrong: it is not looked at before this time has passed.
    Wait(Duration),
}

impl std::fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Admin(…)")
    }
}

impl AdminToken {
    /// The token of the settings or of this data directory; made where there is none.
    pub fn of(data_dir: &Path, setting: &str, clock: SharedClock) -> Result<Self, SecretError> {
        let token = match read(data_dir, setting, private_file::check)? {
            Some(token) => token,
            None => make(data_dir)?,
        };
        Ok(Self { hash: blake3::hash(token.as_bytes()), guesses: LoginThrottle::new(clock) })
    }

    /// Whether this is the administrator's token. The time that it takes says nothing of it.
    fn is(&self, token: &str) -> bool {
        blake3::hash(token.as_bytes()).as_bytes().ct_eq(self.hash.as_bytes()).into()
    }

    /// Whether this is the administrator's token, as somebody at this address says. As many guesses are allowed as log-ins of
    /// one user (`access.login_attempts`); then one is looked at a second, so that who has the right one is let in.
    pub fn admit(&self, token: &str, from: IpAddr, settings: &AccessSettings) -> Admission {
        let guesser = LoginKey::new([0; 32], from);
        let wait = self.guesses.wait(guesser, settings);
        if let Some(wait) = wait
            && !self.guesses.may_check(guesser)
        {
            return Admission::Wait(wait.min(SOON));
        }
        if self.is(token) {
            self.guesses.succeeded(guesser);
            return Admission::Granted;
        }
        self.guesses.failed(guesser, settings);
        if wait.is_none() && self.guesses.wait(guesser, settings).is_some() {
            tracing::warn!(%from, "somebody guesses at the administrator's token");
        }
        Admission::Refused
    }
}

/// The token for commands on the proxy's own machine, also those of root for another user's proxy; none where no proxy was
/// ever started.
pub fn known(data_dir: &Path, setting: &str) -> Result<Option<Zeroizing<String>>, SecretError> {
    read(data_dir, setting, private_file::check_in_folder)
}

fn read(
    data_dir: &Path,
    setting: &str,
    check: impl FnOnce(&Path) -> Result<(), SecretError>,
) -> Result<Option<Zeroizing<String>>, SecretError> {
    if !setting.is_empty() {
        return Ok(Some(Zeroizing::new(setting.to_owned())));
    }
    let path = data_dir.join(NAME);
    match fs::read_to_string(&path) {
        Ok(text) => {
            let text = Zeroizing::new(text);
            check(&path)?;
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
    use crate::clock::ManualClock;

    #[test]
    fn a_directory_keeps_its_token_and_the_setting_wins() {
        let dir = tempfile::tempdir().unwrap();
        let clock = ManualClock::at(0);
        assert!(known(dir.path(), "").unwrap().is_none());
        let admin = AdminToken::of(dir.path(), "", clock.clone()).unwrap();
        let token = known(dir.path(), "").unwrap().unwrap();
        assert!(admin.is(&token));
        assert!(!admin.is(""));
        assert!(!admin.is(&token[1..]));
        assert!(AdminToken::of(dir.path(), "", clock.clone()).unwrap().is(&token));
        let other = AdminToken::of(dir.path(), "sixteen-letters!", clock.clone()).unwrap();
        assert!(other.is("sixteen-letters!") && !other.is(&token));
        fs::write(dir.path().join(NAME), "").unwrap();
        assert!(matches!(AdminToken::of(dir.path(), "", clock), Err(SecretError::Length(..))));
    }

    #[test]
    fn guesses_are_few_and_the_right_token_is_let_in_all_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let clock = ManualClock::at(0);
        let admin = AdminToken::of(dir.path(), "sixteen-letters!", clock.clone()).unwrap();
        let settings = AccessSettings { login_attempts: 3, ..Default::default() };
        let [here, elsewhere] = [1, 2].map(|n| IpAddr::from([10, 0, 0, n]));
        let tried = |token: &str, from| admin.admit(token, from, &settings);
        for _ in 0..3 {
            assert_eq!(tried("wrong", here), Admission::Refused);
        }
        assert_eq!(tried("wrong", here), Admission::Refused, "the one of this second");
        assert_eq!(tried("sixteen-letters!", here), Admission::Wait(SOON));
        assert_eq!(tried("sixteen-letters!", elsewhere), Admission::Granted);
        clock.advance(1_000);
        assert_eq!(tried("sixteen-letters!", here), Admission::Granted);
        assert_eq!(tried("wrong", here), Admission::Refused, "they are counted anew");
    }
}
