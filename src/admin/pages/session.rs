//! Who has logged in with a browser. In memory only: after a restart one logs in again.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::{HeaderMap, HeaderValue, header};
use moka::sync::Cache;
use rand::Rng;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::{auth::SecretKey, storage::types::TokenHash};

const COOKIE: &str = "alyx_proxy_session";
/// A browser that nobody uses is logged out after this time.
const IDLE: Duration = Duration::from_hours(12);
const MOST: u64 = 1_000;

/// Somebody who has logged in.
pub(super) struct Session {
    name: String,
    /// Their token in Alyx; none for an administrator who is nobody there.
    token: Option<Zeroizing<String>>,
    csrf: String,
    admin: AtomicBool,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Session(…)")
    }
}

/// All of them, by the hash of what their browsers hold.
#[derive(Debug)]
pub(crate) struct Sessions(Cache<[u8; 32], Arc<Session>>);

impl Default for Sessions {
    fn default() -> Self {
        Self(Cache::builder().max_capacity(MOST).time_to_idle(IDLE).build())
    }
}

impl Sessions {
    /// The session of a browser.
    pub(super) fn of(&self, headers: &HeaderMap) -> Option<Arc<Session>> {
        self.0.get(&hash(cookie(headers)?))
    }

    /// Whether the browser is logged in.
    pub(in crate::admin) fn has(&self, headers: &HeaderMap) -> bool {
        self.of(headers).is_some()
    }

    /// Begins a session; the cookie for the browser.
    pub(super) fn begin(&self, name: &str, token: Option<&str>, admin: bool, secure: bool) -> HeaderValue {
        let (secret, csrf) = (random(), random().to_string());
        let session = Session {
            name: name.to_owned(),
            token: token.map(|token| Zeroizing::new(token.to_owned())),
            csrf,
            admin: AtomicBool::new(admin),
        };
        self.0.insert(hash(&secret), Arc::new(session));
        set(&secret, "", secure)
    }

    /// Ends the session of a browser; the cookie that makes it forget.
    pub(super) fn end(&self, headers: &HeaderMap, secure: bool) -> HeaderValue {
        if let Some(secret) = cookie(headers) {
            self.0.invalidate(&hash(secret));
        }
        set("", "; Max-Age=0", secure)
    }
}

impl Session {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// What each of its forms carries.
    pub(super) fn csrf(&self) -> &str {
        &self.csrf
    }

    /// Whether a form carries it.
    pub(super) fn is_own_form(&self, given: &str) -> bool {
        self.csrf.as_bytes().ct_eq(given.as_bytes()).into()
    }

    /// The name here of their token in Alyx.
    pub(super) fn token(&self, key: &SecretKey) -> Option<TokenHash> {
        self.token.as_ref().map(|token| key.token(token))
    }

    /// The value of `Authorization` for Alyx.
    pub(super) fn authorization(&self) -> Option<HeaderValue> {
        let token = self.token.as_ref()?;
        let text = Zeroizing::new(format!("Token {}", token.as_str()));
        let mut value = HeaderValue::from_str(&text).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    pub(super) fn is_admin(&self) -> bool {
        self.admin.load(Ordering::Relaxed)
    }

    pub(super) fn make_admin(&self) {
        self.admin.store(true, Ordering::Relaxed);
    }
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == COOKIE).map(|(_, value)| value)
}

fn set(value: &str, more: &str, secure: bool) -> HeaderValue {
    let secure = if secure { "; Secure" } else { "" };
    let text = format!("{COOKIE}={value}; Path=/-/; HttpOnly; SameSite=Strict{secure}{more}");
    // Made of names and hexadecimal digits alone.
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

fn random() -> Zeroizing<String> {
    let mut bytes = Zeroizing::new([0; 32]);
    rand::rng().fill_bytes(bytes.as_mut_slice());
    Zeroizing::new(blake3::hash(bytes.as_slice()).to_hex().to_string())
}

fn hash(secret: &str) -> [u8; 32] {
    *blake3::hash(secret.as_bytes()).as_bytes()
}
