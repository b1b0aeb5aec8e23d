//! What a caller may have, by what its credentials are worth here.

use super::Proxy;
use crate::{
    access::{Credentials, Standing},
    alyx::errors,
    clock::Millis,
    settings::Settings,
};

/// What a caller may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum May {
    /// What is stored.
    Have,
    /// What is stored, after Alyx has been asked about the token again; if Alyx is away, at once.
    HaveAfterCheck,
    /// Only what Alyx itself gives it; if Alyx is away, this refusal of Alyx's (status 403).
    AskOnly(&'static str),
    /// Only what Alyx itself gives it: its token was accepted last at this time, too long ago.
    PastGrace(Millis),
}

impl Proxy {
    /// What a caller with these credentials may have; `open` where Alyx asks for none (REST.md 1).
    pub(super) fn may(&self, credentials: &Credentials, open: bool, settings: &Settings) -> May {
        match credentials {
            Credentials::None if open => May::Have,
            Credentials::None | Credentials::Foreign => May::AskOnly(errors::NO_CREDENTIALS),
            Credentials::Malformed(refusal) => May::AskOnly(refusal),
            Credentials::Token { hash, .. } => match self.tokens.standing(hash, &settings.access) {
                Standing::Vouched => May::Have,
                Standing::Recheck => May::HaveAfterCheck,
                Standing::PastGrace { vouched_at } => May::PastGrace(vouched_at),
                Standing::Unknown => May::AskOnly(errors::INVALID_TOKEN),
            },
        }
    }
}

impl May {
    /// Whether stored answers may be looked at for this caller.
    pub(super) fn sees_stored(self) -> bool {
        matches!(self, Self::Have | Self::HaveAfterCheck)
    }
}
