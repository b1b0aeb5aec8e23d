//! Which tokens Alyx has accepted, and when.

use std::{
    collections::HashMap,
    sync::{
        Mutex, PoisonError, RwLock,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
};

use moka::sync::Cache;
use rusqlite::Connection;

use crate::{
    clock::{Millis, SharedClock},
    settings,
    storage::types::TokenHash,
    store::{Store, StoreError},
};

/// What a token counts for here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenStatus {
    /// Accepted by Alyx lately.
    Vouched,
    /// Accepted, but so long ago that Alyx is to be asked again while it can be reached.
    NeedsRevalidation,
    /// Accepted longer ago than the grace allows.
    PastGrace {
        /// When Alyx accepted it last.
        vouched_at: Millis,
    },
    /// Alyx has refused it: of one that it never accepted here that is known until the next restart.
    Refused,
    /// Alyx has said nothing of it here.
    Unknown,
}

impl TokenStatus {
    /// Whether Alyx has accepted it, and not refused it since.
    pub fn was_accepted(self) -> bool {
        !matches!(self, Self::Refused | Self::Unknown)
    }
}

/// A token that was refused has the time of that below zero: to a program that knows nothing of it, it was accepted too long ago.
const INSERT: &str = "INSERT INTO tokens (hash, vouched_at) VALUES (?1, ?2)
                      ON CONFLICT (hash) DO UPDATE SET vouched_at = ?2";

/// So many tokens that Alyx refused and never accepted are remembered.
const OTHERS: u64 = 10_000;

/// A token's acceptance is written to disk again only after this time: answers come often.
const WRITE_EVERY: Millis = 60_000;

/// The tokens that Alyx has accepted. Their number is that of the lab's users: they are all in memory.
#[derive(Debug)]
pub struct TokenCache {
    vouched_at: RwLock<HashMap<TokenHash, Millis>>,
    /// When those that counted were refused.
    refused_at: Mutex<HashMap<TokenHash, Millis>>,
    /// When others were. Anybody can make some up: no more than so many are remembered.
    others_refused_at: Cache<TokenHash, Millis>,
    refusals: AtomicU64,
    /// Alyx is asked anew about what it accepted up to this time.
    doubted_at: AtomicI64,
    clock: SharedClock,
}

impl TokenCache {
    /// Reads what was known when the program last ran.
    pub async fn load(store: &Store, clock: SharedClock) -> Result<Self, StoreError> {
        let (vouched_at, refused): (HashMap<_, _>, HashMap<_, _>) = store
            .read(|connection| {
                let mut statement = connection.prepare("SELECT hash, vouched_at FROM tokens")?;
                let rows = statement.query_map([], |row| Ok((TokenHash(row.get(0)?), row.get(1)?)))?;
                rows.collect::<rusqlite::Result<Vec<(TokenHash, Millis)>>>()
            })
            .await?
            .into_iter()
            .partition(|(_, at)| *at >= 0);
        let refused_at: HashMap<_, _> = refused.into_iter().map(|(token, at)| (token, -at)).collect();
        Ok(Self {
            vouched_at: RwLock::new(vouched_at),
            refused_at: Mutex::new(refused_at),
            others_refused_at: Cache::new(OTHERS),
            refusals: AtomicU64::new(0),
            doubted_at: AtomicI64::new(Millis::MIN),
            clock,
        })
    }

    /// What this token counts for now.
    pub fn status(&self, token: &TokenHash, settings: &settings::AccessSettings) -> TokenStatus {
        let known = self.vouched_at.read().unwrap_or_else(PoisonError::into_inner).get(token).copied();
        let Some(vouched_at) = known else {
            let refused = self.refused_at.lock().unwrap_or_else(PoisonError::into_inner).contains_key(token);
            let refused = refused || self.others_refused_at.contains_key(token);
            return if refused { TokenStatus::Refused } else { TokenStatus::Unknown };
        };
        // A clock that was set back makes an age negative: then it is not known, and Alyx is asked.
        match self.clock.now() - vouched_at {
            age if age >= settings.grace.millis() => TokenStatus::PastGrace { vouched_at },
            age if (0..settings.token_ttl.millis()).contains(&age) && !self.is_doubted(vouched_at) => {
                TokenStatus::Vouched
            }
            _ => TokenStatus::NeedsRevalidation,
        }
    }

    /// A number that is another whenever Alyx has refused a token.
    pub fn refusals(&self) -> u64 {
        self.refusals.load(Ordering::Acquire)
    }

    /// Until when this token counts without asking Alyx about it; none if Alyx is to be asked at once.
    pub fn vouched_until(&self, token: &TokenHash, settings: &settings::AccessSettings) -> Option<Millis> {
        self.until(token, settings.token_ttl.millis().min(settings.grace.millis()))
            .filter(|_| self.vouched_at(token).is_some_and(|at| !self.is_doubted(at)))
    }

    fn vouched_at(&self, token: &TokenHash) -> Option<Millis> {
        self.vouched_at.read().unwrap_or_else(PoisonError::into_inner).get(token).copied()
    }

    fn is_doubted(&self, vouched_at: Millis) -> bool {
        vouched_at <= self.doubted_at.load(Ordering::Acquire)
    }

    /// Some may have been refused elsewhere: Alyx is to be asked about all of them, while it can be.
    pub fn doubt(&self) {
        self.doubted_at.store(self.clock.now(), Ordering::Release);
        self.refusals.fetch_add(1, Ordering::Release);
    }

    /// Until when this token counts without Alyx; none if it doesn't.
    pub fn counts_until(&self, token: &TokenHash, settings: &settings::AccessSettings) -> Option<Millis> {
        self.until(token, settings.grace.millis())
    }

    /// When this span is over that begins with the last acceptance; none where it is over.
    fn until(&self, token: &TokenHash, span: Millis) -> Option<Millis> {
        let vouched_at = self.vouched_at(token)?;
        let until = vouched_at.saturating_add(span);
        (until > self.clock.now()).then_some(until)
    }

    /// Alyx has accepted this token with a question of this time. An answer that was slow does not bring back a token
    /// that has been refused since.
    pub fn vouch(&self, token: TokenHash, asked_at: Millis, store: &Store) {
        let now = self.clock.now();
        // Held to the end: a refusal comes before all of this, or after all of it, here and on disk.
        let mut refused = self.refused_at.lock().unwrap_or_else(PoisonError::into_inner);
        let refused_at = refused.get(&token).copied().or_else(|| self.others_refused_at.get(&token));
        if refused_at.is_some_and(|refused_at| asked_at <= refused_at) {
            return;
        }
        refused.remove(&token);
        self.others_refused_at.invalidate(&token);
        let before = self.vouched_at.write().unwrap_or_else(PoisonError::into_inner).insert(token, now);
        if before.is_some_and(|before| (0..WRITE_EVERY).contains(&(now - before))) {
            return;
        }
        store.write("a token's acceptance", 0, move |connection| {
            connection.prepare_cached(INSERT)?.execute((token.0, now)).map(drop)
        });
    }

    /// Alyx has refused this token. Returns when that is on disk: a crash must not let it in again.
    pub async fn forget(&self, token: TokenHash, store: &Store) {
        let Some(refused_at) = self.no_longer_counts(token) else {
            self.others_refused_at.insert(token, self.clock.stamp());
            return;
        };
        tracing::info!("a token was refused by Alyx and is forgotten");
        let refuse = move |connection: &Connection| {
            connection.prepare_cached(INSERT)?.execute((token.0, -refused_at)).map(drop)
        };
        if let Err(error) = store.commit("a token's refusal", refuse).await {
            tracing::error!(%error, "a refused token is forgotten only until the next start");
        }
    }

    /// Alyx has refused this token through another proxy. It counts no more from now on; that is on its way to the disk then.
    pub fn refused_elsewhere(&self, token: TokenHash, store: &Store) {
        match self.no_longer_counts(token) {
            None => self.others_refused_at.insert(token, self.clock.stamp()),
            Some(refused_at) => store.write("a token's refusal", 0, move |connection| {
                connection.prepare_cached(INSERT)?.execute((token.0, -refused_at)).map(drop)
            }),
        }
    }

    /// Takes a token out; when, if it was known. Only those that counted are noted as refused: anybody can make up others.
    fn no_longer_counts(&self, token: TokenHash) -> Option<Millis> {
        let refused_at = self.clock.stamp();
        let mut refused = self.refused_at.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.vouched_at.write().unwrap_or_else(PoisonError::into_inner).remove(&token);
        self.refusals.fetch_add(1, Ordering::Release);
        known.map(|_| {
            refused.insert(token, refused_at);
            refused_at
        })
    }

    /// Another database has taken the place of a damaged or deleted one: it gets what is known here, and nothing else
    /// counts. Called by the thread that writes.
    pub fn on_database_replaced(&self, connection: &Connection) {
        let refused = self.refused_at.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.vouched_at.read().unwrap_or_else(PoisonError::into_inner);
        let written = connection.execute("DELETE FROM tokens", []).and_then(|_| {
            let mut insert = connection.prepare_cached(INSERT)?;
            let rows = known.iter().map(|(token, at)| (token, *at));
            let refused = refused.iter().map(|(token, at)| (token, -at));
            rows.chain(refused).try_for_each(|(token, at)| insert.execute((token.0, at)).map(drop))
        });
        if let Err(error) = written {
            tracing::error!(%error, "accepted tokens were not written anew");
        }
    }

    /// How many tokens are known.
    pub fn len(&self) -> usize {
        self.vouched_at.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::{Clock, ManualClock},
        settings::value::Span,
    };

    #[tokio::test]
    async fn a_token_is_asked_about_again_and_its_grace_ends_to_the_millisecond() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let clock = ManualClock::at(1_000_000);
        let tokens = TokenCache::load(&store, clock.clone()).await.unwrap();
        let (token_ttl, grace) = (900_000, 86_400_000);
        let settings = settings::AccessSettings {
            token_ttl: Span::minutes(15),
            grace: Span::days(1),
            ..Default::default()
        };
        let token = TokenHash([1; 32]);
        let now = || (tokens.status(&token, &settings), tokens.counts_until(&token, &settings));
        assert_eq!(now(), (TokenStatus::Unknown, None));
        tokens.vouch(token, 1_000_000, &store);
        let until = Some(1_000_000 + grace);
        assert_eq!(now(), (TokenStatus::Vouched, until));
        clock.advance(token_ttl - 1);
        assert_eq!(now(), (TokenStatus::Vouched, until));
        assert_eq!(tokens.vouched_until(&token, &settings), Some(1_900_000));
        clock.advance(1);
        assert_eq!(now(), (TokenStatus::NeedsRevalidation, until));
        assert_eq!(tokens.vouched_until(&token, &settings), None);
        clock.advance(grace - token_ttl - 1);
        assert_eq!(now(), (TokenStatus::NeedsRevalidation, until));
        clock.advance(1);
        let over = TokenStatus::PastGrace { vouched_at: 1_000_000 };
        assert_eq!(now(), (over, None));
        clock.set(999_999);
        assert_eq!(tokens.status(&token, &settings), TokenStatus::NeedsRevalidation, "its age is not known");
        store.close();
    }

    #[tokio::test]
    async fn a_slow_answer_does_not_bring_back_a_token_that_was_refused_since() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let clock = ManualClock::at(1_000);
        let tokens = TokenCache::load(&store, clock.clone()).await.unwrap();
        let (token, settings) = (TokenHash([1; 32]), settings::AccessSettings::default());
        tokens.vouch(token, 1_000, &store);
        let asked_at = clock.stamp();
        tokens.forget(token, &store).await;
        assert_eq!(tokens.refusals(), 1);
        tokens.vouch(token, asked_at, &store);
        assert_eq!(tokens.status(&token, &settings), TokenStatus::Refused, "asked before it was refused");
        let reopened = TokenCache::load(&store, clock.clone()).await.unwrap();
        assert_eq!(reopened.status(&token, &settings), TokenStatus::Refused, "nor after a restart");
        tokens.vouch(token, clock.stamp(), &store);
        assert_eq!(tokens.status(&token, &settings), TokenStatus::Vouched, "asked later");
        store.close();
    }
}
