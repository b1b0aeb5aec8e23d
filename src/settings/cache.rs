use serde::{Deserialize, Serialize};

use super::value::{Size, Span};

/// `[cache]`: what is remembered of Alyx's answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CacheSettings {
    /// What is known of the origin: that it is an Alyx, or nothing but HTTP.
    pub profile: Profile,
    /// The largest JSON answer that is remembered; larger ones are passed through.
    pub max_response: Size,
    /// After an answer has ceased to be fresh: how long it is still given at once while it is
    /// refreshed behind the scenes (RFC 5861).
    pub stale_while_revalidate: Span,
    /// How long "no such record" (404) counts as fresh.
    pub negative_ttl: Span,
    /// The largest file (`cache.zip`) that is remembered, and the largest JSON answer that is passed on.
    pub max_file: Size,
    /// Copies of records that were given, by which is told whether a write comes of an old one.
    pub given_copies: Size,
}

/// By which rules answers are remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// Alyx's: what its endpoints mean, who may ask, and what its writes change is known.
    Alyx,
    /// A shared cache before any HTTP server, by RFC 9111 alone.
    Rfc9111,
}

impl Default for CacheSettings {
    fn default() -> Self {
        Self {
            profile: Profile::Alyx,
            max_response: Size::mib(64),
            stale_while_revalidate: Span::minutes(5),
            negative_ttl: Span::seconds(30),
            max_file: Size::gib(4),
            given_copies: Size::mib(32),
        }
    }
}
