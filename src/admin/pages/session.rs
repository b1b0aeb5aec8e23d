//! Who has logged in with a browser. In memory only: after a restart one logs in again.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderValue, header};
use rand::Rng;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::{auth::SecretKey, clock::SharedClock, storage::types::TokenHash};

const COOKIE: &str = "alyx_proxy_session";
/// Its name under TLS: no page that was not sent so can set it (RFC 6265bis 4.1.3.1).
const SECURE_COOKIE: &str = "__Secure-alyx_proxy_session";
/// A browser that nobody uses is logged out after this time,
const IDLE: Duration = Duration::from_hours(12);
/// and any after this one.
const LONGEST: Duration = Duration::from_hours(24 * 7);
/// Who has entered the administrator's token is an administrator for so long.
const ADMINISTRATOR: Duration = Duration::from_mins(30);
/// Sessions of all users.
const MOST: usize = 1_000;
/// Sessions of one user: of more, the one that began first ends.
const MOST_OF_ONE: usize = 8;

/// Somebody who has logged in.
pub(super) struct Session {
    name: String,
    /// Their token in Alyx; none for an administrator who is nobody there.
    token: Option<Zeroizing<String>>,
    csrf: String,
    /// Until when it is an administrator's.
    admin_until: Option<Instant>,
    began: Instant,
    used: Mutex<Instant>,
    clock: SharedClock,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Session(…)")
    }
}

/// All of them, by the hash of what their browsers hold.
#[derive(Debug)]
pub(crate) struct Sessions {
    open: Mutex<HashMap<[u8; 32], Arc<Session>>>,
    clock: SharedClock,
}

impl Sessions {
    /// None yet.
    pub(crate) fn new(clock: SharedClock) -> Self {
        Self { open: Mutex::default(), clock }
    }

    /// The session of a browser, however it came: for what shows nothing of Alyx.
    pub(super) fn any(&self, headers: &HeaderMap) -> Option<Arc<Session>> {
        self.of(headers, true).or_else(|| self.of(headers, false))
    }

    /// Who has logged in with a browser, and whether as an administrator.
    pub(in crate::admin) fn who(&self, headers: &HeaderMap) -> Option<(String, bool)> {
        self.any(headers).map(|session| (session.name().to_owned(), session.is_admin()))
    }

    /// Whether a browser is logged in.
    pub(in crate::admin) fn has(&self, headers: &HeaderMap) -> bool {
        self.any(headers).is_some()
    }

    /// The session of a browser that came by TLS, or not.
    pub(super) fn of(&self, headers: &HeaderMap, secure: bool) -> Option<Arc<Session>> {
        let name = hash(cookie(headers, secure)?);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let session = open.get(&name)?.clone();
        if !session.is_open() {
            open.remove(&name);
            return None;
        }
        *session.used.lock().unwrap_or_else(PoisonError::into_inner) = self.clock.instant();
        Some(session)
    }

    /// Begins a session; the cookie for the browser. No session is given other rights than it began with: whoever planted
    /// its cookie would have them, too.
    pub(super) fn begin(&self, name: &str, token: Option<&str>, admin: bool, secure: bool) -> HeaderValue {
        let (secret, csrf, now) = (random(), random().to_string(), self.clock.instant());
        let session = Session {
            name: name.to_owned(),
            token: token.map(|token| Zeroizing::new(token.to_owned())),
            csrf,
            admin_until: admin.then(|| now + ADMINISTRATOR),
            began: now,
            used: Mutex::new(now),
            clock: self.clock.clone(),
        };
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, session| session.is_open());
        let own = open.values().filter(|other| other.token == session.token).count();
        if own >= MOST_OF_ONE {
            remove_oldest(&mut open, |other| other.token == session.token);
        } else if open.len() >= MOST {
            remove_oldest(&mut open, |_| true);
        }
        open.insert(hash(&secret), Arc::new(session));
        drop(open);
        set(&secret, "", secure)
    }

    /// Ends the session of a browser; the cookie that makes it forget.
    pub(super) fn end(&self, headers: &HeaderMap, secure: bool) -> HeaderValue {
        if let Some(secret) = cookie(headers, secure) {
            self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&hash(secret));
        }
        set("", "; Max-Age=0", secure)
    }
}

/// Ends the session of these that began first.
fn remove_oldest(open: &mut HashMap<[u8; 32], Arc<Session>>, these: impl Fn(&Session) -> bool) {
    let theirs = open.iter().filter(|(_, session)| these(session));
    let oldest = theirs.min_by_key(|(_, session)| session.began).map(|(name, _)| *name);
    oldest.and_then(|name| open.remove(&name));
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

    /// The token in Alyx, for a session that goes on in its place.
    pub(super) fn alyx_token(&self) -> Option<&str> {
        self.token.as_ref().map(|token| token.as_str())
    }

    pub(super) fn is_admin(&self) -> bool {
        self.admin_until.is_some_and(|until| self.clock.instant() < until)
    }

    fn is_open(&self) -> bool {
        let now = self.clock.instant();
        let used = *self.used.lock().unwrap_or_else(PoisonError::into_inner);
        now.saturating_duration_since(used) < IDLE && now.saturating_duration_since(self.began) < LONGEST
    }
}

fn name_of(secure: bool) -> &'static str {
    if secure { SECURE_COOKIE } else { COOKIE }
}

fn cookie(headers: &HeaderMap, secure: bool) -> Option<&str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == name_of(secure)).map(|(_, value)| value)
}

fn set(value: &str, more: &str, secure: bool) -> HeaderValue {
    let (name, secure) = (name_of(secure), if secure { "; Secure" } else { "" });
    let text = format!("{name}={value}; Path=/-/; HttpOnly; SameSite=Strict{secure}{more}");
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    const MINUTE: i64 = 60_000;
    const HOUR: i64 = 60 * MINUTE;

    /// A browser that holds this cookie.
    fn browser(cookie: &HeaderValue) -> HeaderMap {
        let (pair, _) = cookie.to_str().unwrap().split_once(';').unwrap();
        [(header::COOKIE, HeaderValue::from_str(pair).unwrap())].into_iter().collect()
    }

    #[test]
    fn a_session_ends_when_it_is_not_used_and_after_a_week_and_an_administrators_right_sooner() {
        let clock = ManualClock::at(0);
        let sessions = Sessions::new(clock.clone());
        let [used, idle] = [(); 2].map(|()| browser(&sessions.begin("alice", Some("a"), true, false)));
        clock.advance(30 * MINUTE - 1);
        assert!(sessions.of(&used, false).unwrap().is_admin());
        clock.advance(1);
        assert!(!sessions.of(&used, false).unwrap().is_admin());
        clock.advance(12 * HOUR - 30 * MINUTE - 1);
        assert!(sessions.of(&used, false).is_some());
        clock.advance(1);
        assert!(sessions.of(&used, false).is_some() && sessions.of(&idle, false).is_none());
        for _ in 0..13 {
            clock.advance(12 * HOUR - 1);
            assert!(sessions.of(&used, false).is_some());
        }
        clock.advance(12 * HOUR - 1);
        assert!(sessions.of(&used, false).is_none(), "a week is over");
    }

    #[test]
    fn who_logs_in_again_and_again_ends_sessions_of_their_own() {
        let clock = ManualClock::at(0);
        let sessions = Sessions::new(clock.clone());
        let other = browser(&sessions.begin("bob", Some("b"), false, false));
        let own: Vec<_> = (0..2_000)
            .map(|_| {
                clock.advance(1);
                browser(&sessions.begin("alice", Some("a"), false, false))
            })
            .collect();
        assert!(sessions.of(&other, false).is_some());
        let open: Vec<_> = own.iter().map(|browser| sessions.of(browser, false).is_some()).collect();
        assert_eq!(open.iter().filter(|open| **open).count(), MOST_OF_ONE);
        assert!(open[2_000 - MOST_OF_ONE..].iter().all(|open| *open), "the newest ones");
    }

    #[test]
    fn a_cookie_that_was_set_without_tls_is_none_under_tls() {
        let sessions = Sessions::new(ManualClock::at(0));
        let plain = browser(&sessions.begin("mallory", Some("m"), false, false));
        let cookie = sessions.begin("alice", Some("a"), false, true);
        assert!(
            cookie.to_str().unwrap().starts_with("__Secure-")
                && cookie.to_str().unwrap().contains("; Secure")
        );
        assert!(sessions.of(&plain, true).is_none() && sessions.of(&browser(&cookie), true).is_some());
    }
}
