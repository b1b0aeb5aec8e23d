//! Log-ins while Alyx is away.
//!
//! When Alyx accepts a user name and password, the token that it gave is sealed with a key derived
//! from the password (Argon2id, XChaCha20-Poly1305) and kept under a keyed hash of the name. Who
//! steals the file learns neither password nor token; who knows the password gets the same token
//! again when Alyx can't be asked.

use std::{net::IpAddr, time::Duration};

use argon2::Argon2;
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce, aead::Aead};
use rand::Rng;
use rusqlite::OptionalExtension;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use super::{Attempts, SecretKey};
use crate::{
    clock::{self, Millis},
    settings,
    store::{Store, StoreError},
};

/// Argon2id takes 19 MiB and some 20 ms of a core: only so many at once.
const AT_ONCE: usize = 2;

/// What came of a log-in while Alyx was away.
#[derive(Debug)]
pub enum LogIn {
    /// The same token that Alyx gave.
    Token(Zeroizing<String>),
    /// Name or password are not those that Alyx accepted last.
    Refused,
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

/// The log-ins that Alyx has accepted.
#[derive(Debug)]
pub struct Logins {
    attempts: Attempts,
    at_once: Semaphore,
}

impl Default for Logins {
    fn default() -> Self {
        Self { attempts: Attempts::default(), at_once: Semaphore::new(AT_ONCE) }
    }
}

impl Logins {
    /// How long this user or address must wait before the next try.
    pub fn wait(
        &self,
        key: &SecretKey,
        user: &str,
        from: IpAddr,
        settings: &settings::Access,
    ) -> Option<Duration> {
        self.attempts.wait(key.user(user), from, settings)
    }

    /// Alyx has accepted a log-in and given this token.
    pub async fn accepted(
        &self,
        store: &Store,
        key: &SecretKey,
        user: &str,
        password: &Zeroizing<String>,
        token: &str,
    ) {
        let user = key.user(user);
        self.attempts.succeeded(user);
        let (password, token) = (password.clone(), Zeroizing::new(token.to_owned()));
        let sealed = self.off_the_runtime(move || seal(&password, &token)).await;
        let Some(Some(sealed)) = sealed else {
            tracing::error!("a log-in could not be sealed; it will not work offline");
            return;
        };
        let written = store.write_through("a log-in", move |connection| {
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

    /// Alyx has refused a log-in. If it is the very one that is kept here, it is kept no longer.
    pub async fn refused(
        &self,
        store: &Store,
        key: &SecretKey,
        user: &str,
        password: &Zeroizing<String>,
        from: IpAddr,
        settings: &settings::Access,
    ) {
        let user = key.user(user);
        self.attempts.failed(user, from, settings);
        let password = password.clone();
        if let Ok(Some(sealed)) = kept(store, user).await
            && self.off_the_runtime(move || unseal(&password, &sealed)).await.flatten().is_some()
        {
            store.write("a refused log-in", 0, move |connection| {
                connection.execute("DELETE FROM logins WHERE user = ?1", [user]).map(drop)
            });
        }
    }

    /// Tries a log-in against what is kept here.
    pub async fn offline(
        &self,
        store: &Store,
        key: &SecretKey,
        user: &str,
        password: &Zeroizing<String>,
        from: IpAddr,
        settings: &settings::Access,
    ) -> Result<LogIn, StoreError> {
        let user = key.user(user);
        if let Some(wait) = self.attempts.wait(user, from, settings) {
            return Ok(LogIn::Wait(wait));
        }
        let sealed = kept(store, user).await?;
        let vouched_at = sealed.as_ref().map_or(0, |sealed| sealed.vouched_at);
        let password = password.clone();
        // An unknown name costs as much time as a known one, so that names can't be found out.
        let open = move || match sealed {
            Some(sealed) => unseal(&password, &sealed),
            None => seal(&password, "").and(None),
        };
        let Ok(permit) = self.at_once.acquire().await else { return Ok(LogIn::Refused) };
        // Those who came at the same time have failed meanwhile.
        if let Some(wait) = self.attempts.wait(user, from, settings) {
            return Ok(LogIn::Wait(wait));
        }
        let Some(token) = tokio::task::spawn_blocking(open).await.ok().flatten() else {
            self.attempts.failed(user, from, settings);
            return Ok(LogIn::Refused);
        };
        drop(permit);
        self.attempts.succeeded(user);
        let in_grace = clock::now() - vouched_at < settings.grace.millis();
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

fn seal(password: &str, token: &str) -> Option<Sealed> {
    let (mut salt, mut nonce) = ([0; 16], [0; 24]);
    rand::rng().fill_bytes(&mut salt);
    rand::rng().fill_bytes(&mut nonce);
    let token = cipher(password, &salt)?.encrypt(XNonce::from_slice(&nonce), token.as_bytes()).ok()?;
    Some(Sealed { salt, nonce, token, vouched_at: clock::now() })
}

fn unseal(password: &str, sealed: &Sealed) -> Option<Zeroizing<String>> {
    let token =
        cipher(password, &sealed.salt)?.decrypt(XNonce::from_slice(&sealed.nonce), sealed.token.as_slice());
    String::from_utf8(token.ok()?).ok().map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_password_opens_the_seal() {
        let sealed = seal("right", "the token").unwrap();
        assert_eq!(unseal("right", &sealed).unwrap().as_str(), "the token");
        assert!(unseal("wrong", &sealed).is_none());
        assert!(!sealed.token.windows(9).any(|window| window == b"the token"));
    }
}
