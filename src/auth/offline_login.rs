//! Log-ins while Alyx is away.
//!
//! When Alyx accepts a user name and password, the token that it gave is sealed with a key derived
//! from the password (Argon2id, XChaCha20-Poly1305) and kept under a keyed hash of the name. Who
//! steals the file learns neither password nor token; who knows the password gets the same token
//! again when Alyx can't be asked.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use argon2::Argon2;
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce, aead::Aead};
use rand::Rng;
use rusqlite::OptionalExtension;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use super::{LoginThrottle, SecretKey, login_throttle::LoginKey};
use crate::{
    clock::{Millis, SharedClock},
    settings,
    store::{Store, StoreError},
};

/// When a locked password is looked at again.
const SOON: Duration = Duration::from_secs(1);

/// Argon2id takes 19 MiB and some 20 ms of a core: only so many at once.
const AT_ONCE: usize = 2;

/// What came of a log-in while Alyx was away.
#[derive(Debug)]
pub enum LogIn {
    /// The same token that Alyx gave.
    Token(Zeroizing<String>),
    /// The password is not the one that Alyx accepted last for this name.
    Refused,
    /// Nobody has logged in with this name through this proxy: nobody here can tell whether the password is right.
    Unknown,
    /// Right, but longer ago than the grace allows.
    PastGrace {
        /// When Alyx accepted it last.
        vouched_at: Millis,
    },
    /// Too many failures; try again after this time.
    Wait(Duration),
}

struct Sealed {
    salt: [u8; 16],
    nonce: [u8; 24],
    token: Vec<u8>,
    vouched_at: Millis,
}

/// Whether a log-in may be tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// As any other.
    Free,
    /// Though too many have failed: the password is the one that is kept here.
    Fits,
    /// Not before this time has passed.
    Wait(Duration),
}

/// A name and password, and where they come from.
#[derive(Debug, Clone, Copy)]
pub struct Presented<'a> {
    /// The name.
    pub user: &'a str,
    /// The password.
    pub password: &'a Zeroizing<String>,
    /// The client's address.
    pub from: IpAddr,
}

impl Presented<'_> {
    fn pair(&self, key: &SecretKey) -> LoginKey {
        LoginKey::new(key.user(self.user), self.from)
    }
}

/// The log-ins that Alyx has accepted.
#[derive(Debug)]
pub struct OfflineLogins {
    attempts: LoginThrottle,
    at_once: Semaphore,
    tries: PasswordTries,
    clock: SharedClock,
}

impl OfflineLogins {
    /// None yet; what is kept of earlier ones lies in the store.
    pub fn new(clock: SharedClock) -> Self {
        Self {
            attempts: LoginThrottle::new(clock.clone()),
            at_once: Semaphore::new(AT_ONCE),
            tries: PasswordTries::default(),
            clock,
        }
    }

    /// Whether this user may try this password from there. One that is the kept one is let in however many others were
    /// wrong; where many come, it is looked at once a second.
    pub async fn attempt(
        &self,
        store: &Store,
        key: &SecretKey,
        presented: Presented<'_>,
        settings: &settings::AccessSettings,
    ) -> Attempt {
        let (pair, password) = (presented.pair(key), presented.password.clone());
        let Some(wait) = self.attempts.wait(pair, settings) else { return Attempt::Free };
        let Ok(Some(sealed)) = kept(store, pair.user()).await else { return Attempt::Wait(wait) };
        // Whoever guesses keeps nobody else from being let in: it waits in no line.
        let Ok(permit) = self.at_once.try_acquire() else { return Attempt::Wait(SOON) };
        if !self.attempts.may_check(pair) {
            return Attempt::Wait(SOON);
        }
        let opened = tokio::task::spawn_blocking(move || unseal(&password, &sealed).is_some()).await;
        drop(permit);
        if opened.unwrap_or(false) { Attempt::Fits } else { Attempt::Wait(wait) }
    }

    /// Alyx has accepted a log-in and given this token.
    pub async fn accepted(&self, store: &Store, key: &SecretKey, presented: Presented<'_>, token: &str) {
        let pair = presented.pair(key);
        self.attempts.succeeded(pair);
        let user = pair.user();
        let (password, token) = (presented.password.clone(), Zeroizing::new(token.to_owned()));
        let vouched_at = self.clock.now();
        let sealed = self.off_the_runtime(move || seal(&password, &token, vouched_at)).await;
        let Some(Some(sealed)) = sealed else {
            tracing::error!("a log-in could not be sealed; it will not work offline");
            return;
        };
        let written = store.commit("a log-in", move |connection| {
            let sql = "INSERT INTO logins (user, salt, nonce, sealed, vouched_at) VALUES (?1, ?2, ?3, ?4, ?5)
                       ON CONFLICT (user) DO UPDATE SET salt = ?2, nonce = ?3, sealed = ?4, vouched_at = ?5";
            connection
                .execute(sql, (user, sealed.salt, sealed.nonce, sealed.token, sealed.vouched_at))
                .map(drop)
        });
        if let Err(error) = written.await {
            tracing::error!(%error, "a log-in was not kept; it will not work offline");
        }
    }

    /// Alyx has refused a log-in. If it is the very one that is kept here, it is kept no longer. Whether Alyx has accepted one
    /// of this name here before.
    pub async fn refused(
        &self,
        store: &Store,
        key: &SecretKey,
        presented: Presented<'_>,
        settings: &settings::AccessSettings,
    ) -> bool {
        let pair = presented.pair(key);
        self.attempts.failed(pair, settings);
        let (user, password) = (pair.user(), presented.password.clone());
        let Ok(Some(sealed)) = kept(store, user).await else { return false };
        if self.off_the_runtime(move || unseal(&password, &sealed)).await.flatten().is_some() {
            store.write("a refused log-in", 0, move |connection| {
                connection.execute("DELETE FROM logins WHERE user = ?1", [user]).map(drop)
            });
        }
        true
    }

    /// Tries a log-in against what is kept here, as `attempt` allowed it.
    pub async fn offline(
        &self,
        store: &Store,
        key: &SecretKey,
        presented: Presented<'_>,
        settings: &settings::AccessSettings,
        attempt: Attempt,
    ) -> Result<LogIn, StoreError> {
        let pair = presented.pair(key);
        let Some(sealed) = kept(store, pair.user()).await? else { return Ok(LogIn::Unknown) };
        let (vouched_at, password) = (sealed.vouched_at, presented.password.clone());
        let own = self.tries.begin(pair);
        let Ok(permit) = self.at_once.acquire().await else { return Ok(LogIn::Unknown) };
        // Those who came at the same time have failed meanwhile.
        if attempt != Attempt::Fits
            && let Some(wait) = self.attempts.wait(pair, settings)
        {
            return Ok(LogIn::Wait(wait));
        }
        let open = move || unseal(&password, &sealed);
        let Some(token) = tokio::task::spawn_blocking(open).await.ok().flatten() else {
            self.attempts.failed(pair, settings);
            return Ok(LogIn::Refused);
        };
        drop(permit);
        // Who guesses meanwhile gains no further guesses by it.
        if own.is_alone() {
            self.attempts.succeeded(pair);
        }
        let in_grace = self.clock.now() - vouched_at < settings.grace.millis();
        Ok(if in_grace { LogIn::Token(token) } else { LogIn::PastGrace { vouched_at } })
    }

    async fn off_the_runtime<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let _permit = self.at_once.acquire().await.ok()?;
        tokio::task::spawn_blocking(work).await.ok()
    }
}

/// Tries of each pair that are under way.
#[derive(Debug, Default)]
struct PasswordTries(Mutex<HashMap<LoginKey, usize>>);

/// One of them, until it is dropped.
struct PasswordTry<'u> {
    all: &'u PasswordTries,
    pair: LoginKey,
}

impl PasswordTries {
    fn begin(&self, pair: LoginKey) -> PasswordTry<'_> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(pair).or_default() += 1;
        PasswordTry { all: self, pair }
    }
}

impl PasswordTry<'_> {
    /// Whether nobody else tries a password for the same name from the same network.
    fn is_alone(&self) -> bool {
        self.all.0.lock().unwrap_or_else(PoisonError::into_inner).get(&self.pair) == Some(&1)
    }
}

impl Drop for PasswordTry<'_> {
    fn drop(&mut self) {
        let mut all = self.all.0.lock().unwrap_or_else(PoisonError::into_inner);
        let left = all.get(&self.pair).map_or(0, |count| count - 1);
        if left == 0 {
            all.remove(&self.pair)
        } else {
            all.insert(self.pair, left)
        };
    }
}

async fn kept(store: &Store, user: [u8; 32]) -> Result<Option<Sealed>, StoreError> {
    store
        .read(move |connection| {
            let sql = "SELECT salt, nonce, sealed, vouched_at FROM logins WHERE user = ?1";
            let sealed = connection.query_row(sql, [user], |row| {
                Ok(Sealed {
                    salt: row.get(0)?,
                    nonce: row.get(1)?,
                    token: row.get(2)?,
                    vouched_at: row.get(3)?,
                })
            });
            sealed.optional()
        })
        .await
}

fn cipher(password: &str, salt: &[u8]) -> Option<XChaCha20Poly1305> {
    let mut key = Zeroizing::new([0; 32]);
    Argon2::default().hash_password_into(password.as_bytes(), salt, key.as_mut_slice()).ok()?;
    XChaCha20Poly1305::new_from_slice(key.as_slice()).ok()
}

fn seal(password: &str, token: &str, vouched_at: Millis) -> Option<Sealed> {
    let (mut salt, mut nonce) = ([0; 16], [0; 24]);
    rand::rng().fill_bytes(&mut salt);
    rand::rng().fill_bytes(&mut nonce);
    let token = cipher(password, &salt)?.encrypt(XNonce::from_slice(&nonce), token.as_bytes()).ok()?;
    Some(Sealed { salt, nonce, token, vouched_at })
}

fn unseal(password: &str, sealed: &Sealed) -> Option<Zeroizing<String>> {
    let token =
        cipher(password, &sealed.salt)?.decrypt(XNonce::from_slice(&sealed.nonce), sealed.token.as_slice());
    String::from_utf8(token.ok()?).ok().map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    #[test]
    fn only_the_password_opens_the_seal() {
        let sealed = seal("right", "the token", 0).unwrap();
        assert_eq!(unseal("right", &sealed).unwrap().as_str(), "the token");
        assert!(unseal("wrong", &sealed).is_none());
        assert!(!sealed.token.windows(9).any(|window| window == b"the token"));
    }

    #[tokio::test]
    async fn the_grace_of_a_log_in_ends_to_the_millisecond() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let key = SecretKey::of(folder.path()).unwrap();
        let clock = ManualClock::at(5_000);
        let logins = OfflineLogins::new(clock.clone());
        let settings = settings::AccessSettings::default();
        let password = Zeroizing::new("right".to_owned());
        let presented = Presented { user: "user", password: &password, from: IpAddr::from([10, 0, 0, 1]) };
        logins.accepted(&store, &key, presented, "the token").await;
        let attempt = async || logins.offline(&store, &key, presented, &settings, Attempt::Free).await;
        clock.advance(settings.grace.millis() - 1);
        assert!(matches!(attempt().await.unwrap(), LogIn::Token(token) if *token == "the token"));
        clock.advance(1);
        assert!(matches!(attempt().await.unwrap(), LogIn::PastGrace { vouched_at: 5_000 }));
        store.close();
    }
}
